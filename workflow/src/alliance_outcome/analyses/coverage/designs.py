"""What the coverage study simulates: sizes, true values, seed, and which cells are judged.

Everything here was fixed before the first run. Sizes are those of routine out-patient studies, and values are those of
the example study (``config/studies/example.yaml``) where it has them: CORE-10 points of severity, WAI-S points of
alliance. None is a finding of a paper.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

#: Never changed after a result has been seen.
SEED = 81530

#: Simulated studies per design, and how many of them make a job.
STUDIES, CHUNK = 2_000, 250

#: Error probability of all judged cells together, if every interval is exact.
FAMILY_ERROR = 0.01

#: With fewer therapists than this, cells of the therapist level are reported and not judged; the pipeline makes no
#: claim about them either (``min_therapists_for_claim``).
FEWEST_JUDGED_THERAPISTS = 10

RATERS = ("client", "therapist")


@dataclass(frozen=True)
class Alliance:
    """How one rater's alliance is distributed, in WAI-S points.

    Parameters
    ----------
    between_therapist, between_client, innovation : float
        Standard deviations of therapists, of clients of a therapist, and of what is new at each session.
    autoregression : float
        Carry-over of a deviation to the next session.
    missing : float
        Share of sessions without a rating.
    """

    between_therapist: float
    between_client: float
    innovation: float
    autoregression: float
    missing: float


@dataclass(frozen=True)
class TwoRaters:
    """Alliance of both raters.

    Parameters
    ----------
    client, therapist : Alliance
        By rater.
    therapist_correlation, client_correlation, innovation_correlation : float
        Correlations of the raters: of therapists, of clients of a therapist, of what is new at each session.
    """

    client: Alliance
    therapist: Alliance
    therapist_correlation: float
    client_correlation: float
    innovation_correlation: float


ALLIANCE = TwoRaters(
    client=Alliance(0.22, 0.65, 0.38, 0.3, 0.06),
    therapist=Alliance(0.40, 0.50, 0.36, 0.3, 0.12),
    therapist_correlation=0.3,
    client_correlation=0.35,
    innovation_correlation=0.25,
)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a study with sessions, clients and therapists.

    Parameters
    ----------
    caseload : tuple of int
        Fewest and most clients of a therapist.
    caseload_shape : tuple of float
        Parameters of the beta distribution that caseloads are binomial with; the mean caseload is 10.
    sessions : tuple of int
        Fewest and most sessions of a client; uniform.
    early_sessions : tuple of int
        Sessions that early alliance is the mean of.
    fewest_early_ratings : int
        By each rater, for a client to be in the early model.
    severity_missing, end_missing : float
        Shares of sessions without severity, and of clients without an end assessment; completely at random.
    """

    caseload: tuple[int, int]
    caseload_shape: tuple[float, float]
    sessions: tuple[int, int]
    early_sessions: tuple[int, ...]
    fewest_early_ratings: int
    severity_missing: float
    end_missing: float


SIZES = Sizes(
    caseload=(3, 20),
    caseload_shape=(1.4, 2.0),
    sessions=(6, 14),
    early_sessions=(3, 4, 5),
    fewest_early_ratings=2,
    severity_missing=0.04,
    end_missing=0.2,
)


@dataclass(frozen=True)
class OutcomeModel:
    """The model that severity comes from, and that is fitted: coefficients of the manifest columns and variances.

    Parameters
    ----------
    within_client, between_client, between_therapist : tuple of float
        Coefficients of the client's and the therapist's alliance at each level; no within-client ones with one row per
        client.
    others : dict of str to float
        Coefficients of the other terms.
    client_sd : tuple of float
        Standard deviations of clients' intercepts and of their slopes on both raters' within-client alliance; empty
        with one row per client.
    client_correlations : tuple of float
        Of the intercept with each slope, and of the slopes.
    therapist_sd, residual_sd : float
        Standard deviations of therapists' intercepts and of the residual.
    """

    within_client: tuple[float, ...]
    between_client: tuple[float, float]
    between_therapist: tuple[float, float]
    others: dict[str, float]
    client_sd: tuple[float, ...]
    client_correlations: tuple[float, ...]
    therapist_sd: float
    residual_sd: float


