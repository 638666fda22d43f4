"""Panel structures with a covariance matrix on the boundary: of what differs between clients, some variance is zero.

Where clients hardly differ in a combination of intercepts and trends, the likelihood may be highest at a matrix with a
negative eigenvalue, which no data could have. The maximum among true covariance matrices then has one of lower rank,
the same as the singular fits of multilevel models. It is searched for on the matrices of that rank,

    S = [V U] [[A, B], [B', B'A⁻¹B]] [V U]'

V and U being the eigenvectors with and without variance, by Newton's method in A and B (Vandereycken 2013,
10.1137/110845768, of low-rank matrices in general). Standard errors take the rank as given, as those of a multilevel
model take a variance that is estimated as zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from alliance_outcome.models.fitted_state import FloatArray, IndexArray
from alliance_outcome.models.panel_ascent import climb, curvature_of
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_fit import (
    PanelMaximum,
    evaluated,
    expected_information_of,
    maximise,
    observed_information_of,
)
from alliance_outcome.models.panel_likelihood import NotPositiveDefinite
from alliance_outcome.models.panel_structure import PanelStructure

#: An eigenvalue below this share of the largest one is taken for zero.
_ZERO = 1e-7
#: Steps of the search without bounds; from afar a maximum takes some ten, and one that runs away never arrives.
_FREE_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class Tangent:
    """Directions in which parameters may move without leaving the matrices of one rank.

    Parameters
    ----------
    directions : ndarray, shape (n_parameters, n_directions)
    bend : ndarray, shape (n_directions, n_directions)
        What the curvature of the boundary adds to the information.
    """

    directions: FloatArray
    bend: FloatArray

    def information(self, information: FloatArray) -> FloatArray:
        """Return information along the directions."""
        return self.directions.T @ information @ self.directions + self.bend


def maximise_properly(
    data: PanelData, structure: PanelStructure, places: tuple[int, ...]
) -> tuple[PanelMaximum, Tangent | None]:
    """Maximise the likelihood with a part of Ψ that is a covariance matrix.

    Parameters
    ----------
    data : PanelData
    structure : PanelStructure
    places : tuple of int
        Latent variables whose covariance matrix it is; all of its entries are parameters of their own, or it is left
        alone.

    Returns
    -------
    maximum : PanelMaximum
    tangent : Tangent or None
        Where the maximum is on the boundary.
    """
    block = Block.of(structure, places)
    if block is None:
        return maximise(data, structure), None
    maximum = maximise(data, structure, _FREE_ITERATIONS)
    values, _ = np.linalg.eigh(block.matrix(maximum.parameters))
    if values[0] >= -_ZERO * max(values[-1], 0.0):
        return (maximum if maximum.converged else maximise(data, structure)), None
    # Without bounds the search may run away, ever further from any covariance matrix: it then says nothing of where to
    # start.
    starts = [maximum.parameters] if maximum.converged else [structure.start, maximum.parameters]
    for rank in range(int((values > _ZERO * values[-1]).sum()), 0, -1):
        for start in starts:
            found = _search_on_rank(data, structure, block, start, rank)
            if found is not None:
                return found
    return maximum, None


@dataclass(frozen=True, eq=False)
class Block:
    """Parameters that are the entries of a covariance matrix.

    Parameters
    ----------
    numbers : ndarray of int, shape (size, size)
        Parameter of each entry.
    n_parameters : int
        Number of all parameters.
    """

    numbers: IndexArray
    n_parameters: int

    @classmethod
    def of(cls, structure: PanelStructure, places: tuple[int, ...]) -> Block | None:
        """Find the parameters of a part of Ψ; None unless each entry is one."""
        numbers = np.full((len(places), len(places)), -1, dtype=np.intp)
        order = {place: at for at, place in enumerate(places)}
        for row, column, number in zip(*structure.places["covariance"], strict=True):
            if row in order and column in order:
                numbers[order[row], order[column]] = numbers[order[column], order[row]] = number
        own = numbers[np.tril_indices(len(places))]
        if (own < 0).any() or len(set(own)) < len(own):
            return None
        return cls(numbers, structure.n_parameters)

    def matrix(self, parameters: FloatArray) -> FloatArray:
        """Return the covariance matrix."""
        return parameters[self.numbers]

    def with_matrix(self, parameters: FloatArray, matrix: FloatArray) -> FloatArray:
        """Return parameters with another covariance matrix."""
        found = parameters.copy()
        found[self.numbers] = matrix
        return found

    @property
    def others(self) -> IndexArray:
        """Parameters that are no entries of the matrix."""
        return np.setdiff1d(np.arange(self.n_parameters), self.numbers)

    def slope(self, gradient: FloatArray) -> FloatArray:
        """Return derivatives by the entries of the matrix, taken to be free of each other."""
        found = 0.5 * gradient[self.numbers]
        np.fill_diagonal(found, gradient[np.diag(self.numbers)])
        return found


def _search_on_rank(
    data: PanelData, structure: PanelStructure, block: Block, start: FloatArray, rank: int
) -> tuple[PanelMaximum, Tangent] | None:
    """Maximise among matrices of one rank; None where the search ends at a matrix of a lower one."""
    values, vectors = np.linalg.eigh(block.matrix(start))
    kept = vectors[:, -rank:]
    parameters = block.with_matrix(start, (kept * values[-rank:]) @ kept.T)
    try:
        first = evaluated(data, structure, parameters)
    except NotPositiveDefinite:
        return None

    def step(place: PanelMaximum, near: bool) -> tuple[FloatArray, float] | None:
        tangent = _tangent(block, place, rank)
        if tangent is None:
            return None
        along = tangent.directions
        # Directions turn with the place: the information is computed anew.
        curvature = curvature_of(
            lambda: tangent.information(observed_information_of(data, place)),
            lambda: along.T @ expected_information_of(data, place) @ along,
            near=near,
        )
        return None if curvature is None else curvature.step(along.T @ place.gradient)

    def move(place: PanelMaximum, change: FloatArray) -> PanelMaximum | None:
        moved = _moved(block, place.parameters, rank, change)
        return None if moved is None else evaluated(data, structure, moved)

    place, converged, iterations = climb(first, step, move)
    tangent = _tangent(block, place, rank) if converged else None
    if tangent is None:
        return None
    return replace(place, converged=True, n_iterations=iterations), tangent


def _bases(
    block: Block, parameters: FloatArray, rank: int
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return variances and eigenvectors with variance, and eigenvectors without; None at a lower rank."""
    values, vectors = np.linalg.eigh(block.matrix(parameters))
    if values[-rank] <= _ZERO * values[-1]:
        return None
    return values[-rank:], vectors[:, -rank:], vectors[:, :-rank]


