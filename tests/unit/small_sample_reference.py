"""Designs for which R's small-sample inference is stored, with our state at R's variance parameters.

The R calls stand in ``tests/parity/small_sample/reference.R``, which wrote data and expected values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from dense_model import DenseModel, diagonal, unstructured

from alliance_outcome.models.fitted_state import FittedState, WorkingRows

REFERENCE = Path(__file__).parents[1] / "parity" / "small_sample"
EXPECTED = json.loads((REFERENCE / "expected.json").read_text(encoding="utf-8"))

#: Designs whose unit effects are independent (`||`); all others are unstructured.
INDEPENDENT_UNIT_EFFECTS = ("three_level",)


@dataclass(frozen=True)
class Reference:
    """What R found, and the same model here."""

    expected: dict
    model: DenseModel
    state: FittedState

    @property
    def singles(self) -> np.ndarray:
        """Statements on the fixed effects that R tested one by one, shape (n, p)."""
        return np.array(self.expected["singles"])

    @property
    def joint(self) -> np.ndarray:
        """Statements that R tested together, shape (2, p)."""
        return np.array(self.expected["joint"])


@cache
def reference(name: str) -> Reference:
    """Load a design; its file is sorted by therapist and client."""
    expected = EXPECTED[name]
    data = pd.read_csv(REFERENCE / f"{name}.csv")
    unit, cluster = (np.array(expected[key] or np.zeros((0, 0))) for key in _COVARIANCES)
    random = np.column_stack([np.ones(len(data)), data["alliance"]])
    unit_starts = _starts(data["client"])
    rows = WorkingRows(
        outcome=data["outcome"].to_numpy(),
        fixed=np.column_stack([np.ones(len(data)), data[expected["terms"]]]),
        unit_random=random[:, : len(unit)],
        cluster_random=random[:, : len(cluster)],
        unit_starts=unit_starts,
        cluster_starts=np.searchsorted(unit_starts, _starts(data[expected["levels"][-1]])),
    )
    model = DenseModel(rows, unit, cluster, expected["residual_variance"])
    patterns = diagonal if name in INDEPENDENT_UNIT_EFFECTS else unstructured
    return Reference(expected, model, model.state(unit_components=patterns(len(unit))))


_COVARIANCES = ("unit_covariance", "cluster_covariance")


def _starts(labels: pd.Series) -> np.ndarray:
    """First row of each group of sorted rows, and the number of rows."""
    return np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [len(labels)]])
