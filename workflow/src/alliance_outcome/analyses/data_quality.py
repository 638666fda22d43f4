"""Can the data be taken at their word? Checks of answers, ceilings, copies and of who is missing.

Each is a row of a table of checks with what to do about it. No participant appears in it: shares are of forms or
sessions, and small counts are not told.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.linalg import LinAlgError
from statsmodels.tools.sm_exceptions import (
    ConvergenceWarning,
    PerfectSeparationError,
    PerfectSeparationWarning,
)

from alliance_outcome.analyses.description import SMALLEST_CELL, held_sessions
from alliance_outcome.analyses.model_checks import CHECK_COLUMNS, check
from alliance_outcome.models.fitted_state import FloatArray

STAGE = "data_quality"

#: Share of forms with one answer throughout, of jumps over half the scale, and of ratings at the top (Terwee et al.
#: 2007,
#: 10.1016/j.jclinepi.2006.03.012, for the last).
MOST_STRAIGHT, MOST_JUMPS, MOST_AT_TOP = 0.05, 0.01, 0.15
#: Answers that two records must share to be copies, correlation of an item with the rest that is hardly one, and gain
#: in
#: the mean correlation of items that makes a shifted key suspicious.
FEWEST_ANSWERS, WEAK_ITEM, SHIFT_GAIN = 10, 0.1, 0.05
#: p value from which missing values are called unrelated to severity; share of appointments that were not kept.
UNRELATED, MOST_NOT_KEPT = 0.05, 0.25


def data_quality(
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measures: pd.DataFrame,
    announcements: pd.DataFrame,
    raters: tuple[str, ...],
) -> pd.DataFrame:
    """Check the data of a study.

    Parameters
    ----------
    sessions, items : DataFrame
        Session table and item table.
    measures : DataFrame
        ``measures.csv``.
    announcements : DataFrame
        ``announcements.csv``: what reading the files found of stored totals.
    raters : tuple of str
        Who rates the alliance.

    Returns
    -------
    DataFrame
        ``stage, name, passed, value, limit, text``.
    """
    held = held_sessions(sessions)
    rows = [
        *_forms(items),
        *_stored_totals(announcements),
        *_ceilings(held, measures),
        *_jumps(held, measures),
        _copies(items),
        _leaving(held),
        *(_missing_ratings(held, rater) for rater in raters),
        _attendance(sessions),
    ]
    return pd.DataFrame([row for row in rows if row is not None], columns=list(CHECK_COLUMNS))


def _check(name: str, value: float, limit: float, passed: bool, text: str) -> dict[str, Any]:
    return check(STAGE, name, bool(passed), round(value, 4), limit, text)


def _share_check(name: str, happened: pd.Series, limit: float, words: str, remedy: str) -> dict[str, Any]:
    """Check a share; one that fewer than ten stand behind is not told exactly."""
    n, count = len(happened), int(happened.sum())
    share = count / n if n else 0.0
    few = 0 < count < SMALLEST_CELL
    said = (
        f"fewer than {SMALLEST_CELL} of {n:,}" if few else f"{100.0 * share:.1f}\N{NO-BREAK SPACE}% of {n:,}"
    )
    passed = share <= limit
    text = words.format(said) + ("" if passed else f"; {remedy}")
    return check(STAGE, name, bool(passed), None if few else round(share, 4), limit, text)


def _stored_totals(announcements: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Check totals that somebody else computed, as reading the files found them; of sound ones nothing was noted."""
    found = announcements[announcements["kind"] == "stored_total"]
    for row in found[found["text"].str.contains("differ from|not whole")].to_dict("records"):
        remedy = "find out how it was scored, blanks and reversed items above all"
        yield check(
            STAGE, f"stored_totals.{row['column']}", False, None, 0.0, f"{row['text'].rstrip('.')}; {remedy}"
        )


# -- Answers -----------------------------------------------------------------------------------------------------------


