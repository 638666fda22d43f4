"""How far scores err at a single occasion: from items where there are items, from subscales or a stated reliability."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.description import held_sessions
from alliance_outcome.analyses.reliability import rated_items, rated_subscales
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.item_errors import ErrorSums, error_sums

SEVERITY = "severity"
#: Index of an occasion.
_OCCASION = ["client", "episode", "session"]


@dataclass(frozen=True, eq=False)
class ScoreErrors:
    """Errors of the scores of a study, in sums over clusters.

    Parameters
    ----------
    names : tuple of str
        Raters, and severity last.
    variances : dict of str to ErrorSums
        Of each measure with items.
    units : dict of str to float
        Score per unit of the mean of items.
    pairs : dict of tuple of str to ErrorSums
        Of raters who answer the same items.
    stated : dict of str to float
        Error variances that follow from a stated reliability; zero where nothing is known of severity.
    sources : dict of str to str
        What each follows from, in words.
    n_sessions : dict of tuple of str to int
        Sessions behind the items of each measure, and behind those of each pair.
    """

    names: tuple[str, ...]
    variances: dict[str, ErrorSums]
    units: dict[str, float]
    pairs: dict[tuple[str, str], ErrorSums]
    stated: dict[str, float]
    sources: dict[str, str]
    n_sessions: dict[tuple[str, ...], int]

    def covariance(self, draws: FloatArray, correlations: Mapping[tuple[str, str], float]) -> FloatArray:
        """Return the covariance of errors at one occasion.

        Parameters
        ----------
        draws : ndarray, shape (n_samples, n_clusters)
            How often each cluster counts.
        correlations : mapping of pair of str to float
            Of errors of different measures, beside what items say.

        Returns
        -------
        ndarray, shape (n_samples, n, n)
            In the order of ``names``.
        """
        found = np.zeros((len(draws), len(self.names), len(self.names)))
        for place, name in enumerate(self.names):
            found[:, place, place] = self._variance(name, draws)
        for first, second in {**self.pairs, **correlations}:
            one, two = self.names.index(first), self.names.index(second)
            value = self._pair((first, second), draws)
            stated = correlations.get((first, second), 0.0)
            value = value + stated * np.sqrt(np.maximum(found[:, one, one] * found[:, two, two], 0.0))
            found[:, one, two] = found[:, two, one] = value
        return found

    def reliability(self, name: str, draws: FloatArray) -> FloatArray | None:
        """Return the reliability of a measure within clients, shape (n_samples,); None without items."""
        if name not in self.variances:
            return None
        own = self.variances[name]
        return 1.0 - own.covariance(draws) / own.variance_of_means(draws)

    def _variance(self, name: str, draws: FloatArray) -> FloatArray:
        if name in self.variances:
            return np.maximum(self.variances[name].covariance(draws), 0.0) * self.units[name] ** 2
        return np.full(len(draws), self.stated[name])

    def _pair(self, pair: tuple[str, str], draws: FloatArray) -> FloatArray:
        if pair not in self.pairs:
            return np.zeros(len(draws))
        return self.pairs[pair].covariance(draws) * self.units[pair[0]] * self.units[pair[1]]


def score_errors(
    sessions: pd.DataFrame,
    items: pd.DataFrame,
    measures: pd.DataFrame,
    context: AnalysisContext,
    reliability: Mapping[str, float],
    clusters: pd.Series,
) -> ScoreErrors | str:
    """Collect what is known of the errors of a study's scores.

    Parameters
    ----------
    sessions, items, measures : DataFrame
        Session table, item table and ``measures.csv``.
    context : AnalysisContext
    reliability : mapping of str to float
        Stated reliability within clients, by rater.
    clusters : Series of int
        Cluster of each client in the models, indexed by client.

    Returns
    -------
    ScoreErrors or str
        Or which rater's errors nothing is known of, in words.
    """
    held = held_sessions(sessions)
    held = held[held["client"].isin(clusters.index)]
    names = (*context.raters, SEVERITY)
    columns = {rater: f"alliance_{rater}" for rater in context.raters} | {SEVERITY: context.outcome}
    by_column = measures.set_index("column")
    answers: dict[str, pd.DataFrame] = {}
    variances, units, stated, sources = {}, {}, {}, {}
    for name in names:
        scores = held.set_index(_OCCASION)[columns[name]].dropna()
        own, source = _parts(name, by_column.loc[columns[name]], held, items)
        if own is not None:
            own = own[own.index.isin(scores.index)]
            answers[name], sources[name] = own, source
            variances[name] = _sums(own, own, clusters)
            units[name] = _unit(own, scores)
        elif name in reliability:
            spread = scores - scores.groupby(level="client").transform("mean")
            degrees = len(scores) - scores.index.get_level_values("client").nunique()
            stated[name] = (1.0 - reliability[name]) * float((spread**2).sum()) / max(degrees, 1)
            sources[name] = "a stated reliability"
        elif name == SEVERITY:
            stated[name], sources[name] = 0.0, "nothing: severity is taken as measured without error"
        else:
            return f"nothing is known of how reliably the {name} rates: no items, subscales or stated reliability"
    together = _together(answers, measures, context)
    pairs = {pair: _sums(*both, clusters) for pair, both in together.items()}
    n_sessions = {(name,): len(own) for name, own in answers.items()}
    n_sessions |= {pair: len(both[0]) for pair, both in together.items()}
    return ScoreErrors(names, variances, units, pairs, stated, sources, n_sessions)


def _parts(
    name: str, measure: pd.Series, held: pd.DataFrame, items: pd.DataFrame
) -> tuple[pd.DataFrame | None, str]:
    """Return complete answers to the items of a measure, or its subscales, by occasion; None if there are neither."""
    answers = rated_items(items, measure, str(measure["rater"])).dropna()
    if len(answers) and answers.shape[1] > 2:
        return answers.set_index("client", append=True).reorder_levels(_OCCASION), "items"
    columns = list(rated_subscales(held, measure, name).columns.drop("client"))
    if len(columns) > 1:
        return held.set_index(_OCCASION)[columns].dropna(), "subscales"
    return None, ""


def _sums(first: pd.DataFrame, second: pd.DataFrame, clusters: pd.Series) -> ErrorSums:
    clients = first.index.get_level_values("client")
    codes = clusters.reindex(clients).to_numpy(dtype=np.intp)
    values = first.to_numpy(dtype=float), second.to_numpy(dtype=float)
    return error_sums(*values, clients, codes, int(clusters.max()) + 1)


def _unit(answers: pd.DataFrame, scores: pd.Series) -> float:
    """Return by how much a score rises with the mean of its items: 1, their number, 10 …"""
    means, own = answers.mean(axis=1), scores.reindex(answers.index)
    centred = means - means.mean()
    return float((centred * own).sum() / (centred**2).sum())


def _together(
    answers: Mapping[str, pd.DataFrame], measures: pd.DataFrame, context: AnalysisContext
) -> dict[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the answers of each pair of raters who answer the same items, at the sessions that both rated."""
    forms = measures[measures["construct"] == "alliance"].set_index("rater")["instrument"]
    found = {}
    for first, second in itertools.combinations([rater for rater in context.raters if rater in answers], 2):
        one, two = answers[first], answers[second]
        both = one.index.intersection(two.index)
        if forms[first] == forms[second] and len(both) and list(one.columns) == list(two.columns):
            found[(first, second)] = one.loc[both], two.loc[both]
    return found
