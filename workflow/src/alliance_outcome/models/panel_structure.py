"""Expected values and covariances of a panel's variables, as functions of parameters.

    y = ν + Λη + e,   η = Aη + ζ,   ζ ~ N(0, Ψ),   e ~ N(0, Θ), Θ diagonal

so that a client's variables have expected values ν and the covariance matrix ΛBΨB'Λ' + Θ with B = (I − A)⁻¹ (Bollen
1989, 10.1002/9781118619179). Λ is known; entries of the others are fixed, or parameters by a label, and equal where
they have the same label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import linalg

from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.panel_likelihood import TriangleIndex

#: ν, A, Ψ and the diagonal of Θ.
Part = Literal["mean", "path", "covariance", "error"]
PARTS: tuple[Part, ...] = ("mean", "path", "covariance", "error")

#: Relative step of the differences that give second derivatives of the structure, which is smooth.
_STEP = 1e-4


@dataclass(frozen=True)
class Entry:
    """One entry of ν, A, Ψ or Θ.

    Parameters
    ----------
    part : {'mean', 'path', 'covariance', 'error'}
    row, column : int
        A[row, column] is the path from variable `column` to variable `row`. Entries of Ψ are given once, those of ν
        and Θ have row = column.
    label : str or None
        Name of the parameter; None for an entry that is fixed.
    value : float
        Where it is fixed; otherwise where estimation starts.
    """

    part: Part
    row: int
    column: int
    label: str | None
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class PanelStructure:
    """A covariance structure with its parameters.

    Parameters
    ----------
    loadings : ndarray, shape (p, q)
        Λ.
    entries : tuple of Entry
        Everything that is not zero.
    """

    loadings: FloatArray
    entries: tuple[Entry, ...]
    _index: dict[str, int] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Number the parameters in the order of their first entries."""
        for entry in self.entries:
            if entry.label is not None:
                self._index.setdefault(entry.label, len(self._index))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self._index)

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self._index)

    @cached_property
    def start(self) -> FloatArray:
        """Where estimation starts."""
        found = np.zeros(self.n_parameters)
        for entry in self.entries:
            if entry.label is not None:
                found[self._index[entry.label]] = entry.value
        return found

    @cached_property
    def _fixed(self) -> dict[Part, FloatArray]:
        p, q = self.loadings.shape
        shapes = {"mean": (p,), "path": (q, q), "covariance": (q, q), "error": (p,)}
        found = {part: np.zeros(shape) for part, shape in shapes.items()}
        for entry in self.entries:
            if entry.label is None:
                place = (entry.row,) if entry.part in ("mean", "error") else (entry.row, entry.column)
                found[entry.part][place] = entry.value
                if entry.part == "covariance":
                    found[entry.part][entry.column, entry.row] = entry.value
        return found

    @cached_property
    def places(self) -> dict[Part, tuple[IndexArray, IndexArray, IndexArray]]:
        """Row, column and parameter of each entry that is not fixed, by part."""
        found = {}
        for part in PARTS:
            own = [entry for entry in self.entries if entry.part == part and entry.label is not None]
            columns = zip(*((e.row, e.column, self._index[e.label]) for e in own), strict=True)
            found[part] = (
                tuple(np.array(column, dtype=np.intp) for column in columns)
                if own
                else (np.zeros(0, dtype=np.intp),) * 3
            )
        return found

    def matrices(self, parameters: FloatArray) -> dict[Part, FloatArray]:
        """Return ν, A, Ψ and the diagonal of Θ.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)

        Returns
        -------
        dict of str to ndarray
        """
        found = {part: fixed.copy() for part, fixed in self._fixed.items()}
        for part, (rows, columns, numbers) in self.places.items():
            if part in ("mean", "error"):
                found[part][rows] = parameters[numbers]
            else:
                found[part][rows, columns] = parameters[numbers]
            if part == "covariance":
                found[part][columns, rows] = parameters[numbers]
        return found

    def at(self, parameters: FloatArray) -> StructureAt:
        """Evaluate the structure.

        Parameters
        ----------
        parameters : ndarray, shape (n_parameters,)

        Returns
        -------
        StructureAt
        """
        return StructureAt(self, self.matrices(parameters))

    def with_fixed(self, values: Mapping[str, float]) -> PanelStructure:
        """Fix parameters at values."""
        self._require(values)
        return replace(
            self,
            entries=tuple(
                replace(entry, label=None, value=float(values[entry.label]))
                if entry.label in values
                else entry
                for entry in self.entries
            ),
        )

    def with_equal(self, labels: Sequence[str]) -> PanelStructure:
        """Make parameters equal; the first one's name stays."""
        self._require(labels)
        merged = set(labels)
        return replace(
            self,
            entries=tuple(
                replace(entry, label=labels[0]) if entry.label in merged else entry for entry in self.entries
            ),
        )

    def with_start(self, parameters: Mapping[str, float]) -> PanelStructure:
        """Start estimation elsewhere; parameters that are not named start where they did."""
        return replace(
            self,
            entries=tuple(
                entry
                if entry.label is None or entry.label not in parameters
                else replace(entry, value=float(parameters[entry.label]))
                for entry in self.entries
            ),
        )

    def _require(self, labels: Iterable[str]) -> None:
        unknown = [label for label in labels if label not in self._index]
        if unknown:
            raise ValueError(
                f"the model has no parameters {', '.join(unknown)}; its parameters are {', '.join(self.labels)}"
            )


