"""Answers to the items of the simulated study: discrete, with measurement error, unanswered now and then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.data.simulate_within import Matrix
from alliance_outcome.simulation_settings import SimulationSettings

#: What the clinic writes for a CORE-10 item that was not answered; WAI-S items are left blank.
CORE10_MISSING = 999


@dataclass(frozen=True)
class Form:
    """What the generator needs to know about a form.

    Parameters
    ----------
    prefix : str
        Beginning of the item columns.
    n_items, low, high : int
        Number of items and response range.
    reversed_items : tuple of int
        Items worded against the scale, numbered from 1; they are exported as ticked.
    points_per_item : float
        Points of the latent scale that move an item by one.
    """

    prefix: str
    n_items: int
    low: int
    high: int
    reversed_items: tuple[int, ...]
    points_per_item: float

    @property
    def columns(self) -> list[str]:
        """Names of the item columns."""
        return [f"{self.prefix}_{item:02d}" for item in range(1, self.n_items + 1)]


CORE10 = Form("core10", 10, 0, 4, (2, 3), points_per_item=10.0)
WAI_CLIENT = Form("wais_c", 12, 1, 7, (4, 10), points_per_item=1.0)
WAI_THERAPIST = Form("wais_t", 12, 1, 7, (4, 10), points_per_item=1.0)


def item_offsets(form: Form, spread: float) -> Matrix:
    """Return how much the items' means differ from the scale's: even steps that add up to 0.

    Parameters
    ----------
    form : Form
        The form.
    spread : float
        Half the range of the offsets, in item points.

    Returns
    -------
    ndarray, shape (n_items,)
        Offsets; neighbouring items are far apart, so that no subscale collects the easy ones.
    """
    # 7 shares no factor with 10 or 12, so its multiples visit every item once.
    order = (7 * np.arange(form.n_items)) % form.n_items
    return np.linspace(-spread, spread, form.n_items)[order]


def answers(
    latent: Matrix, form: Form, spread: float, error_sd: float, stream: np.random.Generator
) -> Matrix:
    """Draw the answers to all items of forms, as ticked.

    Parameters
    ----------
    latent : ndarray, shape (n_forms,)
        True value of the scale, in points of the scale.
    form : Form
        The form.
    spread, error_sd : float
        Half the range of the item offsets and SD of the item error, in item points.
    stream : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (n_forms, n_items)
        Whole numbers in the response range.

    Notes
    -----
    A graded response model with a probit link, unit loadings and thresholds half-way between the categories:
    an item is the true value plus its offset plus a Gaussian error, rounded and held within the range.
    """
    error = error_sd * stream.standard_normal((len(latent), form.n_items))
    continuous = latent[:, None] / form.points_per_item + item_offsets(form, spread) + error
    values = np.clip(np.rint(continuous), form.low, form.high)
    reversed_columns = [item - 1 for item in form.reversed_items]
    values[:, reversed_columns] = form.low + form.high - values[:, reversed_columns]
    return values


def form_table(
    settings: SimulationSettings,
    streams: NamedStreams,
    form: Form,
    latent: Matrix,
    may_miss_form: NDArray[np.bool_],
) -> pd.DataFrame:
    """Draw the item columns of one form for the occasions at which it was due.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    streams : NamedStreams
        Sources of randomness.
    form : Form
        ``CORE10``, ``WAI_CLIENT`` or ``WAI_THERAPIST``.
    latent : ndarray, shape (n_forms,)
        True values, in points of the scale.
    may_miss_form : ndarray of bool, shape (n_forms,)
        Occasions at which the whole form may be missing.

    Returns
    -------
    DataFrame
        Item columns (float), n_forms rows; missing answers as NaN.
    """
    spread, error_sd, form_missing = _measurement(settings, form)
    values = answers(latent, form, spread, error_sd, streams.stream(f"{form.prefix} items"))
    missing = streams.stream(f"{form.prefix} missing items").random(values.shape) < settings.item_missing
    no_form = streams.stream(f"{form.prefix} missing forms").random(len(latent)) < form_missing
    missing |= (no_form & may_miss_form)[:, None]
    values[missing] = np.nan
    return pd.DataFrame(values, columns=form.columns)


def _measurement(settings: SimulationSettings, form: Form) -> tuple[float, float, float]:
    """Return a form's item spread, item error SD and probability of a missing form."""
    if form is CORE10:
        return settings.core10_item_spread, settings.core10_item_sd, settings.core10_form_missing
    if form is WAI_CLIENT:
        return settings.wai_item_spread, settings.client_wai_item_sd, settings.client_form_missing
    return settings.wai_item_spread, settings.therapist_wai_item_sd, settings.therapist_form_missing
