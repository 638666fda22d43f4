"""The log-likelihood of the nested Gaussian model of several variables as an operation of PyTensor graphs.

One call of the compiled kernel gives the log-likelihood and its derivatives. They are outputs of one operation, and the
gradient of its first output is made of the others, so that a value with its gradient costs one call. The data are
inputs, so that a compiled graph takes other data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_default_op_cache_key

from alliance_outcome.models import multivariate_kernels
from alliance_outcome.models.multivariate_kernels import evaluate, unpack

#: Inputs of the operation: parameters, then data.
PARAMETERS = ("coefficients", "within", "unit", "cluster")
DATA = ("numbers", "structure")

#: PyTensor keeps compiled code by this number and the operation's name; it does not look at the kernels themselves.
_KERNEL_VERSION = int.from_bytes(
    hashlib.sha256(Path(multivariate_kernels.__file__).read_bytes()).digest()[:7], "big"
)


class NestedGaussianLogLikelihood(Op):
    """Log-likelihood, and its derivatives by C, Σ_W, Σ_B and Σ_T; see :func:`multivariate_kernels.evaluate`.

    Inputs are C, Σ_W, Σ_B and Σ_T, then data from :func:`multivariate_kernels.pack`. Only the first output can be
    differentiated.
    """

    __props__ = ()

    def make_node(self, *inputs: object) -> Apply:
        """Apply the operation to variables or arrays."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        if len(variables) != len(PARAMETERS) + len(DATA):
            raise ValueError(f"the log-likelihood takes {', '.join(PARAMETERS + DATA)}")
        return Apply(self, variables, [pt.dscalar(), *(pt.dmatrix() for _ in PARAMETERS)])

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], output_storage: list[list]) -> None:  # noqa: ARG002
        """Evaluate outside compiled graphs."""
        coefficients, within, unit, cluster, numbers, structure = (
            np.array(each, order="C") for each in inputs
        )
        found = evaluate(coefficients, within, unit, cluster, unpack(numbers, structure))
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def infer_shape(self, node: Apply, input_shapes: Sequence[tuple]) -> list[tuple]:  # noqa: ARG002
        """Say that derivatives have the shapes of the parameters."""
        return [(), *input_shapes[: len(PARAMETERS)]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say that outputs depend on parameters; by data there is no derivative."""
        outputs = len(node.outputs)
        return [[True] * outputs for _ in PARAMETERS] + [[False] * outputs for _ in DATA]

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Differentiate the log-likelihood: its derivatives are there already."""
        data = [disconnected_type() for _ in DATA]
        if any(not isinstance(each.type, DisconnectedType) for each in cotangents[1:]):
            why = "second derivatives of the log-likelihood are not available"
            parameters = inputs[: len(PARAMETERS)]
            return [*(grad_not_implemented(self, at, each, why) for at, each in enumerate(parameters)), *data]
        return [*(cotangents[0] * each for each in outputs[1:]), *data]


@register_funcify_default_op_cache_key(NestedGaussianLogLikelihood)
def _compiled(op: Op, node: Apply, **kwargs: object) -> tuple[Callable, int]:  # noqa: ARG001
    """Call the kernel from graphs that Numba compiles."""

    @numba_njit
    def nested_gaussian(coefficients, within, unit, cluster, numbers, structure):  # noqa: ANN001, ANN202
        # One memory layout, so that the kernel is compiled once.
        value, by_coefficients, by_within, by_unit, by_cluster = evaluate(
            np.ascontiguousarray(coefficients),
            np.ascontiguousarray(within),
            np.ascontiguousarray(unit),
            np.ascontiguousarray(cluster),
            unpack(np.ascontiguousarray(numbers), np.ascontiguousarray(structure)),
        )
        return np.asarray(value), by_coefficients, by_within, by_unit, by_cluster

    return nested_gaussian, _KERNEL_VERSION


#: The operation, ready to be applied.
nested_gaussian_log_likelihood = NestedGaussianLogLikelihood()
