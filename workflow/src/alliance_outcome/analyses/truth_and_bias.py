"""Each rater as a judge of what the other says: directional bias and tracking, in the truth-and-bias model.

The judge's rating of a session is taken as a judgement, the other rater's as the truth (West & Kenny 2011,
10.1037/a0022936). Both are centred on the truth's mean:

    J_t − m = bias + b_w·(within client) + b_b·(between clients) + b_t·(between therapists)
              + change·(session) + b_ws·(within client × session) + (u0 + u1·within client)_client + v0_therapist + e_t

The intercept is directional bias: how much higher the judge rates than the other, where the other is at the mean. The
slopes are tracking (the truth force), apart for each level: within clients, whether the judge moves from session to
session as the other does (temporal congruence); between clients and therapists, whether the judge tells pairs apart as
the other does. "Truth" is a name for a yardstick, not a claim that its rater is right; so each rater is judge once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext, sample_fields
from alliance_outcome.analyses.description import held_sessions
from alliance_outcome.analyses.estimates import estimates_frame, row_key
from alliance_outcome.analyses.inference import status_fields, wald_fields
from alliance_outcome.analyses.perception_names import (
    BIAS,
    BIAS_BY_SEVERITY,
    BIAS_CHANGE,
    BY_SEVERITY,
    FORMS_DIFFER,
    STANDARDISED_TRACKING,
    TRACKING,
    TRACKING_BY_SEVERITY,
    TRACKING_CHANGE,
    TRACKING_SPREAD,
    TRUTH_AND_BIAS,
)
from alliance_outcome.design.levels import (
    THREE_LEVELS,
    TWO_LEVELS,
    WITHIN_CLIENT,
    level_column,
    level_sd,
    split_levels,
)
from alliance_outcome.design.rows import first_severity
from alliance_outcome.design.timing import session_slots
from alliance_outcome.models.confidence_intervals import profile_interval
from alliance_outcome.models.contrast import CI_LEVEL
from alliance_outcome.models.design_checks import INTERCEPT, UnfittableModel
from alliance_outcome.models.multilevel import MultilevelModel
from alliance_outcome.models.multilevel_result import MultilevelResult

#: Columns of the model beside those of the levels.
SESSION, SEVERITY = "session", "severity_first"
BY = "_by_"
_POINTS, _RATIO, _STANDARD = "scale points", "points per point", "SD per SD"


def truth_and_bias_estimates(
    sessions: pd.DataFrame, context: AnalysisContext, min_therapists: int
) -> pd.DataFrame:
    """Fit the truth-and-bias model for each rater as judge of each other.

    Parameters
    ----------
    sessions : DataFrame
        Session table; held sessions rated by both are used.
    context : AnalysisContext
        Facts of the study. Unless the forms are commensurate, bias and raw tracking are refused. Without therapist ids,
        or where therapists have one client each, clients are the highest level.
    min_therapists : int
        With fewer therapists nothing is claimed between therapists.

    Returns
    -------
    DataFrame
        Estimates: directional bias and its change per session, tracking at each level (raw and in standard deviations
        of the level), its change per session and its spread over clients, and both by the client's first severity.
        `rater` is the judge, `rater_b` the truth. Refusals are rows.
    """
    held = held_sessions(sessions)
    severity = _first_severity(sessions, context)
    found = [
        row
        for pair in itertools.permutations(context.raters, 2)
        for row in _direction_rows(held, severity, pair, context, min_therapists)
    ]
    if len(context.raters) < 2:
        reason = f"alliance is rated by the {context.raters[0]} only"
        refused = {"row_id": row_key(TRUTH_AND_BIAS, "refused"), "status": "refused", "reason": reason}
        found = [{**_base(held, context), **refused, "term": BIAS}]
    return estimates_frame(found)


def _first_severity(sessions: pd.DataFrame, context: AnalysisContext) -> pd.Series:
    """Return each client's last severity before the first alliance rating."""
    if sessions["severity"].isna().all():
        return pd.Series(dtype=float)
    slots = sessions.assign(slot=session_slots(sessions, context.lag_unit)).dropna(subset="slot")
    return first_severity(sessions, slots.astype({"slot": "int64"}), context.timing)


