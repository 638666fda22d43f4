"""The marginal likelihood of a nested Gaussian model as an operation of PyTensor, random effects integrated out.

PyMC differentiates through it and compiles it with Numba. One call gives the logarithm of the likelihood and all its
derivatives; its cost does not grow with the number of rows unless residuals are AR(1), whose Gram matrices depend on
the autocorrelation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance_outcome.models import gram_kernels, marginal_kernels
from alliance_outcome.models.fitted_state import FloatArray, IndexArray, WorkingRows


@dataclass(frozen=True)
class MarginalData:
    """The data as compiled code takes them.

    Parameters
    ----------
    gram : ndarray, shape (m, m, n_units)
        Gram matrices of [Z_u Z_v X y] of each unit.
    total : ndarray, shape (m, m)
        Their sum.
    cluster_starts : ndarray of int, shape (n_clusters + 1,)
        First unit of each cluster, and the number of units.
    joint : ndarray, shape (n_rows, m)
        Rows [Z_u Z_v X y] in order of units.
    unit_starts : ndarray of int, shape (n_units + 1,)
        First row of each unit, and the number of rows.
    gaps : ndarray, shape (n_rows,)
        Time since the unit's previous row; empty where residuals are independent.
    """

    gram: FloatArray
    total: FloatArray
    cluster_starts: IndexArray
    joint: FloatArray
    unit_starts: IndexArray
    gaps: FloatArray

    @classmethod
    def of(cls, rows: WorkingRows) -> MarginalData:
        """Build the Gram matrices of rows; residuals are AR(1) if the rows have gaps."""
        joint = np.column_stack([rows.unit_random, rows.cluster_random, rows.fixed, rows.outcome])
        gram = _units_last(gram_kernels.unit_grams(joint, rows.unit_starts))
        gaps = np.empty(0) if rows.gaps is None else np.asarray(rows.gaps, dtype=float)
        return cls(gram, gram.sum(axis=2), rows.cluster_starts, joint, rows.unit_starts, gaps)

    @property
    def autocorrelated(self) -> bool:
        """Whether residuals are AR(1)."""
        return bool(len(self.gaps))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.joint)

    def weighted(self, autocorrelation: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weight the Gram matrices by the inverse correlation matrix of residuals.

        Parameters
        ----------
        autocorrelation : float
            Not read where residuals are independent.

        Returns
        -------
        gram : ndarray, shape (m, m, n_units)
        change : ndarray, shape (m, m, n_units) or (m, m, 0)
            Their derivatives.
        log_determinants : ndarray, shape (n_units,)
            log|R| of each unit.
        """
        if not self.autocorrelated:
            return self.gram, self.gram[:, :, :0], np.zeros(self.gram.shape[2])
        shape = (len(self.unit_starts) - 1, *self.total.shape)
        gram, change = np.empty(shape), np.empty(shape)
        gram_kernels.autocorrelated_grams(
            self.joint, self.unit_starts, self.gaps, autocorrelation, gram, change
        )
        shared = np.abs(autocorrelation) ** (2.0 * self.gaps)
        shared[self.unit_starts[:-1]] = 0.0
        left = np.log1p(-shared)
        return _units_last(gram), _units_last(change), np.add.reduceat(left, self.unit_starts[:-1])


def _units_last(matrices: FloatArray) -> FloatArray:
    return np.ascontiguousarray(matrices.transpose(1, 2, 0))


