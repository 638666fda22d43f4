"""What the bias table simulates: processes, planted effects, estimators and jobs.

Fixed before any result; nothing here needs an estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Correlation and share of the variance within clients of measurement error in the third process.
ERROR_CORRELATION, ERROR_SHARE = 0.5, 0.2

#: Jobs among which the replications of a study are shared out.
JOBS = 4


@dataclass(frozen=True)
class Planted:
    """Effects that are planted, in standard deviations within clients.

    Parameters
    ----------
    name : str
    client, therapist : float
        Paths from each rater's alliance to the next severity; of other raters, the first and the second.
    """

    name: str
    client: float
    therapist: float

    @property
    def difference(self) -> float:
        """D, in standard deviations of severity within clients."""
        return self.client - self.therapist


#: No effect; effects that do not differ; effects that do.
SCENARIOS = (
    Planted("none", 0.0, 0.0),
    Planted("equal", -0.15, -0.15),
    Planted("different", -0.15, -0.05),
)

#: Processes: that of the fitted panel model, the same without trends, and with trends and measurement error.
PROCESSES = ("trends", "no_trends", "trends_and_error")

#: Estimators, those that the field usually applies first.
MULTILEVEL_ESTIMATORS = ("lagged_outcome", "centred_lag", "no_lag", "detrended", "hybrid")
PANEL_ESTIMATORS = ("dynamic_panel", "cross_lagged", "cross_lagged_trends")
ESTIMATORS = (*MULTILEVEL_ESTIMATORS, *PANEL_ESTIMATORS)

#: What is counted of each.
QUANTITIES = ("client", "therapist", "difference")


def job_replications(replications: int, job: int) -> range:
    """Return the numbers of the replications of a job.

    Parameters
    ----------
    replications : int
        Of each process and scenario.
    job : int
        From 0 to :data:`JOBS` - 1.

    Returns
    -------
    range
        The jobs' ranges are as long as each other, but for one.
    """
    return range(job, replications, JOBS)