def _moves(rank: int, size: int) -> Iterator[tuple[str, int, int]]:
    """List the coordinates of A (lower triangle) and of B."""
    for a in range(rank):
        for b in range(a + 1):
            yield "A", a, b
    for a in range(rank):
        for b in range(size - rank):
            yield "B", a, b


def _tangent(block: Block, place: PanelMaximum, rank: int) -> Tangent | None:
    """Return the directions at a place; None at a lower rank."""
    bases = _bases(block, place.parameters, rank)
    if bases is None:
        return None
    values, kept, gone = bases
    size = len(block.numbers)
    moves = list(_moves(rank, size))
    others = block.others
    directions = np.zeros((block.n_parameters, len(others) + len(moves)))
    directions[others, np.arange(len(others))] = 1.0
    for at, (kind, a, b) in enumerate(moves, start=len(others)):
        other = kept[:, b] if kind == "A" else gone[:, b]
        change = np.outer(kept[:, a], other)
        change = change if kind == "A" and a == b else change + change.T
        directions[block.numbers, at] = change
    bend = np.zeros((directions.shape[1], directions.shape[1]))
    # B'A⁻¹B grows into the directions without variance, where the likelihood falls.
    into = gone.T @ block.slope(place.gradient) @ gone
    for i, (kind, a, b) in enumerate(moves, start=len(others)):
        for j, (other_kind, c, d) in enumerate(moves, start=len(others)):
            if kind == other_kind == "B" and a == c:
                bend[i, j] = -2.0 * into[b, d] / values[a]
    return Tangent(directions, bend)


def _moved(
    block: Block,
    parameters: FloatArray,
    rank: int,
    step: FloatArray,
) -> FloatArray | None:
    """Return parameters after a step along the matrices of one rank; None where A would be no covariance matrix."""
    bases = _bases(block, parameters, rank)
    if bases is None:
        return None
    values, kept, gone = bases
    size = len(block.numbers)
    others = block.others
    inner, mixed = np.diag(values), np.zeros((rank, size - rank))
    for change, (kind, a, b) in zip(step[len(others) :], _moves(rank, size), strict=True):
        if kind == "B":
            mixed[a, b] = change
        else:
            inner[a, b] += change
            inner[b, a] = inner[a, b]
    eigenvalues = np.linalg.eigvalsh(inner)
    if eigenvalues[0] <= _ZERO * eigenvalues[-1]:
        return None
    corner = mixed.T @ np.linalg.solve(inner, mixed)
    both = np.hstack([kept, gone])
    matrix = both @ np.block([[inner, mixed], [mixed.T, corner]]) @ both.T
    found = block.with_matrix(parameters, 0.5 * (matrix + matrix.T))
    found[others] += step[: len(others)]
    return found
