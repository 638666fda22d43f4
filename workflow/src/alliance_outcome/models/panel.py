"""Panel models of severity and alliance, from one session to the next.

Two estimators of what a rater's alliance does to the next severity, from the long table of sessions, by
full-information maximum likelihood (:mod:`alliance_outcome.models.panel_likelihood`):

    model = CrossLaggedModel(
        sessions, outcome="severity", raters={"client": "alliance_client", "therapist": "alliance_therapist"},
        n_waves=8, random_slopes=True,
    )
    result = model.fit()
    print(result.summary(), result.difference("client", "therapist"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from alliance_outcome.models.design_checks import UnfittableModel
from alliance_outcome.models.panel_cross_lagged import CrossLagged, covariance_blocks, cross_lagged_structure
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_dynamic import Dynamic, dynamic_structure
from alliance_outcome.models.panel_layout import Order, WidePanel, spread, variables_of, wide_panel
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite
from alliance_outcome.models.panel_result import PanelDescription, PanelResult, PanelRows, PathRow
from alliance_outcome.models.panel_structure import PanelStructure

#: Fewest waves of which a model can tell its parts apart: stable differences, with trends, with measurement error.
FEWEST_WAVES = {"plain": 4, "slopes": 5, "error": 6}

Share = Literal["invariant", "varying"]


class PanelModel:
    """What the panel models have in common: data, and how they are fitted.

    Parameters
    ----------
    sessions : DataFrame
        One row per client and session.
    outcome : str
        Column of the outcome.
    raters : mapping of str to str
        Column of each rater's alliance.
    n_waves : int
        Sessions that are used, from the first on.
    order, shift : mapping of str
        When each rater answers; see :class:`~alliance_outcome.models.panel_layout.PanelVariable`.
    client, session : str
        Columns of clients and of session numbers.
    clusters : str, optional
        Column of therapists, for robust standard errors. A client's first one counts.
    """

    def __init__(
        self,
        sessions: pd.DataFrame,
        outcome: str,
        raters: Mapping[str, str],
        n_waves: int,
        *,
        order: Mapping[str, Order] | None = None,
        shift: Mapping[str, int] | None = None,
        client: str = "client",
        session: str = "session",
        clusters: str | None = None,
    ) -> None:
        self.outcome, self.raters, self.n_waves = outcome, dict(raters), n_waves
        self.variables = variables_of(outcome, raters, order or {}, shift or {})
        self.panel: WidePanel = wide_panel(sessions, self.variables, n_waves, client=client, session=session)
        self._labels = None if clusters is None else _labels(sessions, self.panel.clients, client, clusters)

    def _require_waves(self, fewest: int, what: str) -> None:
        if self.n_waves < fewest:
            raise UnfittableModel(
                f"{what} needs at least {fewest} sessions, and {self.n_waves} are used; use more sessions or a "
                "simpler model"
            )

    def _rows(self, used_places: Sequence[tuple[int, int]]) -> PanelRows:
        """Reduce the data, of clients that have any of the values, given by wave and number of the variable."""
        places = np.array(used_places, dtype=np.intp)
        values = self.panel.values[:, places[:, 0], places[:, 1]]
        known = ~np.isnan(values).all(axis=1)
        used = values[known]
        if len(used) <= values.shape[1]:
            raise UnfittableModel(
                f"there are {len(used)} clients and {values.shape[1]} variables of a client; use fewer sessions"
            )
        counts = (~np.isnan(used)).sum(axis=0)
        if (counts < 3).any():
            raise UnfittableModel("some sessions were hardly ever rated; use fewer sessions")
        clusters = None if self._labels is None else self._labels[known]
        return PanelRows(used, PanelData.of(used), clusters, places)

    def _within_sd(self) -> dict[str, float]:
        """Return manifest standard deviations within clients: √(SS / (values − clients))."""
        found = {}
        for number, variable in enumerate(self.variables):
            values = self.panel.values[:, :, number]
            known = ~np.isnan(values)
            counts = known.sum(axis=1, keepdims=True)
            means = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(counts, 1)
            squares = np.where(known, values - means, 0.0) ** 2
            freedom = int(known.sum() - (counts > 0).sum())
            found[variable.name] = float(np.sqrt(squares.sum() / freedom)) if freedom > 0 else np.nan
        return found

    def _fitted(
        self, rows: PanelRows, structure: PanelStructure, description: PanelDescription
    ) -> PanelResult:
        try:
            return PanelResult.fitted(description, rows, structure)
        except NotPositiveDefinite as problem:
            raise UnfittableModel(
                "the search for the maximum found no place to start from; use fewer sessions"
            ) from problem


class CrossLaggedModel(PanelModel):
    """Random-intercept cross-lagged panel model of severity and every rater's alliance.

    Parameters
    ----------
    sessions, outcome, raters, n_waves, order, shift, client, session, clusters
        See :class:`PanelModel`.
    random_slopes : bool
        Whether clients have linear trends of their own.
    lags : int
        Number of earlier waves that act directly.
    paths, residuals : {'invariant', 'varying'}
        Whether paths, and residual (co)variances, are the same in all waves.
    reliability : mapping of str to float, optional
        Reliability within clients by column; its measurement error has 1 minus this share of the manifest variance
        within clients.
    estimate_error : sequence of str
        Columns whose measurement error is estimated instead (Kenny & Zautra 1995, 10.1037/0022-006X.63.1.52).
    proper : bool
        Whether the covariance matrix of intercepts and trends is kept one, on the boundary if need be
        (:mod:`alliance_outcome.models.panel_boundary`); otherwise it may have negative variances, as in other programs.

    Raises
    ------
    UnfittableModel
        If there are too few sessions or clients.
    ValueError
        If arguments contradict each other.
    """

    def __init__(
        self,
        sessions: pd.DataFrame,
        outcome: str,
        raters: Mapping[str, str],
        n_waves: int,
        *,
        random_slopes: bool = False,
        lags: int = 1,
        paths: Share = "invariant",
        residuals: Share = "varying",
        reliability: Mapping[str, float] | None = None,
        estimate_error: tuple[str, ...] = (),
        proper: bool = True,
        **panel: Any,
    ) -> None:
        super().__init__(sessions, outcome, raters, n_waves, **panel)
        self.proper = proper
        self._require_waves(FEWEST_WAVES["plain"] + lags - 1, "a cross-lagged model")
        if random_slopes:
            self._require_waves(FEWEST_WAVES["slopes"] + lags - 1, "a model with trends of clients")
        error: dict[str, float | None] = dict.fromkeys(estimate_error)
        if error:
            self._require_waves(FEWEST_WAVES["error"], "a model with measurement error")
        spreads = self._within_sd()
        for column, share in (reliability or {}).items():
            if column not in spreads or not 0.0 < share <= 1.0 or column in error:
                raise ValueError("reliability is between 0 and 1, of a column whose error is not estimated")
            error[column] = (1.0 - share) * spreads[column] ** 2
        self.model = CrossLagged(
            self.variables,
            n_waves,
            random_slopes,
            lags,
            invariant_paths=paths == "invariant",
            invariant_residuals=residuals == "invariant",
            error=error,
        )

    def fit(self) -> PanelResult:
        """Maximise the likelihood.

        Returns
        -------
        PanelResult
        """
        return self._fitted(self._rows(self.places), self.structure(), self._description())

    @property
    def places(self) -> list[tuple[int, int]]:
        """Wave and number of each variable of the structure."""
        return list(np.ndindex(self.n_waves, len(self.variables)))

    def structure(self) -> PanelStructure:
        """Return the covariance structure, with where estimation starts."""
        return cross_lagged_structure(self.model, *spread(self.panel.values))

    def _description(self) -> PanelDescription:
        model = self.model
        rows = []
        for wave in range(1, self.n_waves):
            for lag in range(1, min(model.lags, wave) + 1):
                rows += [
                    PathRow(effect, cause, lag, wave + 1, model.path(effect, cause, wave, lag))
                    for effect in model.names
                    for cause in model.names
                ]
            rows += [
                PathRow(each.name, self.outcome, 0, wave + 1, model.path(each.name, self.outcome, wave, 0))
                for each in self.variables
                if each.order == "after"
            ]
        trends = " and trends" if model.random_slopes else ""
        blocks = tuple(covariance_blocks(model))
        return PanelDescription(
            f"Cross-lagged panel model with random intercepts{trends}",
            self.outcome,
            self.raters,
            self.n_waves,
            tuple(rows),
            blocks,
            blocks[0][1] if self.proper else None,
            {
                (name, wave + 1): model.within(wave, number)
                for wave in range(self.n_waves)
                for number, name in enumerate(model.names)
            },
            self._within_sd(),
        )


class DynamicPanelModel(PanelModel):
    """Dynamic panel model: severity by the one before and every rater's alliance, which may depend on earlier severity.

    Parameters
    ----------
    sessions, outcome, raters, n_waves, order, shift, client, session, clusters
        See :class:`PanelModel`.
    paths : {'invariant', 'varying'}
        Whether paths are the same in all waves.

    Raises
    ------
    UnfittableModel
        If there are too few sessions or clients.
    ValueError
        If arguments contradict each other.
    """

    def __init__(
        self,
        sessions: pd.DataFrame,
        outcome: str,
        raters: Mapping[str, str],
        n_waves: int,
        *,
        paths: Share = "invariant",
        **panel: Any,
    ) -> None:
        super().__init__(sessions, outcome, raters, n_waves, **panel)
        self._require_waves(FEWEST_WAVES["plain"], "a dynamic panel model")
        self.model = Dynamic(self.variables, n_waves, invariant_paths=paths == "invariant")

    def fit(self) -> PanelResult:
        """Maximise the likelihood.

        Returns
        -------
        PanelResult
        """
        return self._fitted(self._rows(self.model.observed), self.structure(), self._description())

    def structure(self) -> PanelStructure:
        """Return the covariance structure, with where estimation starts."""
        return dynamic_structure(self.model, *spread(self.panel.values))

    def _description(self) -> PanelDescription:
        model = self.model
        rows = [
            PathRow(self.outcome, cause, 1, wave + 1, model.path(self.outcome, cause, wave))
            for wave in range(1, self.n_waves)
            for cause in model.names
        ]
        everything = tuple(range(len(model.observed) + 1))
        return PanelDescription(
            "Dynamic panel model",
            self.outcome,
            self.raters,
            self.n_waves,
            tuple(rows),
            (("residuals, ratings and what is stable", everything),),
            None,
            None,
            self._within_sd(),
        )


def _labels(sessions: pd.DataFrame, clients: pd.Index, client: str, clusters: str) -> np.ndarray:
    """Number the cluster of each client."""
    if clusters not in sessions:
        raise ValueError(f"the session table has no column {clusters}")
    known = sessions.dropna(subset=[client, clusters]).drop_duplicates(client).set_index(client)[clusters]
    own = known.reindex(clients)
    if own.isna().any():
        raise ValueError(f"some clients have no {clusters}")
    return pd.factorize(own)[0]
