"""The contrast of the raters with ratings as they are, with latent means, and corrected for reliability.

What the figure and the section on measurement error have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from alliance_outcome.analyses.estimates import is_repetition
from alliance_outcome.report.estimate_tables import estimate_text, shared_decimals, status_words
from alliance_outcome.report.formatting import is_absent, join_words, sentence_case
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import (
    LIKELIHOOD_ENGINE,
    engine_label,
    level_label,
    model_label,
    rater_label,
)
from alliance_outcome.report.robustness import READINGS, reading
from alliance_outcome.report.selection import HEADLINE_TERMS, first_row, levels_of

#: The version that the others are held against.
MANIFEST = "manifest"


@dataclass(frozen=True, eq=False)
class Version:
    """One version of the contrast at one level.

    Parameters
    ----------
    name : str
        ``manifest`` or the model of ``measurement_error.csv``.
    label : str
        The version in words.
    rows : DataFrame
        D and standardised coefficients at that level.
    """

    name: str
    label: str
    rows: pd.DataFrame

    @property
    def difference(self) -> pd.Series | None:
        """The row of D of the first two raters; None where there is one rater."""
        return first_row(self.rows, term="difference")

    def coefficient(self, rater: str) -> pd.Series | None:
        """The row of a rater's standardised coefficient."""
        return first_row(self.rows, term="coefficient_standardised", rater=rater)


def versions_by_level(results: Results) -> dict[str, list[Version]]:
    """Put the versions of the contrast side by side.

    Parameters
    ----------
    results : Results
        The finished study.

    Returns
    -------
    dict
        By level, in the report's order: the session-to-session model with ratings as they are (Bayesian, or REML where
        that was not to be had), then those of ``measurement_error.csv``.
    """
    latent = results.measurement_error
    found = {}
    for level in levels_of(latent):
        rows = latent[(latent["level"] == level) & latent["term"].isin(HEADLINE_TERMS)]
        manifest = _manifest_rows(results.contrast, level)
        versions = [Version(MANIFEST, _manifest_label(manifest), manifest)] if len(manifest) else []
        versions += [
            Version(model, model_label(model), same) for model, same in rows.groupby("model", sort=False)
        ]
        found[level] = versions
    return found


def _manifest_rows(contrast: pd.DataFrame, level: str) -> pd.DataFrame:
    """Pick the session-to-session model without previous severity, all raters in it, of one engine."""
    own = (
        (contrast["level"] == level)
        & contrast["model"].fillna("").str.match(r"hybrid_(three|two)_level$")
        & contrast["term"].isin(HEADLINE_TERMS)
        & (contrast["estimand"] == "unique")
        & ~is_repetition(contrast)
    )
    rows = contrast[own]
    rows = rows[rows["model"] == rows["model"].iloc[0]] if len(rows) else rows
    bayesian = rows[rows["engine"] != LIKELIHOOD_ENGINE]
    return bayesian if len(bayesian) else rows


def _manifest_label(rows: pd.DataFrame) -> str:
    """Say how the version with ratings as they are was estimated."""
    return f"Ratings as they are, complete rows ({engine_label(rows['engine'].iloc[0])})" if len(rows) else ""


def level_decimals(versions: list[Version]) -> int:
    """Say how many decimals all numbers of one level can have."""
    return shared_decimals(pd.concat([version.rows for version in versions]))


def change_sentence(level: str, versions: list[Version], rope: float | None) -> str:
    """Say what D is in each version, and whether it reads the same.

    Parameters
    ----------
    level : str
        The level.
    versions : list of Version
        From :func:`versions_by_level`.
    rope : float or None
        Region of practical equivalence.

    Returns
    -------
    str
        Two sentences; empty where there is one rater or fewer than two versions have a D.
    """
    pairs = [(version, version.difference) for version in versions]
    told = [(version, row) for version, row in pairs if row is not None]
    established = [(version, row) for version, row in told if row["status"] == "ok"]
    if len(established) < 2:
        return ""
    decimals = level_decimals(versions)
    values = join_words([f"{estimate_text(row, decimals)} {_SHORT[version.name]}" for version, row in told])
    return f"{sentence_case(level_label(level))}, D is {values}. {_verdict(established, rope)}"


def _verdict(established: list[tuple[Version, pd.Series]], rope: float | None) -> str:
    """Say whether the intervals of D read the same, and which do not."""
    versions: dict[str, list[str]] = {}
    for version, row in established:
        versions.setdefault(reading(row, rope), []).append(_SHORT[version.name])
    if len(versions) == 1:
        return f"It reads the same in all of them: the interval {READINGS[next(iter(versions))]}."
    parts = [f"the interval {READINGS[found]} {join_words(names)}" for found, names in versions.items()]
    return f"It does not read the same: {'; '.join(parts)}."


#: The versions inside a sentence.
_SHORT = {
    MANIFEST: "with ratings as they are",
    "joint_latent": "with latent means and all rows",
    "joint_corrected": "with correction for reliability",
}


def versions_in_words(level: str, versions: list[Version], raters: list[str]) -> str:
    """Describe the versions of one level, for those who do not see the figure."""
    decimals = level_decimals(versions)
    parts = []
    for version in versions:
        row = version.difference if len(raters) > 1 else version.coefficient(raters[0])
        name = "D" if len(raters) > 1 else f"{rater_label(raters[0])}-rated"
        if row is not None and not is_absent(row["estimate"]):
            parts.append(f"{name} {estimate_text(row, decimals)} {_SHORT[version.name]}")
        elif row is not None:
            parts.append(f"{status_words(row['status'])} {_SHORT[version.name]}")
    return f"{level_label(level)}: {', '.join(parts)}"
