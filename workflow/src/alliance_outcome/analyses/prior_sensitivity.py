"""How much a posterior depends on its priors: power-scaling sensitivity.

Priors and likelihood are raised to powers near one, without sampling again; a quantity whose posterior moves with the
power of the prior depends on it (Kallioinen, Paananen, Bürkner & Vehtari 2024, 10.1007/s11222-023-10366-5), as ArviZ
computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import arviz_stats as azs
import pandas as pd
from numpy.typing import ArrayLike
from xarray import Dataset, DataTree

#: Sensitivity from which a posterior depends on a prior, or on the likelihood (the authors' limit).
SENSITIVE = 0.05

SENSITIVITY_COLUMNS = ["model", "quantity", "prior", "likelihood", "diagnosis"]

#: In words.
NOT_SENSITIVE = "does not depend on the priors"
CONFLICT = "priors and data pull it in different directions"
WEAK_DATA = "depends on the priors: the data say little"


def prior_sensitivity(quantities: Mapping[str, ArrayLike], tree: DataTree, model: str) -> pd.DataFrame:
    """Tabulate the sensitivity of quantities of one posterior.

    Parameters
    ----------
    quantities : mapping of str to array_like, shape (chains, draws)
        Draws, derived quantities too.
    tree : DataTree
        With ``log_prior`` and ``log_likelihood`` of the same draws.
    model : str
        Name of the model.

    Returns
    -------
    DataFrame
        :data:`SENSITIVITY_COLUMNS`.
    """
    posterior = Dataset(
        {str(number): (("chain", "draw"), draws) for number, draws in enumerate(quantities.values())}
    )
    data = DataTree.from_dict(
        {
            "posterior": posterior,
            "log_prior": tree.log_prior.to_dataset(),
            "log_likelihood": tree.log_likelihood.to_dataset(),
        }
    )
    prior, likelihood = (azs.psense(data, group=group) for group in ("prior", "likelihood"))
    rows = []
    for number, name in enumerate(quantities):
        of_prior, of_likelihood = float(prior[str(number)]), float(likelihood[str(number)])
        rows.append((model, name, of_prior, of_likelihood, diagnosis(of_prior, of_likelihood)))
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def diagnosis(prior: float, likelihood: float) -> str:
    """Say what two sensitivities mean."""
    if prior < SENSITIVE:
        return NOT_SENSITIVE
    return CONFLICT if likelihood >= SENSITIVE else WEAK_DATA


def sensitivity_check(table: pd.DataFrame) -> dict[str, Any]:
    """Check that no contrast depends on the priors.

    Parameters
    ----------
    table : DataFrame
        From :func:`prior_sensitivity`, rows of one model.

    Returns
    -------
    dict
        A check that informs: name, passed, value, limit, text. Not applicable without contrasts.
    """
    contrasts = table[table["quantity"].str.startswith("D ")]
    if contrasts.empty:
        text = "no contrast whose dependence on the priors could be told"
        return {"name": "prior_sensitivity", "passed": None, "value": None, "limit": SENSITIVE, "text": text}
    worst = contrasts.loc[contrasts["prior"].idxmax()]
    text = f"largest sensitivity of a contrast to the priors {worst['prior']:.3f} ({worst['quantity']})"
    return {
        "name": "prior_sensitivity",
        "passed": bool(worst["prior"] < SENSITIVE),
        "value": float(worst["prior"]),
        "limit": SENSITIVE,
        "text": f"{text}, less than {SENSITIVE:g} means that it does not depend on them",
    }
