"""Fits that several test modules look at, made once."""

import pytest
import study_example

from alliance_outcome.analyses.early import fit_early_models
from alliance_outcome.analyses.hybrid import fit_hybrid_models
from alliance_outcome.analyses.multilevel import tabulate


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
    return tabulate(hybrid_models, study_example.context(), "multilevel", 10)


@pytest.fixture(scope="session")
def early_tables(early_models):
    """Tabulate the early-alliance models."""
    return tabulate(early_models, study_example.context(), "early", 10)