@dataclass(frozen=True, eq=False)
class Judgement:
    """Rows of one judge and one truth, ready for the model.

    Parameters
    ----------
    rows : DataFrame
        Sessions rated by both, with the levels of both ratings.
    judge, truth : str
        Columns.
    levels : tuple of str
        Levels of the truth.
    has_therapists : bool
    """

    rows: pd.DataFrame
    judge: str
    truth: str
    levels: tuple[str, ...]
    has_therapists: bool

    @classmethod
    def of(cls, held: pd.DataFrame, judge: str, truth: str, has_therapists: bool) -> Judgement:
        """Split the ratings of sessions that both raters rated.

        Parameters
        ----------
        held : DataFrame
            Held sessions with ``client``, ``therapist``, ``session`` and both columns.
        judge, truth : str
            Columns of the two raters.
        has_therapists : bool
            Whether therapists are a level.

        Returns
        -------
        Judgement

        Raises
        ------
        UnfittableModel
            If no session was rated by both.
        """
        complete = held.dropna(subset=[judge, truth]).reset_index(drop=True)
        if complete.empty:
            raise UnfittableModel("no session was rated by both")
        levels = THREE_LEVELS if has_therapists else TWO_LEVELS
        return cls(split_levels(complete, [judge, truth]), judge, truth, levels, has_therapists)

    def columns(self, moderator: str) -> pd.DataFrame:
        """Return the fixed-effect columns, with session or first severity as the moderator, centred.

        Parameters
        ----------
        moderator : {'session', 'severity_first'}

        Returns
        -------
        DataFrame
            ``Intercept``, the levels of the truth, ``session`` and, if it is another, the moderator, and the product
            of the moderator and the truth within clients.
        """
        found = pd.DataFrame({INTERCEPT: 1.0}, index=self.rows.index)
        for level in self.levels:
            found[level] = self.rows[level_column(self.truth, level)]
        for name in dict.fromkeys([SESSION, moderator]):
            found[name] = self.rows[name].astype(float) - self._centre(name)
        found[f"{WITHIN_CLIENT}{BY}{moderator}"] = found[WITHIN_CLIENT] * found[moderator]
        return found

    def _centre(self, name: str) -> float:
        """Return the mean of a moderator: over sessions, or over clients of what belongs to a client."""
        own = self.rows if name == SESSION else self.rows.drop_duplicates("client")
        return float(own[name].astype(float).mean())

    @property
    def judgement(self) -> pd.Series:
        """The judge's rating less the mean that the truth is centred on."""
        parts = sum(self.rows[level_column(self.truth, level)] for level in self.levels)
        return self.rows[self.judge] - (self.rows[self.truth] - parts)

    def model(self, moderator: str) -> MultilevelModel:
        """Return the model; raises like :class:`~alliance_outcome.models.multilevel.MultilevelModel`."""
        random = {"client": [INTERCEPT, WITHIN_CLIENT]}
        if self.has_therapists:
            random = {"therapist": [INTERCEPT], **random}
        groups = {level: self.rows[level] for level in random}
        return MultilevelModel(self.judgement, self.columns(moderator), groups=groups, random=random)

    def ratio(self, level: str) -> float:
        """Return the truth's standard deviation at a level over the judge's."""
        deviations = [level_sd(self.rows, name, level) for name in (self.truth, self.judge)]
        return deviations[0] / deviations[1] if deviations[1] > 0.0 else np.nan


def _base(rows: pd.DataFrame, context: AnalysisContext) -> dict[str, Any]:
    return {
        **context.common_fields(TRUTH_AND_BIAS),
        "model": TRUTH_AND_BIAS,
        "engine": "multilevel",
        "role": "secondary",
        "outcome": None,
        "outcome_rater": None,
        "lag": None,
        "lag_unit": None,
        "adjustment": "session number",
        "residual": "independent",
        "missing_method": "sessions rated by both; likelihood-based (MAR)",
        "quantity_kind": "deterministic",
        **sample_fields(rows, client_rows=False),
    }


def _direction_rows(
    held: pd.DataFrame,
    severity: pd.Series,
    pair: tuple[str, str],
    context: AnalysisContext,
    min_therapists: int,
) -> Iterator[dict[str, Any]]:
    """Yield the estimates of one judge."""
    judge, truth = (f"alliance_{rater}" for rater in pair)
    rows = held.dropna(subset=[judge, truth])
    known = rows.assign(**{SEVERITY: rows["client"].map(severity)}).dropna(subset=SEVERITY)
    for model, own, moderator in ((TRUTH_AND_BIAS, rows, SESSION), (BY_SEVERITY, known, SEVERITY)):
        names = {"model": model, "rater": pair[0], "rater_b": pair[1]}
        table = _Table({**_base(own, context), **names}, context.commensurate, min_therapists)
        if own.empty and len(rows):
            yield table.refused(None, None, "no client's severity is known before the first rating")
            continue
        try:
            several = 1 < own["therapist"].nunique() < own["client"].nunique()
            judgement = Judgement.of(own, judge, truth, context.has_therapists and several)
            fit = judgement.model(moderator).fit()
        except UnfittableModel as problem:
            yield table.refused(None, None, problem.reason)
            continue
        yield from table.moderated(judgement, fit) if moderator == SEVERITY else table.main(judgement, fit)


