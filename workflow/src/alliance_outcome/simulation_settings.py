"""Settings of the generator that writes the example study's raw files.

Every default is an assumption of a made-up study, chosen so that the example looks like a routine out-patient
clinic and so that its true answer is known; none is a finding of a paper.
:mod:`alliance_outcome.data.simulate` writes out the model in which these numbers are the parameters; the
symbols in the descriptions are the ones used there.

"Client alliance" is the alliance as the client rates it, "therapist alliance" as the therapist rates it. One
WAI-S point is a point of the mean of the twelve items (1 to 7); one CORE-10 point is a point of the score (0
to 40).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

_CORE = "CORE-10 points"
_WAI = "WAI-S points"
_EFFECT = "CORE-10 points per WAI-S point"
_REVERSE = "WAI-S points per CORE-10 point"
_NONE = "none (share or coefficient without a unit)"


def _quantity(default: float, unit: str, description: str, **bounds: float) -> Any:
    """Declare a setting with its unit, which the JSON schema carries beside the description."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **bounds)


def _sd(default: float, unit: str, description: str) -> Any:
    return _quantity(default, unit, description, ge=0)


def _share(default: float, description: str) -> Any:
    return _quantity(default, _NONE, description, ge=0, le=1)


def _correlation(default: float, description: str) -> Any:
    return _quantity(default, _NONE, description, gt=-1, lt=1)


def _autoregression(default: float, description: str) -> Any:
    return _quantity(default, _NONE, description, gt=-1, lt=1)