HYBRID = OutcomeModel(
    within_client=(-1.5, -0.4),
    between_client=(-2.0, -0.8),
    between_therapist=(-1.5, -0.5),
    others={"Intercept": 8.0, "log_session": -2.0, "severity_first": 0.5},
    client_sd=(3.5, 1.2, 0.8),
    client_correlations=(-0.3, -0.2, 0.3),
    therapist_sd=1.3,
    residual_sd=2.6,
)
EARLY = OutcomeModel(
    within_client=(),
    between_client=(-2.0, -0.8),
    between_therapist=(-1.5, -0.5),
    others={"Intercept": 2.0, "severity_first": 0.2, "severity_before": 0.4},
    client_sd=(),
    client_correlations=(),
    therapist_sd=1.3,
    residual_sd=4.0,
)


@dataclass(frozen=True)
class FirstSeverity:
    """Severity before the alliance ratings, CORE-10 points.

    Parameters
    ----------
    mean, therapist_sd, client_sd : float
        At intake.
    alliance_correlation : float
        Of a client's intake severity with the client's stable alliance rating.
    stability, later_sd : float
        Slope of the severity just before the early sessions on intake severity, and the standard deviation about it.
    """

    mean: float
    therapist_sd: float
    client_sd: float
    alliance_correlation: float
    stability: float
    later_sd: float


FIRST_SEVERITY = FirstSeverity(20.0, 0.7, 4.7, -0.2, 0.8, 2.6)


@dataclass(frozen=True)
class LaggedModel:
    """y_t = constant + a y_{t−1} + b x_t + u_client + v_therapist + e_t, with x strictly exogenous.

    Parameters
    ----------
    constant, autoregression, effect : float
        Constant, a, b.
    client_sd, therapist_sd, residual_sd : float
        Standard deviations of u, v and e.
    first_mean, first_sd : float
        Of the first outcome, where it is independent of u and v.
    stable_sd, innovation_sd, carry_over : float
        Of x: clients' stable parts, what is new at each session, and autoregression.
    burn_in : int
        Sessions after which the first outcome is taken, where it is stationary.
    """

    constant: float
    autoregression: float
    effect: float
    client_sd: float
    therapist_sd: float
    residual_sd: float
    first_mean: float
    first_sd: float
    stable_sd: float
    innovation_sd: float
    carry_over: float
    burn_in: int


LAGGED = LaggedModel(
    constant=9.0,
    autoregression=0.35,
    effect=-1.5,
    client_sd=2.3,
    therapist_sd=0.85,
    residual_sd=2.6,
    first_mean=20.0,
    first_sd=4.7,
    stable_sd=0.65,
    innovation_sd=0.38,
    carry_over=0.3,
    burn_in=50,
)

#: Where the first outcome of the lagged model comes from. The estimator takes it for independent of the intercepts.
FIRST_OUTCOMES = ("independent", "stationary")


@dataclass(frozen=True)
class MultilevelDesign:
    """Studies for the hybrid and the early model.

    Parameters
    ----------
    therapists : int
        Number of therapists.
    """

    therapists: int

    @property
    def name(self) -> str:
        """Name in paths."""
        return f"{self.therapists}_therapists"


@dataclass(frozen=True)
class LaggedDesign:
    """Studies for the model with a lagged outcome.

    Parameters
    ----------
    clients, sessions, therapists : int
        Clients in all, outcomes of each client (the first has no predecessor), therapists with equal caseloads.
    """

    clients: int
    sessions: int
    therapists: int = 20

    @property
    def name(self) -> str:
        """Name in paths."""
        return f"lagged_{self.clients}_clients_{self.sessions}_sessions"


MULTILEVEL_DESIGNS = tuple(MultilevelDesign(therapists) for therapists in (8, 15, 30))
LAGGED_DESIGNS = tuple(LaggedDesign(clients, sessions) for clients in (100, 300) for sessions in (6, 12))
DESIGNS = {design.name: design for design in (*MULTILEVEL_DESIGNS, *LAGGED_DESIGNS)}


def chunks() -> list[range]:
    """List the numbers of the studies of each job."""
    return [range(start, min(start + CHUNK, STUDIES)) for start in range(0, STUDIES, CHUNK)]


def parameters_digest() -> str:
    """Digest seed, sizes and values, so that a stored table is known to belong to them."""
    content = {
        "seed": SEED,
        "studies": STUDIES,
        "family_error": FAMILY_ERROR,
        "fewest_judged_therapists": FEWEST_JUDGED_THERAPISTS,
        "designs": {name: asdict(design) for name, design in DESIGNS.items()},
        "first_outcomes": FIRST_OUTCOMES,
        **{
            name: asdict(values)
            for name, values in {
                "alliance": ALLIANCE,
                "sizes": SIZES,
                "hybrid": HYBRID,
                "early": EARLY,
                "first_severity": FIRST_SEVERITY,
                "lagged": LAGGED,
            }.items()
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
