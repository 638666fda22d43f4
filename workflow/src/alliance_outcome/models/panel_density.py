"""The log-likelihood of a panel's structure as an operation of PyTensor graphs.

One call of the compiled kernel gives the log-likelihood and its derivatives; they are outputs of one operation, and the
gradient of its first output is made of the others.
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

from alliance_outcome.models import panel_kernels
from alliance_outcome.models.fitted_state import FloatArray
from alliance_outcome.models.panel_data import PanelData
from alliance_outcome.models.panel_kernels import COVARIANCE, ERROR, MEAN, PATH, evaluate_structure
from alliance_outcome.models.panel_structure import PanelStructure, Part

#: Inputs that can be differentiated by, and the others.
PARAMETERS = ("parameters", "deviations")
STRUCTURE = ("loadings", "fixed", "entries")
DATA = ("rows", "shifts", "groups", "row_starts", "missing", "missing_starts", "counts")

_CODES: dict[Part, int] = {"mean": MEAN, "path": PATH, "covariance": COVARIANCE, "error": ERROR}

#: PyTensor keeps compiled code by this number and the operation's name; it does not look at the kernels themselves.
_KERNEL_VERSION = int.from_bytes(
    hashlib.sha256(Path(panel_kernels.__file__).read_bytes()).digest()[:7], "big"
)


def packed(structure: PanelStructure) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Return a structure as the kernel takes it: loadings, fixed entries, and places of parameters.

    Parameters
    ----------
    structure : PanelStructure

    Returns
    -------
    loadings : ndarray, shape (p, q)
    fixed : ndarray, shape (4, q, q)
    entries : ndarray of int, shape (n_entries, 4)
    """
    q = structure.loadings.shape[1]
    fixed = np.zeros((len(_CODES), q, q))
    matrices = structure.matrices(np.zeros(structure.n_parameters))
    entries = []
    for part, code in _CODES.items():
        own = matrices[part]
        if own.ndim == 1:
            fixed[code, range(len(own)), range(len(own))] = own
        else:
            fixed[code] = own
        entries += [(code, *each) for each in zip(*structure.places[part], strict=True)]
    return np.ascontiguousarray(structure.loadings), fixed, np.array(entries, dtype=np.int64)


class PanelLogLikelihood(Op):
    """Log-likelihood, and its derivatives by parameters and by deviations of groups; see :func:`evaluate_structure`.

    Inputs are these two, then a structure from :func:`packed` and the arrays of
    :class:`~alliance_outcome.models.panel_data.PanelData`. Only the first output can be differentiated.
    """

    __props__ = ()

    def make_node(self, *inputs: object) -> Apply:
        """Apply the operation to variables or arrays."""
        variables = [pt.as_tensor_variable(each) for each in inputs]
        names = PARAMETERS + STRUCTURE + DATA
        if len(variables) != len(names):
            raise ValueError(f"the log-likelihood takes {', '.join(names)}")
        return Apply(self, variables, [pt.dscalar(), pt.dvector(), pt.dmatrix()])

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], output_storage: list[list]) -> None:  # noqa: ARG002
        """Evaluate outside compiled graphs."""
        found = evaluate_structure(*(np.ascontiguousarray(each) for each in inputs))
        for storage, value in zip(output_storage, found, strict=True):
            storage[0] = np.asarray(value)

    def infer_shape(self, node: Apply, input_shapes: Sequence[tuple]) -> list[tuple]:  # noqa: ARG002
        """Say that derivatives have the shapes of what they are by."""
        return [(), *input_shapes[: len(PARAMETERS)]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say what outputs depend on; by data there is no derivative."""
        outputs = len(node.outputs)
        others = len(STRUCTURE) + len(DATA)
        return [[True] * outputs] * len(PARAMETERS) + [[False] * outputs] * others

    def pullback(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]
    ) -> list[Variable]:
        """Differentiate the log-likelihood: its derivatives are there already."""
        others = [disconnected_type() for _ in STRUCTURE + DATA]
        if any(not isinstance(each.type, DisconnectedType) for each in cotangents[1:]):
            why = "second derivatives of the log-likelihood are not available"
            own = inputs[: len(PARAMETERS)]
            return [*(grad_not_implemented(self, at, each, why) for at, each in enumerate(own)), *others]
        return [*(cotangents[0] * each for each in outputs[1:]), *others]


@register_funcify_default_op_cache_key(PanelLogLikelihood)
def _compiled(op: Op, node: Apply, **kwargs: object) -> tuple[Callable, int]:  # noqa: ARG001
    """Call the kernel from graphs that Numba compiles."""

    @numba_njit
    def panel_log_likelihood(  # noqa: ANN202
        parameters,  # noqa: ANN001
        deviations,  # noqa: ANN001
        loadings,  # noqa: ANN001
        fixed,  # noqa: ANN001
        entries,  # noqa: ANN001
        rows,  # noqa: ANN001
        shifts,  # noqa: ANN001
        groups,  # noqa: ANN001
        row_starts,  # noqa: ANN001
        missing,  # noqa: ANN001
        missing_starts,  # noqa: ANN001
        counts,  # noqa: ANN001
    ):
        # One memory layout, so that the kernel is compiled once.
        value, by_parameters, by_deviations = evaluate_structure(
            np.ascontiguousarray(parameters),
            np.ascontiguousarray(deviations),
            np.ascontiguousarray(loadings),
            np.ascontiguousarray(fixed),
            np.ascontiguousarray(entries),
            np.ascontiguousarray(rows),
            np.ascontiguousarray(shifts),
            np.ascontiguousarray(groups),
            np.ascontiguousarray(row_starts),
            np.ascontiguousarray(missing),
            np.ascontiguousarray(missing_starts),
            np.ascontiguousarray(counts),
        )
        return np.asarray(value), by_parameters, by_deviations

    return panel_log_likelihood, _KERNEL_VERSION


_operation = PanelLogLikelihood()


def log_likelihood(
    parameters: Variable, deviations: Variable, structure: PanelStructure, data: PanelData
) -> Variable:
    """Return the log-likelihood as a variable of a graph.

    Parameters
    ----------
    parameters : TensorVariable, shape (n_parameters,)
    deviations : TensorVariable, shape (n_groups, p)
        What is added to the expected values of each group of clients.
    structure : PanelStructure
    data : PanelData
        With as many groups.

    Returns
    -------
    TensorVariable
        Scalar.
    """
    return _operation(parameters, deviations, *packed(structure), *data.arrays)[0]