@dataclass(frozen=True, eq=False)
class _Table:
    """The rows of one model.

    Parameters
    ----------
    base : dict
        What they have in common.
    commensurate : bool
    min_therapists : int
    """

    base: dict[str, Any]
    commensurate: bool
    min_therapists: int

    def main(self, judgement: Judgement, fit: MultilevelResult) -> Iterator[dict[str, Any]]:
        """Yield bias, tracking and how both change over sessions."""
        yield self._bias(fit, BIAS, INTERCEPT, _POINTS)
        yield self._bias(fit, BIAS_CHANGE, SESSION, f"{_POINTS} per session")
        for level in judgement.levels:
            if self.commensurate:
                yield self._tested(fit, TRACKING, level, {level: 1.0}, _RATIO)
            weights = {level: judgement.ratio(level)}
            yield self._tested(fit, STANDARDISED_TRACKING, level, weights, _STANDARD)
        yield self._product(judgement, fit, TRACKING_CHANGE, SESSION, "per session")
        yield self._spread(fit)

    def moderated(self, judgement: Judgement, fit: MultilevelResult) -> Iterator[dict[str, Any]]:
        """Yield how bias and tracking depend on the client's first severity."""
        yield self._bias(fit, BIAS_BY_SEVERITY, SEVERITY, f"{_POINTS} per point of severity")
        yield self._product(judgement, fit, TRACKING_BY_SEVERITY, SEVERITY, "per point of severity")

    def refused(self, term: str | None, level: str | None, reason: str) -> dict[str, Any]:
        """Return a refusal."""
        return {
            **self.base,
            **self._named(term or "refused", level),
            "term": term,
            "status": "refused",
            "reason": reason,
        }

    def _named(self, term: str, level: str | None) -> dict[str, Any]:
        key = row_key(self.base["model"], self.base["rater"], self.base["rater_b"], level, term)
        return {"row_id": key, "term": term, "level": level}

    def _bias(self, fit: MultilevelResult, term: str, column: str, unit: str) -> dict[str, Any]:
        """Return a difference in points, which takes the same form from both raters."""
        if not self.commensurate:
            return self.refused(term, None, FORMS_DIFFER)
        return self._tested(fit, term, None, {column: 1.0}, unit)

    def _product(
        self, judgement: Judgement, fit: MultilevelResult, term: str, moderator: str, per: str
    ) -> dict[str, Any]:
        """Return how tracking within clients depends on a moderator."""
        weight = 1.0 if self.commensurate else judgement.ratio(WITHIN_CLIENT)
        unit = f"{_RATIO if self.commensurate else _STANDARD}, {per}"
        return self._tested(fit, term, WITHIN_CLIENT, {f"{WITHIN_CLIENT}{BY}{moderator}": weight}, unit)

    def _tested(
        self, fit: MultilevelResult, term: str, level: str | None, weights: dict[str, float], unit: str
    ) -> dict[str, Any]:
        """Return a coefficient with its test; standard deviations are held fixed."""
        if not np.isfinite(list(weights.values())).all():
            return self.refused(term, level, "the judge's ratings have no standard deviation at this level")
        tested = fit.contrast(weights, df="satterthwaite")
        status = status_fields(
            fit.converged, level, self.base["n_therapists"], self.min_therapists, tested.df
        )
        kinds = {"se_kind": "model", "df_method": "satterthwaite", "unit": unit}
        return {**self.base, **self._named(term, level), **wald_fields(tested), **kinds, **status}

    def _spread(self, fit: MultilevelResult) -> dict[str, Any]:
        """Return how much clients differ in how they are tracked, by full maximum likelihood."""
        name = f"sd(client: {WITHIN_CLIENT})"
        estimate, low, high = profile_interval(fit.refit(reml=False), name, CI_LEVEL)
        unit = _RATIO if self.commensurate else "judge's points per point"
        row = {**self.base, **self._named(TRACKING_SPREAD, WITHIN_CLIENT), "unit": unit}
        status = status_fields(fit.converged, WITHIN_CLIENT, None, 0)
        if status["status"] == "ok" and any(each.startswith("client:") for each in fit.singular):
            reason = "on the boundary: the covariance matrix of client effects is singular"
            status = {"status": "not_established", "reason": reason}
        limits = {"ci_low": low, "ci_high": high, "ci_level": CI_LEVEL, "ci_kind": "profile"}
        return {**row, "estimate": estimate, **limits, **status}
