"""Kenward & Roger's covariance matrix and degrees of freedom of fixed effects, at a cost linear in units.

V = Σ θ_k V_k is linear in its parameters θ: the free elements of σ²Ψ_u and σ²Ψ_v, whose V_k is ZE_kZ' in each unit or
cluster, and σ², whose V_k is the identity. With Φ = (X'V⁻¹X)⁻¹, P_k = −X'V⁻¹V_kV⁻¹X and Q_kl = X'V⁻¹V_kV⁻¹V_lV⁻¹X,

    W = 2 [tr(V⁻¹V_kV⁻¹V_l) − 2 tr(ΦQ_kl) + tr(ΦP_kΦP_l)]⁻¹,    Φ_A = Φ + 2Φ [Σ_kl W_kl (Q_kl − P_kΦP_l)] Φ.

Two things make this quick and exact. First, with K the inverse of V relative to σ², everything is a sum of products of
Z'KZ and Z'KX, and Z_i'KZ_i' for units i and i' of one cluster is δ_ii'W_i − R_iMR_i'': a term of the unit and one of
low rank that they share. Second, V is linear in the parameters (θ without σ², scale) just as well, where the scale
multiplies all of V at fixed ratios. Nothing then depends on K² and K³, which lose digits if differenced: the scale's
terms are P = −Φ⁻¹, Q − PΦP = 0. Neither Φ_A nor the degrees of freedom depend on which parametrisation is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance_outcome.models.design_checks import UnavailableInference
from alliance_outcome.models.f_approximation import FApproximation, hypothesis_rows
from alliance_outcome.models.fitted_state import FittedState, FloatArray
from alliance_outcome.models.nested_precision import Component, NestedPrecision

#: Eigenvalues of the scaled information matrix of the variance parameters below this are zeros with rounding error.
UNIDENTIFIED = 1e-10

#: Below these, as in R's pbkrtest, a divisor and what it divides are both zero, V₀ is zero, and the denominator degrees
#: of freedom are 2, where the scaling is not defined.
BOTH_ZERO = 1e-14
ZERO_NUMERATOR = 1e-10
NEAR_TWO = 1e-2

#: Relative change of a variance, as a parameter moves by a standard error, below which it does not depend on it.
INDEPENDENT = 1e-6


@dataclass(frozen=True)
class KenwardRoger:
    """Small-sample inference for fixed effects, in working coordinates.

    Parameters
    ----------
    covariance : ndarray, shape (p, p)
        Φ, the covariance matrix that takes variance parameters for known.
    adjusted_covariance : ndarray, shape (p, p)
        Φ_A.
    information_derivatives : ndarray, shape (k, p, p)
        P_k, derivatives of Φ⁻¹ with respect to the variance parameters: the elements of σ²Ψ_u in the order of
        ``unit_components``, those of σ²Ψ_v, and σ².
    parameter_covariance : ndarray, shape (k, k)
        W, covariance matrix of the variance parameters from their expected information.
    unidentified : ndarray, shape (k, m)
        Directions of the variance parameters that the data leave open, about a standard error long; m is 0 in all but
        odd designs.
    """

    covariance: FloatArray
    adjusted_covariance: FloatArray
    information_derivatives: FloatArray
    parameter_covariance: FloatArray
    unidentified: FloatArray

    def approximation(self, hypothesis: ArrayLike) -> FApproximation:
        """Approximate the distribution of a Wald statistic that is formed with the adjusted covariance matrix.

        Parameters
        ----------
        hypothesis : array_like, shape (p,) or (n_rows, p)
            Weights of the fixed effects, one row per statement.

        Returns
        -------
        FApproximation
            With scaling 1 for a single row. Degrees of freedom are NaN where the variance of the combinations depends
            on something that the data leave open.

        Raises
        ------
        ValueError
            If rows are zero or dependent, or have the wrong length.

        Notes
        -----
        ``KRmodcomp`` of R's pbkrtest 0.5 (Halekoh & Højsgaard 2014, 10.18637/jss.v059.i09).
        """
        rows = hypothesis_rows(hypothesis, self.covariance)
        phi = self.covariance
        theta = rows.T @ np.linalg.solve(rows @ phi @ rows.T, rows)
        products = theta @ phi @ self.information_derivatives @ phi
        open_products = np.einsum("km,kab->mab", self.unidentified, products)
        if np.any(np.einsum("mab,mba->m", open_products, open_products) > INDEPENDENT**2):
            return FApproximation(len(rows), np.nan, 1.0)
        traces = np.trace(products, axis1=1, axis2=2)
        first = float(traces @ self.parameter_covariance @ traces)
        pairs = np.einsum("kab,lba->kl", products, products)
        second = float(np.sum(self.parameter_covariance * pairs))
        return _match_moments(first, second, len(rows))


def _match_moments(a1: float, a2: float, q: int) -> FApproximation:
    """Find the F distribution with the approximate mean and variance of the statistic; pbkrtest's notation."""
    b = (a1 + 6.0 * a2) / (2.0 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    divisor = 3.0 * q + 2.0 * (1.0 - g)
    v0 = 1.0 + g / divisor * b
    v1 = 1.0 - (q - g) / divisor * b
    v2 = 1.0 - (q + 2.0 - g) / divisor * b
    v0 = 0.0 if abs(v0) < ZERO_NUMERATOR else v0
    mean = 1.0 - a2 / q
    ratio = 1.0 if abs(mean) < BOTH_ZERO and abs(v1) < BOTH_ZERO else _divide(mean, v1)
    df = float(4.0 + _divide(q + 2.0, _divide(ratio**2 * v0, v2) - 1.0))
    scaling = 1.0 if abs(df - 2.0) < NEAR_TWO else df * mean / (df - 2.0)
    return FApproximation(numerator_df=q, denominator_df=df, scaling=scaling)


def _divide(numerator: float, denominator: float) -> float:
    """Divide as R does: a balanced design can have 4 degrees of freedom exactly, which come out as 4 + 3 / ∞."""
    with np.errstate(divide="ignore"):
        return float(np.divide(numerator, denominator))


def kenward_roger(state: FittedState) -> KenwardRoger:
    """Adjust the covariance matrix of fixed effects for the estimation of the variance parameters.

    Parameters
    ----------
    state : FittedState
        A REML fit with independent residuals.

    Returns
    -------
    KenwardRoger

    Raises
    ------
    UnavailableInference
        With AR(1) residuals, whose covariance matrix is not linear in the autocorrelation, or after maximum likelihood.

    Notes
    -----
    Kenward & Roger 1997 (10.2307/2533558) as ``vcovAdj`` of R's pbkrtest (Halekoh & Højsgaard 2014,
    10.18637/jss.v059.i09) has it, for covariance matrices that are linear in their parameters.

    On the boundary every parameter counts like any other: a variance of zero, its covariances, both variances and the
    covariance of effects with a correlation of one. The information does not notice the boundary. It has the inner
    products of the derivatives of V, in the space that X leaves, so that it is singular where the design cannot tell
    parameters apart, and at no value of them in particular. There the Moore–Penrose inverse stands in, taken of the
    information scaled by what it would be with known fixed effects, so that units of measurement do not matter
    (pbkrtest takes it unscaled); combinations of fixed effects whose variance depends on what is left open have no
    degrees of freedom.
    """
    _require_linear_reml(state)
    unscaled = state.covariance / state.residual_variance
    terms = _information(state, unscaled)
    inverse, unidentified = _inverse(terms.information, terms.scales)
    weights = 2.0 * inverse
    correction = unscaled @ np.einsum("kl,klab->ab", weights[:-1, :-1], terms.excess) @ unscaled
    to_parameters = _scale_to_residual_variance(state)
    variance = state.residual_variance
    return KenwardRoger(
        covariance=state.covariance,
        adjusted_covariance=state.covariance + 2.0 * variance * correction,
        information_derivatives=np.einsum("lk,lab->kab", np.linalg.inv(to_parameters), terms.derivatives)
        / variance**2,
        parameter_covariance=variance**2 * to_parameters @ weights @ to_parameters.T,
        unidentified=variance * to_parameters @ unidentified,
    )


def _require_linear_reml(state: FittedState) -> None:
    if state.autocorrelation is not None:
        raise UnavailableInference(
            "Kenward–Roger inference needs a covariance matrix that is linear in its parameters, which AR(1) residuals "
            "do not have; use Satterthwaite's degrees of freedom"
        )
    if not state.reml:
        raise UnavailableInference("Kenward–Roger inference belongs to a REML fit; fit with reml=True")


@dataclass(frozen=True)
class _Information:
    """Terms relative to the residual variance, the scale parameter last.

    Parameters
    ----------
    information : ndarray, shape (k, k)
        Twice the expected REML information.
    scales : ndarray, shape (k,)
        Square roots of what its diagonal would be with known fixed effects.
    derivatives : ndarray, shape (k, p, p)
        P.
    excess : ndarray, shape (k - 1, k - 1, p, p)
        Q_kl − P_kΦP_l; zero for the scale.
    """

    information: FloatArray
    scales: FloatArray
    derivatives: FloatArray
    excess: FloatArray


def _information(state: FittedState, unscaled: FloatArray) -> _Information:
    components, precision = _components(state), NestedPrecision.of(state)
    first_order = [precision.first_order(component) for component in components]
    derivatives = -np.stack([*first_order, np.linalg.inv(unscaled)])
    count, p = len(components), len(unscaled)
    excess = np.zeros((count, count, p, p))
    information = np.zeros((count + 1, count + 1))
    traces = np.full(count + 1, float(len(state.rows.outcome)))
    information[-1, -1] = traces[-1] - p
    for k, component in enumerate(components):
        information[-1, k] = precision.trace(component) + np.sum(unscaled * derivatives[k])
        for m, other in enumerate(components[: k + 1]):
            traces[k], second_order = precision.second_order(component, other)
            explained = derivatives[k] @ unscaled @ derivatives[m]
            information[k, m] = traces[k] - np.sum(unscaled * (2.0 * second_order - explained))
            excess[k, m] = second_order - explained
            excess[m, k] = excess[k, m].T
    return _Information(information + np.tril(information, -1).T, np.sqrt(traces), derivatives, excess)


def _components(state: FittedState) -> list[Component]:
    return [
        *(Component(pattern, of_units=True) for pattern in state.unit_components),
        *(Component(pattern, of_units=False) for pattern in state.cluster_components),
    ]


def _scale_to_residual_variance(state: FittedState) -> FloatArray:
    """Derivatives of (θ without σ², σ²), relative to σ², with respect to (θ without σ², scale); shape (k, k)."""
    ratios = [
        *_coordinates(state.unit_covariance, state.unit_components),
        *_coordinates(state.cluster_covariance, state.cluster_components),
    ]
    transformation = np.eye(len(ratios) + 1)
    transformation[:-1, -1] = ratios
    return transformation


def _coordinates(covariance: FloatArray, patterns: tuple[FloatArray, ...]) -> FloatArray:
    """Write a covariance matrix as a sum of numbers times patterns."""
    basis = np.reshape(patterns, (len(patterns), covariance.size)).T
    return np.linalg.lstsq(basis, covariance.ravel())[0]


def _inverse(information: FloatArray, scales: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Invert the identified part of a symmetric matrix, and return a basis of the rest, shape (k, m)."""
    units = np.outer(scales, scales)
    values, vectors = np.linalg.eigh(information / units)
    identified = values > UNIDENTIFIED
    inverse = (vectors[:, identified] / values[identified]) @ vectors[:, identified].T / units
    return inverse, vectors[:, ~identified] / scales[:, None]
