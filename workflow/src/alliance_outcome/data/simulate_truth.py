"""True values of the simulated study's estimands, computed from its settings without any simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance_outcome.data.simulate_within import within_covariance
from alliance_outcome.simulation_settings import SimulationSettings

#: Columns of :func:`generating_values`, in order.
COLUMNS = ("level", "rater", "rater_b", "quantity", "estimand", "value", "unit", "note")
UNIT_PER_POINT = "CORE-10 points per WAI-S point"
UNIT_PER_SD = "CORE-10 points per SD"

_WITHIN_NOTE = (
    "Effect of the latent alliance deviation after a session on severity before the next session (lag 1)"
)
_EARLY_NOTE = (
    "Effect of the latent stable alliance on severity at the planned end, given stable severity at intake, "
    "averaged over the planned lengths of therapy"
)
_POINT_NOTE = "one WAI-S point is a point of the item mean, 1 to 7"


def generating_values(settings: SimulationSettings) -> pd.DataFrame:
    """Tabulate the true value of every estimand of the rater contrast.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.

    Returns
    -------
    DataFrame
        18 rows, six for each level: the coefficient and the standardised coefficient of each rater, the
        difference D = b_C sd_C - b_T sd_T and the absolute difference |b_C sd_C| - |b_T sd_T|. Columns
        ``level`` (within_client, between_client, between_therapist), ``rater``, ``rater_b`` (contrasts only),
        ``quantity`` (coefficient, standardised, difference, absolute_difference), ``estimand`` (unique: given
        the other rater), ``value``, ``unit`` and ``note``.

    Raises
    ------
    StudyError
        If the within-client process is not stationary.

    Notes
    -----
    The SDs are latent: the stationary SD of the within-client deviations (ruptures included) and the SDs of
    the stable alliances. The between-client and between-therapist rows belong to the early-alliance model.
    Between-client differences in session-level models are mixtures of the same parameters over the sessions
    held; no single parameter is their true value, so they have no row.
    """
    within_sds = np.sqrt(np.diag(within_covariance(settings)))[1:]
    effects_and_sds = {
        "within_client": (
            (settings.within_client_effect_client, settings.within_client_effect_therapist),
            (float(within_sds[0]), float(within_sds[1])),
        ),
        "between_client": (
            (settings.between_client_effect_client, settings.between_client_effect_therapist),
            (settings.client_alliance_sd_between_client, settings.therapist_alliance_sd_between_client),
        ),
        "between_therapist": (
            (settings.between_therapist_effect_client, settings.between_therapist_effect_therapist),
            (settings.client_alliance_sd_between_therapist, settings.therapist_alliance_sd_between_therapist),
        ),
    }
    rows = [
        row for level, (effects, sds) in effects_and_sds.items() for row in _level_rows(level, effects, sds)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _level_rows(
    level: str, effects: tuple[float, float], sds: tuple[float, float]
) -> list[tuple[object, ...]]:
    """Return the six rows of a level; effects and SDs are the client's and the therapist's."""
    note = _WITHIN_NOTE if level == "within_client" else _EARLY_NOTE
    client, therapist = (effect * sd for effect, sd in zip(effects, sds, strict=True))
    coefficients = [
        (level, rater, None, "coefficient", "unique", effect, UNIT_PER_POINT, f"{note}; {_POINT_NOTE}.")
        for rater, effect in zip(("client", "therapist"), effects, strict=True)
    ]
    standardised = [
        (
            level,
            rater,
            None,
            "standardised",
            "unique",
            value,
            UNIT_PER_SD,
            f"{note}; latent SD {sd:.4f} WAI-S points.",
        )
        for rater, value, sd in zip(("client", "therapist"), (client, therapist), sds, strict=True)
    ]
    contrasts = [
        (level, "client", "therapist", quantity, "unique", value, UNIT_PER_SD, f"{note}; latent SDs.")
        for quantity, value in (
            ("difference", client - therapist),
            ("absolute_difference", abs(client) - abs(therapist)),
        )
    ]
    return [*coefficients, *standardised, *contrasts]