class StructureAt:
    """A structure at some values of its parameters, with derivatives.

    Parameters
    ----------
    structure : PanelStructure
    matrices : dict of str to ndarray
        From :meth:`PanelStructure.matrices`.
    """

    def __init__(self, structure: PanelStructure, matrices: dict[Part, FloatArray]) -> None:
        self.structure = structure
        self.matrices = matrices
        q = len(matrices["path"])
        #: B = (I − A)⁻¹.
        self.total_effects = linalg.solve(np.eye(q) - matrices["path"], np.eye(q), check_finite=False)
        #: ΛB.
        self.reach = structure.loadings @ self.total_effects
        self.mean = matrices["mean"]

    @cached_property
    def latent_covariance(self) -> FloatArray:
        """Covariance matrix of η, shape (q, q)."""
        return self.total_effects @ self.matrices["covariance"] @ self.total_effects.T

    @cached_property
    def _carried(self) -> FloatArray:
        """Covariances of y and η, shape (p, q)."""
        return self.structure.loadings @ self.latent_covariance

    @cached_property
    def covariance(self) -> FloatArray:
        """Covariance matrix of y, shape (p, p)."""
        found = self._carried @ self.structure.loadings.T + np.diag(self.matrices["error"])
        return 0.5 * (found + found.T)

    def gradient(self, by_mean: FloatArray, by_covariance: FloatArray) -> FloatArray:
        """Turn derivatives by expected values and covariances into those by parameters.

        Parameters
        ----------
        by_mean : ndarray, shape (p,)
        by_covariance : ndarray, shape (p, p)
            By each entry of the matrix, all of them taken to be free; symmetric.

        Returns
        -------
        ndarray, shape (n_parameters,)
        """
        structure = self.structure
        found = np.zeros(structure.n_parameters)
        pulled = by_covariance @ self.reach
        by_path = 2.0 * pulled.T @ self._carried
        by_latent = self.reach.T @ pulled
        rows, _, numbers = structure.places["mean"]
        np.add.at(found, numbers, by_mean[rows])
        rows, columns, numbers = structure.places["path"]
        np.add.at(found, numbers, by_path[rows, columns])
        rows, columns, numbers = structure.places["covariance"]
        np.add.at(found, numbers, np.where(rows == columns, 1.0, 2.0) * by_latent[rows, columns])
        rows, _, numbers = structure.places["error"]
        np.add.at(found, numbers, np.diag(by_covariance)[rows])
        return found

    def jacobian(self, index: TriangleIndex) -> tuple[FloatArray, FloatArray]:
        """Return derivatives of expected values and of the covariance matrix's lower triangle.

        Parameters
        ----------
        index : TriangleIndex

        Returns
        -------
        mean : ndarray, shape (p, n_parameters)
        covariance : ndarray, shape (p (p + 1) / 2, n_parameters)
        """
        structure, reach = self.structure, self.reach
        mean = np.zeros((index.p, structure.n_parameters))
        covariance = np.zeros((len(index.rows), structure.n_parameters))
        i, j = index.rows, index.columns
        rows, _, numbers = structure.places["mean"]
        mean[rows, numbers] = 1.0
        rows, columns, numbers = structure.places["path"]
        first, second = reach[:, rows], self._carried[:, columns]
        _add_columns(covariance, numbers, first[i] * second[j] + first[j] * second[i])
        rows, columns, numbers = structure.places["covariance"]
        first, second = reach[:, rows], reach[:, columns]
        halves = np.where(rows == columns, 0.5, 1.0)
        _add_columns(covariance, numbers, halves * (first[i] * second[j] + first[j] * second[i]))
        rows, _, numbers = structure.places["error"]
        np.add.at(covariance, (index.positions[rows, rows], numbers), 1.0)
        return mean, covariance


def _add_columns(total: FloatArray, numbers: IndexArray, columns: FloatArray) -> None:
    """Add columns to those of their parameters, of which several may be the same."""
    np.add.at(total.T, numbers, columns.T)


def curvature(
    structure: PanelStructure, parameters: FloatArray, by_mean: FloatArray, by_covariance: FloatArray
) -> FloatArray:
    """Return second derivatives of expected values and covariances, weighted by derivatives of a function of them.

    Parameters
    ----------
    structure : PanelStructure
    parameters : ndarray, shape (n_parameters,)
    by_mean : ndarray, shape (p,)
    by_covariance : ndarray, shape (p, p)

    Returns
    -------
    ndarray, shape (n_parameters, n_parameters)
        By central differences of exact first derivatives; parameters that the structure is linear in by themselves
        and together are found to be so.
    """
    found = np.zeros((len(parameters), len(parameters)))
    _, _, in_paths = structure.places["path"]
    for number in np.unique(in_paths):
        step = np.zeros(len(parameters))
        step[number] = _STEP * max(1.0, abs(parameters[number]))
        above, below = (structure.at(parameters + sign * step) for sign in (1.0, -1.0))
        difference = above.gradient(by_mean, by_covariance) - below.gradient(by_mean, by_covariance)
        found[number] = difference / (2.0 * step[number])
    # Without paths the structure is linear: what else varies only does so together with a path.
    paths = np.zeros(len(parameters), dtype=bool)
    paths[in_paths] = True
    found[np.ix_(~paths, paths)] = found[np.ix_(paths, ~paths)].T
    both = found[np.ix_(paths, paths)]
    found[np.ix_(paths, paths)] = 0.5 * (both + both.T)
    return found
