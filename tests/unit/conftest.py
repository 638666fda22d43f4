"""Fits that several test modules look at, made once."""

import pytest
import study_example

from alliance_outcome.analyses.bootstrap_contrasts import bootstrap_contrasts
from alliance_outcome.analyses.context import StudyAnalysis
from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.estimates import estimates_frame
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel_tables import tabulate
from alliance_outcome.analyses.resampling import Resampling, resample_models


@pytest.fixture(scope="session")
def hybrid_models():
    """Fit all hybrid models of the small study."""
    return fit_hybrid_models(study_example.hybrid_rows(), study_example.context())


@pytest.fixture(scope="session")
def early_models():
    """Fit all early-alliance models of the small study."""
    return fit_early_models(study_example.early_rows(), study_example.context())


@pytest.fixture(scope="session")
def hybrid_tables(hybrid_models):
    """Tabulate the hybrid models."""
    return tabulate(hybrid_models, StudyAnalysis(study_example.context(), "multilevel", 10))


@pytest.fixture(scope="session")
def early_tables(early_models):
    """Tabulate the early-alliance models."""
    return tabulate(early_models, StudyAnalysis(study_example.context(), "early", 10))


@pytest.fixture(scope="session")
def resampling():
    """Draw few samples: enough for arithmetic, not for intervals."""
    return Resampling(replicates=60, seed=5)


@pytest.fixture(scope="session")
def hybrid_resampled(hybrid_models, resampling):
    """Refit the hybrid models to samples of their clusters."""
    return resample_models(hybrid_models, resampling)


@pytest.fixture(scope="session")
def early_resampled(early_models, resampling):
    """Refit the early-alliance models to samples of their clusters."""
    return resample_models(early_models, resampling)


@pytest.fixture(scope="session")
def bootstrap_tables(hybrid_models, hybrid_resampled, early_models, early_resampled):
    """Contrast the raters in both analyses by the bootstrap."""
    context = study_example.context()
    return [
        estimates_frame(bootstrap_contrasts(models, resampled, StudyAnalysis(context, analysis, 10)))
        for models, resampled, analysis in (
            (hybrid_models, hybrid_resampled, "multilevel"),
            (early_models, early_resampled, "early"),
        )
    ]
