"""The contrast of the raters from one session to the next, in every model that was asked for it.

What the figure and the section on panel models have in common.
"""

from __future__ import annotations

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.analyses.panel_names import PANEL_ENGINE, PANEL_MODELS, shift_of, split_version
from alliance_outcome.report.labels import LIKELIHOOD_ENGINE, model_label, words
from alliance_outcome.report.latent_versions import Version
from alliance_outcome.report.robustness import reading
from alliance_outcome.report.selection import HEADLINE_TERMS

#: What versions of the primary model are called.
_PARTS = {
    "reliability": "Ratings corrected for reliability",
    "lags_2": "Effect two sessions later",
    "lags_3": "Effect three sessions later",
    "planned_ending": "Clients with a planned ending",
    "unplanned_ending": "Clients with an unplanned ending",
    "shorter_treatment": "Clients with shorter treatment",
    "longer_treatment": "Clients with longer treatment",
}


def panel_rows(contrast: pd.DataFrame) -> pd.DataFrame:
    """Pick the contrast rows of the panel models, tested in their own way."""
    own = (contrast["engine"] == PANEL_ENGINE) & contrast["term"].isin(HEADLINE_TERMS)
    return contrast[own & ~is_repetition(contrast)]


def panel_versions(contrast: pd.DataFrame) -> list[Version]:
    """List the panel models, the primary one first, and the multilevel ones that the field usually fits.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.

    Returns
    -------
    list of Version
    """
    rows = panel_rows(contrast)
    found = [
        Version(name, model_label(name), rows[rows["model"] == name])
        for name in PANEL_MODELS
        if (rows["model"] == name).any()
    ]
    found.sort(key=lambda version: version.rows["role"].iloc[0] != "primary")
    return [*found, *_comparators(contrast)]


def _comparators(contrast: pd.DataFrame) -> list[Version]:
    """List the multilevel models with all raters, without priors."""
    own = (
        (contrast["engine"] == LIKELIHOOD_ENGINE)
        & (contrast["level"] == "within_client")
        & contrast["model"].fillna("").str.startswith("hybrid")
        & contrast["term"].isin(HEADLINE_TERMS)
        & (contrast["estimand"] == "unique")
        & ~is_repetition(contrast)
    )
    return [
        Version(str(model), model_label(str(model)), rows)
        for model, rows in contrast[own].groupby("model", sort=False)
    ]


def other_versions(contrast: pd.DataFrame) -> list[Version]:
    """List what the primary panel model says under other choices and of parts of the sample.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.

    Returns
    -------
    list of Version
    """
    rows = panel_rows(contrast)
    others = rows[~rows["model"].isin(PANEL_MODELS)]
    return [
        Version(str(model), version_label(str(model)), same)
        for model, same in others.groupby("model", sort=False)
    ]


def tipping_sentence(contrast: pd.DataFrame) -> str:
    """Say how far from missing at random the truth must be to change what the primary contrast says of zero.

    Parameters
    ----------
    contrast : DataFrame
        ``contrast.csv``.

    Returns
    -------
    str
        Empty where nothing was imputed.
    """
    rows = panel_rows(contrast)
    rows = rows[(rows["term"] == "difference") & (rows["status"] == "ok")]
    base = rows[(rows["role"] == "primary") & rows["model"].isin(PANEL_MODELS)]
    shifts = rows["model"].map(shift_of)
    if base.empty or shifts.isna().all():
        return ""
    # Of more than two raters the first two are the headline's.
    first = base.iloc[0]
    own = shifts.notna() & (rows["rater"] == first["rater"]) & (rows["rater_b"] == first["rater_b"])
    says_nothing = reading(first) == "open"
    turned = [shifts[at] for at, row in rows[own].iterrows() if (reading(row) == "open") != says_nothing]
    change = [
        f"from {min(abs(shift) for shift in turned if sign * shift > 0):g} SD {side}"
        for side, sign in (("above", 1), ("below", -1))
        if any(sign * shift > 0 for shift in turned)
    ]
    verdict = (
        f"changes {' and '.join(change)} what is expected"
        if change
        else f"does not change up to {shifts[own].abs().max():g} SD above or below what is expected"
    )
    return (
        "How long treatment lasts depends on how it goes. If severity after leaving is other than the model expects "
        f"from all that is known of a client, whether the interval of D {'holds' if says_nothing else 'excludes'} zero "
        f"{verdict} (tipping point; standard deviations within clients)."
    )


def version_label(model: str) -> str:
    """Say what sets a version apart."""
    shift = shift_of(model)
    if shift is not None:
        return (
            f"Severity after leaving {abs(shift):g} SD {'above' if shift > 0 else 'below'} what is expected"
        )
    version = split_version(model)
    if version is None:
        return model_label(model)
    return _PARTS.get(version[1], words(version[1]).capitalize())