class SimulationSettings(BaseModel):
    """Size, true effects and measurement of the simulated clinic.

    Raises
    ------
    pydantic.ValidationError
        For an unknown key, a value out of its bounds, caseloads that cannot hold the clients, session numbers
        that contradict each other, or three correlations that no distribution can have together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Size and nesting
    n_clients: int = _quantity(300, "clients", "Number of clients.", ge=1)
    n_therapists: int = _quantity(25, "therapists", "Number of therapists.", ge=1)
    caseload_min: int = _quantity(3, "clients", "Smallest number of clients of a therapist.", ge=1)
    caseload_max: int = _quantity(20, "clients", "Largest number of clients of a therapist.", ge=1)
    caseload_spread: float = _sd(
        0.45, "log clients", "SD of the log of the therapists' expected shares of clients."
    )
    planned_sessions_min: int = _quantity(
        8, "sessions", "Shortest planned therapy; lengths are uniform.", ge=5
    )
    planned_sessions_max: int = _quantity(20, "sessions", "Longest planned therapy.", ge=5)

    # Severity: stable part and individual trend
    intake_severity_mean: float = _quantity(20.0, _CORE, "Mean severity at intake (mu_I).", ge=0, le=40)
    intake_severity_sd_client: float = _sd(
        4.7, _CORE, "SD between clients of a therapist of intake severity I."
    )
    intake_severity_sd_therapist: float = _sd(
        0.7, _CORE, "SD between therapists of their clients' mean intake severity."
    )
    severity_change_mean: float = _quantity(
        -8.0, _CORE, "Mean change over a therapy of mean planned length (Delta)."
    )
    severity_stability: float = _quantity(
        0.6, _NONE, "Effect of intake severity on end severity (rho).", ge=0
    )
    severity_change_sd_client: float = _sd(3.5, _CORE, "SD between clients of unexplained change (r).")
    severity_change_sd_therapist: float = _sd(1.3, _CORE, "SD between therapists of unexplained change (v).")

    # Alliance: stable part and individual trend
    client_alliance_mean: float = _quantity(
        5.15, _WAI, "Mean client alliance at session 1 (mu_C).", ge=1, le=7
    )
    therapist_alliance_mean: float = _quantity(
        4.75, _WAI, "Mean therapist alliance at session 1 (mu_T).", ge=1, le=7
    )
    client_alliance_change: float = _quantity(
        0.4, _WAI, "Mean change of client alliance over a mean therapy."
    )
    therapist_alliance_change: float = _quantity(
        0.3, _WAI, "Mean change of therapist alliance over a mean therapy."
    )
    client_alliance_sd_between_client: float = _sd(
        0.65, _WAI, "SD of stable client alliance between clients of a therapist."
    )
    therapist_alliance_sd_between_client: float = _sd(
        0.5, _WAI, "SD of stable therapist alliance between clients of a therapist."
    )
    client_alliance_sd_between_therapist: float = _sd(
        0.22, _WAI, "SD of stable client alliance between therapists."
    )
    therapist_alliance_sd_between_therapist: float = _sd(
        0.4, _WAI, "SD of stable therapist alliance between therapists."
    )
    client_alliance_trend_sd: float = _sd(
        0.2, "WAI-S points per 10 sessions", "SD of clients' own linear trends (k_C)."
    )
    therapist_alliance_trend_sd: float = _sd(
        0.15, "WAI-S points per 10 sessions", "The same for therapist alliance (k_T)."
    )
    alliance_trend_centre: int = _quantity(
        4,
        "session",
        "Session at which individual alliance trends are 0: the middle of the early window.",
        ge=1,
    )

    # Correlations of random effects
    intake_client_alliance_correlation: float = _correlation(
        -0.2, "Correlation of intake severity and stable client alliance between clients."
    )
    intake_therapist_alliance_correlation: float = _correlation(
        -0.15, "The same with stable therapist alliance."
    )
    alliance_correlation_between_client: float = _correlation(
        0.35, "Correlation of both raters' stable alliance, clients."
    )
    alliance_correlation_between_therapist: float = _correlation(0.3, "The same between therapists.")
    severity_client_trend_correlation: float = _correlation(
        -0.3, "Correlation of unexplained change in severity with the trend of client alliance."
    )
    severity_therapist_trend_correlation: float = _correlation(
        -0.2, "The same with the trend of therapist alliance."
    )
    alliance_trend_correlation: float = _correlation(0.3, "Correlation of both raters' alliance trends.")

    # Effects of alliance on severity
    within_client_effect_client: float = _quantity(
        -1.5,
        _EFFECT,
        "Effect of a client's own alliance deviation after a session on severity before the next (b_C).",
    )
    within_client_effect_therapist: float = _quantity(
        -0.4, _EFFECT, "The same for the therapist's rating (b_T)."
    )
    between_client_effect_client: float = _quantity(
        -2.0, _EFFECT, "Effect of stable client alliance, between clients of a therapist, on end severity."
    )
    between_client_effect_therapist: float = _quantity(
        -0.8, _EFFECT, "The same for stable therapist alliance."
    )
    between_therapist_effect_client: float = _quantity(
        -1.5, _EFFECT, "Effect of a therapist's mean client alliance on end severity."
    )
    between_therapist_effect_therapist: float = _quantity(
        -0.5, _EFFECT, "The same for the therapist's own mean rating."
    )
    alliance_effect_onset: int = _quantity(
        3, "session", "Last session before which the stable alliance has not yet changed severity.", ge=1
    )

    # Within-client dynamics
    severity_autoregression: float = _autoregression(
        0.35, "Carry-over of a severity deviation to the next session."
    )
    client_alliance_autoregression: float = _autoregression(0.3, "Carry-over of a client alliance deviation.")
    therapist_alliance_autoregression: float = _autoregression(
        0.3, "Carry-over of a therapist alliance deviation."
    )
    reverse_path_client: float = _quantity(
        -0.03, _REVERSE, "Effect of severity before a session on client alliance after it (c_C)."
    )
    reverse_path_therapist: float = _quantity(-0.02, _REVERSE, "The same for therapist alliance (c_T).")
    severity_innovation_sd: float = _sd(2.6, _CORE, "SD of what is new in severity at each session.")
    client_alliance_innovation_sd: float = _sd(
        0.38, _WAI, "SD of what is new in client alliance, ruptures apart."
    )
    therapist_alliance_innovation_sd: float = _sd(
        0.36, _WAI, "SD of what is new in therapist alliance, ruptures apart."
    )
    alliance_innovation_correlation: float = _correlation(0.25, "Correlation of both raters' innovations.")

    # Ruptures
    rupture_probability: float = _share(0.045, "Probability of a rupture in a session.")
    rupture_repaired_share: float = _share(
        0.5, "Share of ruptures that are repaired: they fade by the autoregression."
    )
    rupture_unrepaired_sessions: int = _quantity(
        4,
        "sessions",
        "Further sessions for which an unrepaired rupture holds the alliance down.",
        ge=0,
        le=20,
    )
    client_rupture_depth: float = _sd(0.8, _WAI, "Drop of client alliance in a rupture.")
    therapist_rupture_depth: float = _sd(0.3, _WAI, "Drop of therapist alliance in a rupture.")

    # Dropout and the end assessment
    sessions_before_dropout: int = _quantity(
        4, "sessions", "Held sessions after which dropout becomes possible.", ge=1
    )
    dropout_log_odds: float = _quantity(
        -3.6, "log odds", "Log odds of not coming back after a session, for an average client."
    )
    dropout_severity_effect: float = _quantity(
        0.06, "log odds per CORE-10 point", "Effect of severity above the mean of that session on dropout."
    )
    dropout_alliance_effect: float = _quantity(
        -0.7,
        "log odds per WAI-S point",
        "Effect of client alliance above the mean of that session on dropout.",
    )
    end_assessment_planned: float = _share(0.92, "Probability of an end assessment after a planned ending.")
    end_assessment_unplanned: float = _share(
        0.35, "Probability of an end assessment after an unplanned ending."
    )

    # Items and missing answers
    core10_item_sd: float = _sd(0.6, "item points", "SD of the error of a CORE-10 item before rounding.")
    core10_item_spread: float = _sd(
        0.3, "item points", "Half the range of the CORE-10 items' mean differences."
    )
    client_wai_item_sd: float = _sd(
        0.85, "item points", "SD of the error of a client's WAI-S item before rounding."
    )
    therapist_wai_item_sd: float = _sd(
        0.95, "item points", "SD of the error of a therapist's WAI-S item before rounding."
    )
    wai_item_spread: float = _sd(0.3, "item points", "Half the range of the WAI-S items' mean differences.")
    core10_form_missing: float = _share(0.04, "Probability that a held session has no CORE-10.")
    client_form_missing: float = _share(0.06, "Probability that a held session has no client WAI-S.")
    therapist_form_missing: float = _share(0.12, "Probability that a held session has no therapist WAI-S.")
    item_missing: float = _share(
        0.01, "Probability that an item of a form that was handed in is not answered."
    )

    # Appointments
    missed_appointment_probability: float = _quantity(
        0.12,
        _NONE,
        "Probability that an appointment after the first is not held (at most 3 in a row).",
        ge=0,
        lt=1,
    )
    no_show_share: float = _share(0.4, "Share of missed appointments without notice; the rest are cancelled.")
    dropout_no_show: float = _share(
        0.6, "Share of unplanned endings whose next appointment is recorded as a no-show."
    )
    skipped_week_probability: float = _share(
        0.15, "Probability that two weeks instead of one pass between appointments."
    )

    @property
    def mean_planned_sessions(self) -> float:
        """Mean planned length of therapy in held sessions; the lengths are uniform on the integers."""
        return (self.planned_sessions_min + self.planned_sessions_max) / 2

    @model_validator(mode="after")
    def _caseloads_hold_the_clients(self) -> SimulationSettings:
        if (
            not self.n_therapists * self.caseload_min
            <= self.n_clients
            <= self.n_therapists * self.caseload_max
        ):
            raise ValueError(
                "n_clients must lie between n_therapists x caseload_min and n_therapists x caseload_max"
            )
        return self

    @model_validator(mode="after")
    def _sessions_are_in_order(self) -> SimulationSettings:
        if self.planned_sessions_min > self.planned_sessions_max:
            raise ValueError("planned_sessions_min is greater than planned_sessions_max")
        if self.sessions_before_dropout >= self.planned_sessions_min:
            raise ValueError("sessions_before_dropout must be less than planned_sessions_min")
        if self.alliance_effect_onset >= self.planned_sessions_min:
            raise ValueError("alliance_effect_onset must be less than planned_sessions_min")
        return self

    @model_validator(mode="after")
    def _correlations_are_possible(self) -> SimulationSettings:
        triples = {
            "intake_client_alliance, intake_therapist_alliance, alliance_between_client": (
                self.intake_client_alliance_correlation,
                self.intake_therapist_alliance_correlation,
                self.alliance_correlation_between_client,
            ),
            "severity_client_trend, severity_therapist_trend, alliance_trend": (
                self.severity_client_trend_correlation,
                self.severity_therapist_trend_correlation,
                self.alliance_trend_correlation,
            ),
        }
        for names, (a, b, c) in triples.items():
            # Determinant of the correlation matrix; with |a|, |b|, |c| < 1 its sign decides.
            if 1 + 2 * a * b * c - a**2 - b**2 - c**2 <= 0:
                raise ValueError(f"no distribution has these three correlations together: {names}")
        return self