def _forms(items: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Check the answers of every form of every rater."""
    for (rater, instrument), own in items.groupby(["rater", "instrument"], sort=True):
        keys = ["client", "episode", "occasion_kind", "session"]
        raw = own.pivot_table(index=keys, columns="item", values="raw", dropna=True)
        keyed = own.pivot_table(index=keys, columns="item", values="keyed", dropna=True)
        if raw.shape[1] < 4 or len(raw) < SMALLEST_CELL:
            continue
        form = f"{instrument} ({rater})"
        name = f"{instrument}.{rater}"
        yield _straight_lining(raw, form, name)
        yield _weak_items(keyed, form, name)
        shifted = _shift(raw, keyed, form, name)
        if shifted is not None:
            yield shifted


def _straight_lining(raw: pd.DataFrame, form: str, name: str) -> dict[str, Any]:
    same = raw.dropna().nunique(axis=1) == 1
    words = f"{form}: {{}} forms have the same answer to every item"
    remedy = "look at them in the raw file, and say in the methods what was done"
    return _share_check(f"straight_lining.{name}", same, MOST_STRAIGHT, words, remedy)


def _item_rest(values: pd.DataFrame) -> FloatArray:
    """Return correlations of each item with the mean of the others."""
    total, n = values.sum(axis=1), values.notna().sum(axis=1)
    return np.array(
        [
            values[item].corr((total - values[item].fillna(0.0)) / (n - values[item].notna()).clip(lower=1))
            for item in values
        ]
    )


def _weak_items(keyed: pd.DataFrame, form: str, name: str) -> dict[str, Any]:
    found = _item_rest(keyed)
    lowest = float(np.nanmin(found))
    weak = [str(item) for item, value in zip(keyed.columns, found, strict=True) if value < WEAK_ITEM]
    text = f"{form}: the lowest correlation of an item with the others is {lowest:.2f}"
    remedy = f"; see whether the key fits items {', '.join(weak)}" if weak else ""
    return _check(f"item_rest.{name}", lowest, WEAK_ITEM, not weak, text + remedy)


def _shift(raw: pd.DataFrame, keyed: pd.DataFrame, form: str, name: str) -> dict[str, Any] | None:
    """Check whether items agree better if the reversed ones were one place further: columns may be shifted."""
    complete = raw.dropna()
    turned = complete.to_numpy() != keyed.loc[complete.index].to_numpy()
    reverse = np.flatnonzero(turned.any(axis=0))
    if not len(reverse) or len(complete) < SMALLEST_CELL:
        return None
    values = complete.to_numpy(dtype=float)
    mirror = values.max() + values.min()

    def agreement(places: np.ndarray) -> float:
        own = values.copy()
        own[:, places] = mirror - own[:, places]
        correlations = np.corrcoef(own.T)
        return float(np.nanmean(correlations[np.triu_indices(len(correlations), 1)]))

    d = values.shape[1]
    here = agreement(reverse)
    elsewhere = max(agreement((reverse + step) % d) for step in (-1, 1))
    gain = elsewhere - here
    text = f"{form}: items correlate by {here:.2f} on average, by {elsewhere:.2f} if the key were shifted by one item"
    remedy = "; see whether columns of items are shifted" if gain > SHIFT_GAIN else ""
    return _check(f"item_shift.{name}", gain, SHIFT_GAIN, gain <= SHIFT_GAIN, text + remedy)


# -- Scores ------------------------------------------------------------------------------------------------------------


def _ceilings(held: pd.DataFrame, measures: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Check how many alliance ratings cannot go any higher."""
    for measure in measures[measures["construct"] == "alliance"].itertuples():
        known = held[measure.column].dropna()
        if known.empty or pd.isna(measure.high):
            continue
        top = pd.Series(np.isclose(known, measure.high))
        words = f"{measure.rater}-rated alliance: {{}} ratings sit at the top of the scale"
        remedy = "effects on them are underestimated, and what a good session adds cannot be seen"
        yield _share_check(f"ceiling.{measure.column}", top, MOST_AT_TOP, words, remedy)


def _jumps(held: pd.DataFrame, measures: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Check how often a score jumps over half of its scale from one session to the next."""
    ordered = held.sort_values(["client", "session"])
    for measure in measures.itertuples():
        if measure.column not in ordered or pd.isna(measure.high) or pd.isna(measure.low):
            continue
        steps = ordered.groupby("client")[measure.column].diff().dropna().abs()
        if steps.empty:
            continue
        far = steps > 0.5 * (measure.high - measure.low)
        words = f"{measure.rater}-rated {measure.construct}: {{}} changes from session to session pass half the scale"
        yield _share_check(
            f"jumps.{measure.column}", far, MOST_JUMPS, words, "compare them with the paper forms"
        )


def _copies(items: pd.DataFrame) -> dict[str, Any] | None:
    """Check whether two participants have a record in common: the same answers to all forms of a session."""
    own = items[items["occasion_kind"] == "session"].assign(
        question=lambda table: table["rater"] + table["instrument"] + table["item"].astype(str)
    )
    wide = own.pivot_table(index=["client", "episode", "session"], columns="question", values="raw")
    # Whoever ticks the same box throughout is like others who do.
    varied = wide[(wide.notna().sum(axis=1) >= FEWEST_ANSWERS) & (wide.nunique(axis=1) > 2)].fillna(-1.0)
    if varied.empty:
        return None
    clients = pd.Series(varied.index.get_level_values("client"), index=varied.index)
    shared = clients.groupby([varied[column] for column in varied]).transform("nunique") > 1
    words = "{} sessions have the same answers throughout as one of another participant"
    remedy = "see whether records were entered twice under two names"
    return _share_check("copies", shared, 0.0, words, remedy)


# -- Who is missing ----------------------------------------------------------------------------------------------------


def _logistic(
    happened: pd.Series, severity: pd.Series, session: pd.Series, client: pd.Series
) -> tuple[float, float] | None:
    """Return the odds ratio per standard deviation of severity and its p value, given the session; or None."""
    known = severity.notna() & session.notna()
    happened, severity, session = happened[known].astype(float), severity[known], session[known].astype(float)
    if min(happened.sum(), len(happened) - happened.sum()) < SMALLEST_CELL or severity.std() == 0.0:
        return None
    predictors = pd.DataFrame(
        {"constant": 1.0, "severity": (severity - severity.mean()) / severity.std(), "session": session}
    )
    groups = {"groups": pd.factorize(client[known])[0]}
    try:
        with warnings.catch_warnings():
            # Where the session alone says who leaves, severity cannot add anything.
            warnings.simplefilter("error")
            fit = sm.Logit(happened, predictors).fit(disp=0, cov_type="cluster", cov_kwds=groups)
    except (
        PerfectSeparationError,
        PerfectSeparationWarning,
        ConvergenceWarning,
        RuntimeWarning,
        LinAlgError,
    ):
        return None
    return float(np.exp(fit.params["severity"])), float(fit.pvalues["severity"])


def _leaving(held: pd.DataFrame) -> dict[str, Any] | None:
    """Check whether the last session depends on severity."""
    last = held["session"] == held.groupby("client")["session"].transform("max")
    found = _logistic(last, held["severity"], held["session"], held["client"])
    if found is None:
        return None
    ratio, p = found
    text = f"the odds that a session is the last change by {ratio:.2f} per standard deviation of severity (p {_p(p)})"
    remedy = (
        ""
        if p >= UNRELATED
        else "; treatment length depends on outcome: read the tipping point of the contrast"
    )
    return _check("leaving", p, UNRELATED, p >= UNRELATED, text + remedy)


def _missing_ratings(held: pd.DataFrame, rater: str) -> dict[str, Any] | None:
    """Check whether a rater's missing ratings go with severity."""
    found = _logistic(held[f"alliance_{rater}"].isna(), held["severity"], held["session"], held["client"])
    if found is None:
        return None
    ratio, p = found
    text = (
        f"the odds that the {rater}'s rating is missing change by {ratio:.2f} per standard deviation of severity (p "
        f"{_p(p)})"
    )
    remedy = "" if p >= UNRELATED else "; methods that use all rows allow for that, complete cases do not"
    return _check(f"missing_ratings.{rater}", p, UNRELATED, p >= UNRELATED, text + remedy)


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"= {value:.3f}".replace("0.", ".", 1)


def _attendance(sessions: pd.DataFrame) -> dict[str, Any] | None:
    """Check how many appointments were not kept."""
    own = sessions[sessions["occasion_kind"] == "session"]
    known = own["attendance"].dropna()
    if known.empty:
        return None
    words = "{} appointments were cancelled or missed"
    remedy = "see whether the lag unit fits, and who stays away"
    return _share_check("attendance", known != "attended", MOST_NOT_KEPT, words, remedy)
