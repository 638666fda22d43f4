"""Which small-sample method tests the fixed effects of a fit, by a rule that is fixed before the data.

Kenward and Roger's method (1997, 10.2307/2533558) adjusts the standard error for the estimation of the variances and
finds degrees of freedom for it. It is derived for a restricted likelihood, a covariance matrix that is linear in its
parameters, and predictors that do not depend on earlier outcomes. So:

- Kenward–Roger for restricted likelihood fits with independent residuals, no lagged outcome and at most
  :data:`MOST_ROWS_FOR_KENWARD_ROGER` rows;
- Satterthwaite everywhere else: beside a lagged outcome (where standard errors come from the whole observed
  information), with AR(1) residuals, after full maximum likelihood, and in larger data.

The two differ where a variance is estimated as zero or a covariance matrix as singular. Kenward and Roger's method
keeps the effect, as R's pbkrtest does: an estimate of zero is not knowledge that the variance is zero. In simulated
studies whose variance is above zero and estimated as zero, 95 % intervals of the level concerned hold the truth more
often that way than with the effect taken out, which they then do too seldom
(:mod:`alliance_outcome.analyses.coverage` counts it). Satterthwaite's method takes it out, because it needs second
derivatives of the likelihood at a maximum inside the parameter space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from alliance_outcome.models.contrast import CI_LEVEL, Contrast
from alliance_outcome.models.multilevel_result import MultilevelResult

#: With more rows than this, Satterthwaite's method is used: the two no longer differ by anything that would be printed.
MOST_ROWS_FOR_KENWARD_ROGER = 50_000

Method = Literal["kenward-roger", "satterthwaite"]


@dataclass(frozen=True, eq=False)
class SmallSampleInference:
    """Tests of the fixed effects of a fit by the method that the rule gives it.

    Parameters
    ----------
    result : MultilevelResult
    method : {'kenward-roger', 'satterthwaite'}
    """

    result: MultilevelResult
    method: Method

    @property
    def df_method(self) -> str:
        """Name of the method in tables of estimates."""
        return self.method.replace("-", "_")

    @property
    def se_kind(self) -> str:
        """Where standard errors come from: ``kenward_roger``, ``observed`` information, or the ``model``."""
        if self.method == "kenward-roger":
            return "kenward_roger"
        return "model" if self.result.lagged_outcome is None else "observed"

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix behind the standard errors, terms by terms, in raw units."""
        if self.method == "kenward-roger":
            return self.result.in_raw_units(self.result.kenward_roger.adjusted_covariance)
        return self.result.cov_params()

    def contrast(self, weights: Any, ci_level: float = CI_LEVEL) -> Contrast:
        """Test one combination of fixed effects.

        Parameters
        ----------
        weights : mapping of term to float, or str
            See :meth:`~alliance_outcome.models.multilevel_result.MultilevelResult.contrast`.
        ci_level : float
            Coverage of the interval.

        Returns
        -------
        Contrast
            With degrees of freedom of this very combination.
        """
        return self.result.contrast(weights, df=self.method, ci_level=ci_level)


def small_sample_inference(result: MultilevelResult) -> SmallSampleInference:
    """Choose the small-sample method of a fit.

    Parameters
    ----------
    result : MultilevelResult

    Returns
    -------
    SmallSampleInference
    """
    derived = result.reml and result.ar1 is None and result.lagged_outcome is None
    affordable = result.n_rows <= MOST_ROWS_FOR_KENWARD_ROGER
    return SmallSampleInference(result, "kenward-roger" if derived and affordable else "satterthwaite")