class MarginalLogLikelihood(Op):
    """The logarithm of the likelihood of a nested Gaussian model, and its derivatives.

    Inputs are β, shape (p,); lower triangular factors of the covariance matrices of random effects of units, (q, q),
    and of clusters, (r, r); the residual standard deviation; the autocorrelation of residuals; then the fields of
    :class:`MarginalData`, in order. Outputs are the likelihood's logarithm and its derivatives by the first five
    inputs.
    """

    __props__ = ("autocorrelated",)

    #: How many inputs there are derivatives by.
    PARAMETERS = 5

    def __init__(self, *, autocorrelated: bool) -> None:
        self.autocorrelated = autocorrelated

    def make_node(self, *inputs: Any) -> Apply:
        """Take inputs as variables."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        dtypes = ["float64"] * self.PARAMETERS
        parameters = [
            pt.cast(each, dtype) for each, dtype in zip(variables[: self.PARAMETERS], dtypes, strict=True)
        ]
        outputs = [pt.dscalar(), *(each.type() for each in parameters)]
        return Apply(self, [*parameters, *variables[self.PARAMETERS :]], outputs)

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: list[list[Any]]) -> None:  # noqa: ARG002
        """Evaluate without compiling a graph."""
        compute = _computation(self.autocorrelated)
        for storage, value in zip(output_storage, compute(*inputs), strict=True):
            storage[0] = np.asarray(value)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say which outputs depend on which inputs: derivatives are not differentiated again."""
        n_outputs = 1 + self.PARAMETERS
        connected = [True] + [False] * (n_outputs - 1)
        unconnected = [False] * n_outputs
        return [
            connected if position < self.PARAMETERS else unconnected for position in range(len(node.inputs))
        ]

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Return derivatives of what depends on the likelihood: they are outputs already."""
        own = cotangents[0]
        data = [disconnected_type() for _ in inputs[self.PARAMETERS :]]
        if isinstance(own.type, DisconnectedType):
            return [*(disconnected_type() for _ in range(self.PARAMETERS)), *data]
        return [*(own * slope for slope in outputs[1 : 1 + self.PARAMETERS]), *data]


def marginal_log_likelihood(parameters: Sequence[Any], data: Sequence[Any], *, autocorrelated: bool) -> Any:
    """Return the logarithm of the likelihood as a variable.

    Parameters
    ----------
    parameters : sequence of 5 tensors
        β, both factors, residual standard deviation, autocorrelation; see :class:`MarginalLogLikelihood`.
    data : sequence of tensors
        The fields of :class:`MarginalData`.
    autocorrelated : bool
        Whether residuals are AR(1).

    Returns
    -------
    TensorVariable, scalar
    """
    return MarginalLogLikelihood(autocorrelated=autocorrelated)(*parameters, *data)[0]


def _computation(autocorrelated: bool) -> Any:
    """Return the function that evaluates likelihood and derivatives, for Python and for Numba alike."""
    marginal_likelihood = marginal_kernels.marginal_likelihood
    autocorrelated_grams = gram_kernels.autocorrelated_grams

    def independent(beta: Any, factor_u: Any, factor_v: Any, sigma: Any, phi: Any, *data: Any) -> Any:  # noqa: ARG001
        gram, total, cluster_starts, joint, _, _ = data
        value, by_beta, by_u, by_v, by_sigma, _ = marginal_likelihood(
            gram, total, gram[:, :, :0], cluster_starts, len(joint), beta, factor_u, factor_v, sigma.item()
        )
        return np.asarray(value), by_beta, by_u, by_v, np.asarray(by_sigma), np.asarray(0.0)

    def ar1(beta: Any, factor_u: Any, factor_v: Any, sigma: Any, phi: Any, *data: Any) -> Any:
        _, total, cluster_starts, joint, unit_starts, gaps = data
        shape = (len(unit_starts) - 1, *total.shape)
        gram, change = np.empty(shape), np.empty(shape)
        log_residual, slope = autocorrelated_grams(joint, unit_starts, gaps, phi.item(), gram, change)
        value, by_beta, by_u, by_v, by_sigma, by_phi = marginal_likelihood(
            np.ascontiguousarray(gram.transpose(1, 2, 0)),
            gram.sum(axis=0),
            np.ascontiguousarray(change.transpose(1, 2, 0)),
            cluster_starts,
            len(joint),
            beta,
            factor_u,
            factor_v,
            sigma.item(),
        )
        by_phi = np.asarray(by_phi - 0.5 * slope)
        return np.asarray(value - 0.5 * log_residual), by_beta, by_u, by_v, np.asarray(by_sigma), by_phi

    return ar1 if autocorrelated else independent


def _kernels_digest() -> int:
    """Number the state of the kernels' code, so that compiled graphs are not used after an edit of it."""
    sources = (gram_kernels, marginal_kernels)
    content = b"".join(Path(str(module.__file__)).read_bytes() for module in sources)
    return int.from_bytes(hashlib.sha256(content).digest()[:8])


@register_funcify_default_op_cache_key(MarginalLogLikelihood)
def _compiled(op: MarginalLogLikelihood, node: Apply, **_: Any) -> tuple[Any, int]:  # noqa: ARG001
    return numba_njit(_computation(op.autocorrelated)), _kernels_digest()
