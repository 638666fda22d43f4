"""A small finished study for the tests of the report: every contracted file, with numbers made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import study_example
from perception_frames import perception_frames
from response_surface_example import CONGRUENCE, early_rows, hybrid_rows

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import estimates_frame, write_estimates
from alliance_outcome.analyses.response_surface import ResponseSurfaceTables, response_surfaces
from alliance_outcome.settings import ReportSettings

SETTINGS = ReportSettings(
    title="Example study",
    description="Eight hundred sessions that never took place.",
    outcome_name="CORE-10 severity",
    outcome_unit="CORE-10 points",
)

STUDY = {
    "lag_unit": "attended",
    "time_trend": "log",
    "rope": 0.25,
    "min_therapists_for_claim": 10,
    "priors": {
        "intercept_mean": 15.0,
        "intercept_sd": 10.0,
        "effect_sd": 2.5,
        "group_sd": 5.0,
        "slope_sd": 1.5,
        "residual_sd": 6.0,
        "lkj_eta": 2.0,
    },
    "reliability": {
        "client": {"within_client": {"mean": 0.8, "sd": 0.03, "source": "A made-up manual, Table 2"}},
        "therapist": {"within_client": {"interval": [0.6, 0.8], "source": "A made-up article"}},
    },
    **SETTINGS.model_dump(),
}

CONTEXT = {
    "study_name": "example",
    "study": STUDY,
    "sampler": {"engine": "nutpie", "chains": 4, "draws": 1000, "tune": 1000},
    "seed": 20261120,
}

VERSIONS = {"python": "3.12.3", "alliance-outcome": "0.1.0", "statsmodels": "0.15.0", "pymc": "6.4.0"}

BENCHMARKS = pd.DataFrame(
    {"rule": ["ingest", "bayesian"], "seconds": [1.25, 84.0], "max_rss_mb": [210.0, None]}
)

MODELS = {
    "multilevel": (
        "hybrid_three_level",
        "hybrid_two_level",
        "hybrid_lag_three_level",
        "hybrid_lag_two_level",
    ),
    "early": ("early_three_level", "early_two_level", "early_last_observed"),
    "bayesian": ("hybrid_three_level", "early_three_level"),
}
#: The engine of the models without priors.
REML = "multilevel"
#: Models with AR(1) repetitions, and models whose variance is shared out.
AUTOREGRESSIVE = ("hybrid_three_level", "hybrid_two_level")
EXPLAINED = ("hybrid_three_level", "hybrid_two_level", "early_three_level")
#: Models with latent means.
LATENT = ("joint_latent", "joint_corrected")
#: Panel models, the primary one first, and versions of it.
PANEL_MODELS = ("cross_lagged_trends", "cross_lagged", "dynamic_panel")
BIAS_ESTIMATORS = (
    *("lagged_outcome", "centred_lag", "no_lag", "detrended", "hybrid"),
    *("dynamic_panel", "cross_lagged", "cross_lagged_trends"),
)
PANEL_VERSIONS = tuple(
    f"cross_lagged_trends_{version}"
    for version in (
        *("first_7_sessions", "lags_2", "planned_ending", "unplanned_ending"),
        *("after_leaving_1_sd_better", "after_leaving_2_sd_worse"),
    )
)
COEFFICIENTS = {"client": -0.9, "therapist": -0.3}
STANDARD_DEVIATIONS = {"client": 0.6, "therapist": 0.5}


def write_example(
    root: Path, *, simulated: bool = True, outcome_rater: str = "client", therapists: int = 24
) -> Path:
    """Write the study; with fewer than 10 therapists the therapist level is not established."""
    for folder in ("tables", "estimates", "figures"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    _write_estimates(root, outcome_rater, therapists)
    _write_tables(root, outcome_rater, therapists)
    _write_response_surface(root)
    if simulated:
        pd.DataFrame(_truth_rows()).to_csv(root / "truth.csv", index=False)
    return root


@cache
def response_surface_tables() -> ResponseSurfaceTables:
    """Fit the surfaces of rows with a planted congruence effect; a surface is not made by hand."""
    hybrid, early = hybrid_rows(1, CONGRUENCE), early_rows(1, CONGRUENCE)
    return response_surfaces(hybrid, early, study_example.context(study="example"))


def _write_response_surface(root: Path) -> None:
    """Write the tables of the response surfaces."""
    tables = response_surface_tables()
    write_estimates(tables.estimates, root / "estimates" / "response_surface.csv")
    for kind in ("conditions", "checks", "grid"):
        getattr(tables, kind).to_csv(root / "tables" / f"{kind}_response_surface.csv", index=False)


def levels_of(model: str) -> tuple[str, ...]:
    """Which levels a model has."""
    within = () if model.startswith("early") else ("within_client",)
    if model in ("early_two_level", "early_last_observed", "hybrid_two_level", "hybrid_lag_two_level"):
        return (*within, "between_client_pooled")
    return (*within, "between_client", "between_therapist")


def role_of(model: str, level: str) -> str:
    """Which role the design gives a model at a level."""
    if model == "early_last_observed":
        return "sensitivity"
    if level == "within_client":
        return "comparator"
    return "primary" if model == "early_three_level" else "secondary"


def interval_row(estimate: float, std_error: float, engine: str, model: str = "") -> dict[str, Any]:
    """The columns that say how sure an estimate is, by hand: two standard errors either side."""
    lagged = model.startswith("hybrid_lag")
    row = {
        "estimate": estimate,
        "std_error": std_error,
        "ci_low": estimate - 2 * std_error,
        "ci_high": estimate + 2 * std_error,
        "ci_level": 0.95,
        "engine": engine,
    }
    if engine == "nutpie":
        return row | {
            "ci_kind": "equal_tailed",
            "se_kind": "posterior",
            "quantity_kind": "mcmc",
            "r_hat": 1.002,
            "ess_bulk": 2100.0,
            "ess_tail": 1900.0,
            "mcse_mean": 0.004,
            "mcse_ci_low": 0.012,
            "mcse_ci_high": 0.012,
            "n_draws": 4000,
            "prob_direction": 0.97,
        }
    return row | {
        "ci_kind": "wald_t",
        "se_kind": "observed" if lagged else "kenward_roger",
        "df": 41.5,
        "df_method": "satterthwaite" if lagged else "kenward_roger",
        "statistic": estimate / std_error,
        "p_value": 0.012,
        "quantity_kind": "deterministic",
    }


def bootstrap_row(estimate: float, std_error: float) -> dict[str, Any]:
    """The columns of a quantity with replicates."""
    return {
        "estimate": estimate,
        "std_error": std_error,
        "ci_low": estimate - 2 * std_error,
        "ci_high": estimate + 2 * std_error,
        "ci_level": 0.95,
        "ci_kind": "percentile",
        "se_kind": "bootstrap",
        "quantity_kind": "bootstrap",
        "engine": REML,
        "n_draws": 1000,
        "mcse_ci_low": 0.001,
        "mcse_ci_high": 0.001,
    }


def robust_row(estimate: float, std_error: float) -> dict[str, Any]:
    """The columns of a cluster-robust repetition."""
    row = interval_row(estimate, std_error, REML)
    return row | {"se_kind": "CR2", "df": 18.2, "df_method": "satterthwaite", "role": "sensitivity"}


def autoregressive_row(estimate: float, std_error: float, model: str) -> dict[str, Any]:
    """The columns of a repetition with AR(1) residuals."""
    row = interval_row(estimate, std_error, REML)
    row |= {"se_kind": "model", "df": 40.0, "df_method": "satterthwaite", "role": "sensitivity"}
    return row | {"residual": structure_of(model).replace("independent", "ar1")}


def structure_of(model: str) -> str:
    """Which random effects a model has, in the words of the models."""
    therapist = "therapist: random intercept"
    if model == "early_two_level":
        return "independent; no random effects"
    if model.startswith("early"):
        return f"independent; {therapist}"
    slopes = "random slopes of alliance_client_within_client, alliance_therapist_within_client"
    client = f"client: random intercept and {slopes}, correlated"
    return f"independent; {therapist}; {client}" if "three" in model else f"independent; {client}"


def _base(analysis: str, model: str, level: str, outcome_rater: str, therapists: int) -> dict[str, Any]:
    """The columns that every estimate of the example shares."""
    three = "three" in model
    return {
        "study": "example",
        "analysis": analysis,
        "model": model,
        "role": role_of(model, level),
        "means": "manifest",
        "outcome": "severity_core_10_client",
        "outcome_rater": outcome_rater,
        "scale": "total",
        "level": level,
        "lag": None if model.startswith("early") else 1,
        "lag_unit": "attended",
        "residual": structure_of(model),
        "detrended": "none",
        "missing_method": "available rows (MAR)",
        "unit": "CORE-10 points",
        "n_sessions": None if model.startswith("early") else 1204,
        "n_clients": 120,
        "n_therapists": therapists if three else None,
    }


def _write_estimates(root: Path, outcome_rater: str, therapists: int) -> None:
    """Write every estimates file."""
    contrast: list[dict[str, Any]] = []
    for analysis, models in MODELS.items():
        rows: list[dict[str, Any]] = []
        engine = "nutpie" if analysis == "bayesian" else REML
        for model in models:
            rows += _model_rows(analysis, model, engine, outcome_rater, therapists)
            contrast += _contrast_rows(model, engine, outcome_rater, therapists)
        write_estimates(estimates_frame(rows), root / "estimates" / f"{analysis}.csv")
    contrast += panel_contrasts(outcome_rater, therapists)
    write_estimates(estimates_frame(contrast), root / "estimates" / "contrast.csv")
    paths = list(_panel_paths(outcome_rater, therapists))
    write_estimates(estimates_frame(paths), root / "estimates" / "dynamics.csv")
    write_estimates(
        estimates_frame(_agreement_rows(outcome_rater, therapists)), root / "estimates" / "agreement.csv"
    )
    latent = [row for model in LATENT for row in _latent_rows(model, outcome_rater, therapists)]
    write_estimates(estimates_frame(latent), root / "estimates" / "measurement_error.csv")
    reliability = list(reliability_rows(outcome_rater, therapists))
    write_estimates(estimates_frame(reliability), root / "estimates" / "reliability.csv")
    factors = list(factor_rows(outcome_rater, therapists))
    write_estimates(estimates_frame(factors), root / "estimates" / "factor_structure.csv")
    parts = list(part_rows(outcome_rater, therapists))
    write_estimates(estimates_frame(parts), root / "estimates" / "alliance_parts.csv")
    corrected = list(corrected_rows(outcome_rater, therapists))
    write_estimates(estimates_frame(corrected), root / "estimates" / "corrected_contrast.csv")
    split, judged = perception_frames(therapists)
    write_estimates(split, root / "estimates" / "one_with_many.csv")
    write_estimates(judged, root / "estimates" / "truth_and_bias.csv")
    explained = [row for model in EXPLAINED for row in _explained_rows(model, outcome_rater, therapists)]
    write_estimates(estimates_frame(explained), root / "estimates" / "explained.csv")


def _model_rows(
    analysis: str, model: str, engine: str, outcome_rater: str, therapists: int
) -> Iterable[dict]:
    """Write the coefficients of one model, joint and with single raters, and its variances."""
    terms = ["Intercept", "severity_first"] + ([] if model.startswith("early") else ["time"])
    terms += ["outcome_before"] if "lag" in model else []
    for number, term in enumerate(terms):
        yield (
            _base(analysis, model, None, outcome_rater, therapists)
            | interval_row(0.5 + number, 0.2, engine, model)
            | {
                "row_id": f"{model}.unique.{term}",
                "estimand": "unique",
                "term": term,
            }
        )
    for level in levels_of(model):
        for rater, coefficient in COEFFICIENTS.items():
            for estimand in ("unique",) if engine == "nutpie" else ("unique", "total"):
                term = f"alliance_{rater}_{level}"
                yield (
                    _base(analysis, model, level, outcome_rater, therapists)
                    | interval_row(coefficient * (1.2 if estimand == "total" else 1.0), 0.25, engine, model)
                    | {
                        "row_id": f"{model}.{estimand}.{rater}.{term}",
                        "estimand": estimand,
                        "rater": rater,
                        "term": term,
                    }
                )
    if engine == REML:
        yield from _repeated_coefficients(analysis, model, outcome_rater, therapists)
    for number, term in enumerate(("r2_t(f1)", "r2_t(f)", "r2_t(fvm)") if engine == "nutpie" else ()):
        yield (
            _base(analysis, model, None, outcome_rater, therapists)
            | interval_row(0.1 + 0.1 * number, 0.02, engine, model)
            | {"row_id": f"{model}.unique.{term}", "estimand": "unique", "term": term}
        )
    symbol = "sd" if engine == "nutpie" else "var"
    for term in (f"{symbol}(client: Intercept)", f"{symbol}(residual)"):
        numbers = (
            interval_row(3.5, 0.1, engine) if engine == "nutpie" else {"engine": engine, "estimate": 12.5}
        )
        yield (
            _base(analysis, model, None, outcome_rater, therapists)
            | numbers
            | {"row_id": f"{model}.unique.{term}", "estimand": "unique", "term": term}
        )


def _contrast_rows(model: str, engine: str, outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write the contrast of one model: coefficients, D, D with uncertain SDs and |β_C| − |β_T|."""
    standardised = {rater: COEFFICIENTS[rater] * STANDARD_DEVIATIONS[rater] for rater in COEFFICIENTS}
    for level in levels_of(model):
        base = _base("contrast", model, level, outcome_rater, therapists)
        prefix = f"{model}.{engine}.{level}"
        refused = level == "between_therapist" and therapists < 10
        if refused:
            yield base | {
                "row_id": f"{prefix}.difference",
                "engine": engine,
                "estimand": "unique",
                "term": "difference",
                "rater": "client",
                "rater_b": "therapist",
                "status": "not_established",
                "reason": f"{therapists} therapists are fewer than the 10 that a claim needs",
            }
            continue
        for estimand in ("unique",) if engine == "nutpie" else ("unique", "total"):
            for rater, value in standardised.items():
                yield (
                    base
                    | interval_row(value, 0.12, engine)
                    | {
                        "row_id": f"{prefix}.{estimand}.{rater}",
                        "estimand": estimand,
                        "rater": rater,
                        "term": "coefficient_standardised",
                    }
                )
            difference = standardised["client"] - standardised["therapist"]
            sizes = abs(standardised["client"]) - abs(standardised["therapist"])
            pair = {"estimand": estimand, "rater": "client", "rater_b": "therapist"}
            for term, value, error in (
                ("difference", difference, 0.15),
                ("difference_sd_uncertain", difference, 0.17),
                ("absolute_difference", sizes, 0.15),
            ):
                if (engine, term) == ("nutpie", "difference_sd_uncertain"):
                    continue
                resampled = estimand == "total" or term == "difference_sd_uncertain"
                numbers = (
                    bootstrap_row(value, error) if resampled else interval_row(value, error, engine, model)
                )
                row = base | numbers | pair | {"row_id": f"{prefix}.{estimand}.{term}", "term": term}
                yield row | ({"role": "secondary"} if term == "difference_sd_uncertain" else {})
        if engine == REML:
            pair = {"estimand": "unique", "rater": "client", "rater_b": "therapist", "term": "difference"}
            if not model.startswith("hybrid_lag"):
                yield base | robust_row(difference, 0.19) | pair | {"row_id": f"{prefix}.difference.CR2"}
            if model in AUTOREGRESSIVE:
                repeated = autoregressive_row(difference + 0.05, 0.16, model)
                yield base | repeated | pair | {"row_id": f"{prefix}.difference.ar1"}


def _repeated_coefficients(analysis: str, model: str, outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write the alliance coefficients of a joint model again: cluster-robust, and with AR(1) residuals."""
    for level in levels_of(model):
        base = _base(analysis, model, level, outcome_rater, therapists)
        for rater, coefficient in COEFFICIENTS.items():
            term = f"alliance_{rater}_{level}"
            row = base | {"estimand": "unique", "rater": rater, "term": term}
            row_id = f"{model}.unique.{rater}.{term}"
            if not model.startswith("hybrid_lag"):
                yield row | robust_row(coefficient, 0.3) | {"row_id": f"{row_id}.CR2"}
            if model in AUTOREGRESSIVE:
                yield row | autoregressive_row(coefficient, 0.26, model) | {"row_id": f"{row_id}.ar1"}
    if model in AUTOREGRESSIVE:
        base = _base(analysis, model, "residual", outcome_rater, therapists)
        row = base | autoregressive_row(0.31, 0.03, model)
        blank = dict.fromkeys(("std_error", "se_kind", "df", "df_method", "statistic", "p_value"))
        row |= blank | {"ci_kind": "wald_z", "term": "phi(residual)", "estimand": "unique"}
        yield row | {"row_id": f"{model}.unique.phi.ar1"}


def _explained_rows(model: str, outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write the parts of the variance of one model, and what the raters share out among them."""
    levels = levels_of(model)
    symbols = [f"{number}" for number, _ in enumerate(levels, start=1)]
    parts: list[tuple[str | None, str, float]] = [
        *((None, f"r2_t(f{symbol})", 0.10 * int(symbol)) for symbol in symbols),
        *((None, f"r2_t(v{pair})", 0.02) for pair in (("12",) if "within_client" in levels else ())),
        *((None, f"r2_t(m{symbol})", 0.15) for symbol in symbols[1:]),
        *((None, f"r2_t({sums})", share) for sums, share in (("f", 0.4), ("m", 0.25), ("fvm", 0.66))),
        *((level, f"r2_{symbol}(f{symbol})", 0.3) for level, symbol in zip(levels, symbols, strict=True)),
        *(
            (level, term, share)
            for level in (None, *levels)
            for term, share in (
                ("unique(client)", 0.031),
                ("unique(therapist)", 0.004),
                ("common(client, therapist)", -0.002),
                ("general(client)", 0.03),
                ("general(therapist)", 0.003),
            )
        ),
    ]
    for level, term, share in parts:
        base = _base("explained", model, level, outcome_rater, therapists)
        base |= {"role": "secondary", "estimand": "unique", "term": term}
        base["rater"] = term[7:-1] if term.startswith("unique") else None
        established = level != "between_therapist" or therapists >= 10
        reason = {"status": "not_established", "reason": f"{therapists} therapists are too few"}
        yield (
            base
            | bootstrap_row(share, 0.01)
            | {"row_id": f"{model}.unique.{level}.{term}"}
            | ({} if established else reason)
        )


def factor_rows(outcome_rater: str = "client", therapists: int = 24) -> Iterable[dict]:
    """Write fit of one factor, and of three that are not told apart."""
    for rater in ("client", "therapist"):
        for model, status in (("one_factor", "ok"), ("correlated_factors", "not_established")):
            base = _base("factor_structure", model, None, outcome_rater, therapists) | {
                "rater": rater,
                "engine": "fiml",
            }
            base |= {"status": status, "reason": None if status == "ok" else "a correlation of one"}
            key = f"factor_structure.{rater}.{model}"
            test = {"estimate": 120.4, "statistic": 120.4, "df": 108.0, "p_value": 0.2}
            yield base | test | {"row_id": f"{key}.chi_square", "term": "chi_square"}
            for term, value in (("cfi", 0.998), ("rmsea", 0.01), ("bic", 103169.9)):
                yield base | {"row_id": f"{key}.{term}", "term": term, "estimate": value}
            for name, level in (("within", "within_client"), ("between", "between_client_pooled")):
                own = {"row_id": f"{key}.srmr.{name}", "term": "srmr", "level": level, "estimate": 0.02}
                yield base | own
        base = _base("factor_structure", "bifactor", None, outcome_rater, therapists) | {
            "rater": rater,
            "engine": "fiml",
        }
        refusal = {"status": "refused", "reason": "no maximum was found", "term": "solution"}
        yield base | refusal | {"row_id": f"factor_structure.{rater}.bifactor.solution"}


def part_rows(outcome_rater: str = "client", therapists: int = 24) -> Iterable[dict]:
    """Write the contrast on each part, and of the parts of each rater: only the task counts."""
    model = "hybrid_three_level"
    base = _base("alliance_parts", model, None, outcome_rater, therapists) | {
        "estimand": "unique",
        "role": "secondary",
    }
    for scale, value in (("goal", -0.2), ("task", -0.5), ("bond", -0.1), ("cognitive", -0.4)):
        for level in ("within_client", "between_client"):
            own = base | {"scale": scale, "level": level}
            key = f"alliance_parts.{scale}.{model}.{level}"
            for rater, size in (("client", -0.6), ("therapist", -0.6 - value)):
                named = {"row_id": f"{key}.{rater}", "rater": rater, "term": "coefficient_standardised"}
                yield own | named | {"estimate": size}
            named = {
                "row_id": f"{key}.client.therapist.difference",
                "rater": "client",
                "rater_b": "therapist",
            }
            bounds = {"estimate": value, "ci_low": value - 0.3, "ci_high": value + 0.3}
            yield own | named | bounds | {"term": "difference"}
    for rater, value in (("client", -0.4), ("therapist", 0.1)):
        key = f"alliance_parts.{rater}.cognitive_against_emotional.{model}.within_client"
        own = base | {"rater": rater, "level": "within_client"}
        for part, size in (("cognitive", -0.5), ("emotional", -0.5 - value)):
            named = {"row_id": f"{key}.{part}.coefficient_standardised", "term": "coefficient_standardised"}
            yield own | named | {"scale": part, "estimate": size}
        named = {"row_id": f"{key}.cognitive.emotional.difference", "term": "difference", "rater_b": rater}
        bounds = {"estimate": value, "ci_low": value - 0.3, "ci_high": value + 0.3}
        yield own | named | bounds | {"scale": "cognitive against emotional"}


def corrected_rows(outcome_rater: str = "client", therapists: int = 24) -> Iterable[dict]:
    """Write the contrast without and with correction: within clients it does not hold once it is fair."""
    model = "hybrid_three_level"
    base = _base("corrected_contrast", model, None, outcome_rater, therapists)
    base |= {"engine": "errors_in_variables", "estimand": "unique", "role": "sensitivity"}
    for name, place, value in (
        ("client", "client", 0.8),
        ("therapist", "therapist", 0.7),
        ("severity", None, 0.78),
    ):
        own = {"term": "reliability", "rater": place, "scale": "total" if place else name, "estimate": value}
        yield (
            base
            | own
            | {"row_id": f"corrected_contrast.{model}.{name}.reliability", "level": "within_client"}
        )
    pair = {"rater": "client", "rater_b": "therapist", "level": "within_client"}
    named = {"row_id": f"corrected_contrast.{model}.error_correlation", "term": "error_correlation"}
    yield base | pair | named | {"estimate": 0.02, "ci_low": -0.01, "ci_high": 0.05}
    for level in ("within_client", "between_client", "between_therapist"):
        for version, fair in (
            ("uncorrected", 0.0),
            ("corrected_0", 0.25),
            ("corrected_0.1", 0.3),
            ("corrected_0.2", 0.35),
        ):
            key = f"corrected_contrast.{model}.{level}.{version}"
            for rater, value in (("client", -0.6), ("therapist", -0.2 - fair)):
                own = {"row_id": f"{key}.{rater}", "rater": rater, "level": level, "estimate": value}
                yield base | own | {"term": "coefficient_standardised"}
            numbers = {"estimate": -0.4 + fair, "ci_low": -0.7 + fair, "ci_high": -0.1 + fair}
            yield (
                base | pair | {"row_id": f"{key}.difference", "level": level, "term": "difference"} | numbers
            )


def reliability_rows(outcome_rater: str = "client", therapists: int = 24) -> Iterable[dict]:
    """Write the reliability of both raters' alliance: the therapist's is lower within clients."""
    levels = {"within_client": "within_client", "between_client": "between_client_pooled", "session": None}
    for rater, within in (("client", 0.8), ("therapist", 0.7)):
        base = _base("reliability", "two_level_one_factor", None, outcome_rater, therapists)
        base |= {"rater": rater, "engine": "fiml", "role": "secondary", "means": "latent", "lag": None}
        values = {"within_client": within, "between_client": 0.92, "session": 0.89}
        for name, value in values.items():
            own = {"level": levels[name], "estimate": value}
            named = {"row_id": f"reliability.{rater}.omega_{name}", "term": f"omega_{name}"}
            bounds = {"std_error": 0.01, "ci_low": value - 0.02, "ci_high": value + 0.02, "ci_level": 0.95}
            yield base | own | named | bounds | {"ci_kind": "monte_carlo", "n_draws": 1000}
            yield base | own | {"row_id": f"reliability.{rater}.alpha_{name}", "term": f"alpha_{name}"}
        for term, value in (
            ("alpha_pooled", 0.9),
            *((f"mean_reliability_{n}", 1 - 0.4 / n) for n in (1, 3, 5, 10)),
            *((f"generalisability_{n}", 1 - 0.5 / n) for n in (1, 3, 5, 10)),
            ("generalisability_change", 0.66),
        ):
            yield base | {"row_id": f"reliability.{rater}.{term}", "term": term, "estimate": value}
        for scale in ("goal", "task", "bond"):
            for name, value in values.items():
                own = {
                    "level": levels[name],
                    "estimate": value - 0.1,
                    "scale": scale,
                    "term": f"omega_{name}",
                }
                bounds = {
                    "std_error": 0.02,
                    "ci_low": value - 0.14,
                    "ci_high": value - 0.06,
                    "ci_level": 0.95,
                }
                yield base | own | bounds | {"row_id": f"reliability.{rater}.{scale}.omega_{name}"}
        for term, value in (("therapist_mean_reliability", 0.5), ("therapist_mean_reliability_10", 0.4)):
            own = {
                "level": "between_therapist",
                "estimate": value,
                "ci_low": value - 0.3,
                "ci_high": value + 0.2,
            }
            yield base | own | {"row_id": f"reliability.{rater}.{term}", "term": term}
        fit = {"estimate": 0.03, "statistic": 121.4, "df": 108.0, "p_value": 0.18}
        yield base | fit | {"row_id": f"reliability.{rater}.rmsea", "term": "rmsea"}


def _panel_base(model: str, outcome_rater: str, therapists: int) -> dict[str, Any]:
    """The columns that rows of a panel model share."""
    role = "primary" if model == PANEL_MODELS[0] else "secondary" if model in PANEL_MODELS else "sensitivity"
    return _base("dynamics", model, "within_client", outcome_rater, therapists) | {
        "engine": "fiml",
        "role": role,
        "estimand": "unique",
        "means": "manifest" if model == "dynamic_panel" else "latent",
        "detrended": "linear" if "trends" in model else "none",
        "missing_method": "all clients; full-information maximum likelihood (MAR)",
        "sample": "all clients with a value in the sessions used; first 9 sessions",
        "n_therapists": therapists,
    }


def panel_interval(estimate: float, std_error: float) -> dict[str, Any]:
    """The columns of an estimate of a panel model."""
    row = interval_row(estimate, std_error, "fiml")
    return row | {"ci_kind": "wald_z", "se_kind": "observed", "df": math.inf, "df_method": "normal"}


def panel_contrasts(outcome_rater: str = "client", therapists: int = 24) -> list[dict[str, Any]]:
    """The contrast in each panel model, in versions of the primary one, and where severity after leaving is shifted."""
    rows = []
    for number, model in enumerate((*PANEL_MODELS, *PANEL_VERSIONS)):
        base = _panel_base(model, outcome_rater, therapists)
        values = {"client": -0.6 + 0.005 * number, "therapist": -0.25}
        difference = values["client"] - values["therapist"]
        pair = {"term": "difference", "rater": "client", "rater_b": "therapist"}
        own = {"row_id": f"dynamics.{model}.difference", **pair}
        if model.endswith("unplanned_ending"):
            rows.append(base | own | {"status": "refused", "reason": "12 clients are too few"})
            continue
        rows.append(base | panel_interval(difference, 0.14) | own)
        if "after_leaving" in model:
            continue
        rows += [
            base
            | panel_interval(value, 0.1)
            | {"row_id": f"dynamics.{model}.{rater}", "term": "coefficient_standardised", "rater": rater}
            for rater, value in values.items()
        ]
        if model in PANEL_MODELS:
            robust = {"row_id": f"dynamics.{model}.difference.CR1", "se_kind": "CR1", "role": "sensitivity"}
            rows.append(base | panel_interval(difference, 0.15) | own | robust)
    return rows


def _panel_paths(outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write paths of the panel models, of every kind."""
    columns = ("severity", "alliance_client", "alliance_therapist")
    for model in PANEL_MODELS:
        base = _panel_base(model, outcome_rater, therapists)
        labels = [(f"{effect} ~ {cause}[-1]", cause, 1) for effect in columns for cause in columns]
        labels += [(f"{effect} ~ severity", "severity", 0) for effect in columns[1:]]
        for number, (label, cause, lag) in enumerate(labels):
            rater = cause.rpartition("_")[2] if cause.startswith("alliance") else None
            named = {"row_id": f"dynamics.{model}.{label}", "term": label, "rater": rater, "lag": lag}
            yield base | panel_interval(0.1 * number - 0.4, 0.05) | named


def _latent_rows(model: str, outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write the contrast with latent means: D is larger once error within clients is allowed for."""
    corrected = model == "joint_corrected"
    for level in levels_of("hybrid_three_level"):
        refused = level == "between_therapist" and therapists < 10
        status = {"status": "not_established", "reason": f"{therapists} therapists are too few"}
        base = _base("measurement_error", model, level, outcome_rater, therapists)
        base |= {"role": "sensitivity", "means": "latent", "reliability_corrected": corrected}
        base |= {"estimand": "unique", "n_sessions": 1383, "n_therapists": therapists}
        base |= status if refused else {}
        growth = 1.25 if corrected and level == "within_client" else 1.0
        standardised = {
            rater: growth * COEFFICIENTS[rater] * STANDARD_DEVIATIONS[rater] for rater in COEFFICIENTS
        }
        quantities = [
            *(
                ("coefficient_standardised", rater, None, value, 0.12)
                for rater, value in standardised.items()
            ),
            *(("latent_sd", rater, None, value, 0.02) for rater, value in STANDARD_DEVIATIONS.items()),
            ("difference", "client", "therapist", standardised["client"] - standardised["therapist"], 0.25),
            ("latent_correlation", "client", "therapist", 0.3, 0.05),
        ]
        if corrected and level == "within_client":
            quantities += [
                ("reliability", "client", None, 0.8, 0.03),
                ("reliability", "therapist", None, 0.7, 0.05),
            ]
        for term, rater, rater_b, value, error in quantities:
            named = {"term": term, "rater": rater, "rater_b": rater_b}
            row_id = ".".join(filter(None, (model, level, rater, rater_b, term)))
            yield base | interval_row(value, error, "nutpie") | named | {"row_id": row_id}


def diagnostics(model: str = "hybrid_three_level") -> pd.DataFrame:
    """The residuals of a model as a table of numbers."""
    at = [-1.5 + 0.5 * step for step in range(7)]
    term = "alliance_{}_within_client".format
    rows: list[tuple[str, str, str | None, float | None, float]] = [
        *(("residual_quantile", "residual", None, value, 0.9 * value) for value in at),
        *(("residual_by_fitted", "residual", None, 10 + value, 0.05 * value) for value in at),
        *(("residual_sd_by_fitted", "residual", None, 10 + value, 0.9) for value in at),
        *(("residual_sd_by_slot", "residual", None, float(slot), 0.8 + 0.02 * slot) for slot in range(1, 9)),
        *(("residual_autocorrelation", "residual", None, float(lag), 0.3 / lag) for lag in (1, 2, 3)),
        ("residual_skewness", "residual", None, None, 0.12),
        ("residual_kurtosis", "residual", None, None, -0.21),
        ("residual_beyond_4", "residual", None, 4.0, 2.0),
        *(
            ("effect_quantile", "client", name, value, 1.1 * value)
            for name in ("Intercept", term("client"), term("therapist"))
            for value in at
        ),
        ("effect_skewness", "client", "Intercept", None, 0.4),
        ("effect_kurtosis", "client", "Intercept", None, 0.9),
    ]
    columns = ["diagnostic", "level", "term", "at", "value"]
    table = pd.DataFrame(rows, columns=columns).assign(model=model, n_rows=1204, n_units=120)
    return table[["model", *columns, "n_rows", "n_units"]]


def _agreement_rows(outcome_rater: str, therapists: int) -> Iterable[dict]:
    """Write correlations at three levels and a mean difference."""
    for level, estimate in (("within_client", 0.21), ("between_client", 0.36), ("between_therapist", 0.1)):
        yield (
            _base("agreement", "agreement", level, outcome_rater, therapists)
            | interval_row(estimate, 0.08, "moments")
            | {
                "row_id": f"correlation.{level}",
                "term": "correlation",
                "rater": "client",
                "rater_b": "therapist",
            }
        )
    for level, estimate in (("within_client", 1.1), ("between_client", 1.6)):
        named = {
            "row_id": f"limit.{level}",
            "term": "limit_of_agreement",
            "rater": "client",
            "rater_b": "therapist",
        }
        base = _base("agreement", "differences", level, outcome_rater, therapists)
        yield base | interval_row(estimate, 0.05, "multilevel") | named | {"unit": "scale points"}
    yield (
        _base("agreement", "agreement", None, outcome_rater, therapists)
        | interval_row(0.42, 0.06, "moments")
        | {
            "row_id": "mean_difference",
            "term": "mean_difference",
            "rater": "client",
            "rater_b": "therapist",
            "unit": "points of the rating",
        }
    )


def _truth_rows() -> Iterable[dict]:
    """Write the truth of the three-level models' contrasts."""
    for model in ("hybrid_three_level", "early_three_level"):
        for level in levels_of(model):
            shared = {"row_id": f"{model}.{level}", "model": model, "estimand": "unique", "level": level}
            shared |= {"unit": "CORE-10 points", "pseudo_true_se": 0.01, "note": ""}
            for rater, value in (("client", -0.5), ("therapist", -0.2)):
                yield shared | {
                    "rater": rater,
                    "rater_b": None,
                    "term": "coefficient_standardised",
                    "generating_value": value,
                    "pseudo_true_value": value * 0.9,
                }
            yield shared | {
                "rater": "client",
                "rater_b": "therapist",
                "term": "difference",
                "generating_value": -0.3,
                "pseudo_true_value": -0.27,
            }


def _write_tables(root: Path, outcome_rater: str, therapists: int) -> None:
    """Write every table and JSON file."""
    for name, rows in _tables(therapists).items():
        pd.DataFrame(rows).to_csv(root / "tables" / f"{name}.csv", index=False)
    diagnostics().to_csv(root / "tables" / "diagnostics_multilevel.csv", index=False)
    design_context(outcome_rater).write(root / "tables" / "design.json")
    answer = {
        "claim": "From one session to the next, the client's view predicts more improvement than the therapist's.",
        "uncertainty": "The next severity is 0.39 points lower (D = −0.39, interval −0.69 to −0.09).",
        "status": "ok",
        "verdict": "client",
        "level": "within_client",
        "model": "hybrid_three_level",
        "engine": REML,
        "estimate": -0.39,
        "ci_low": -0.69,
        "ci_high": -0.09,
        "ci_level": 0.95,
        "notes": ["The study file overrides the model behind this answer: hybrid_three_level."],
    }
    (root / "tables" / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def design_context(outcome_rater: str = "client", *, commensurate: bool = True) -> AnalysisContext:
    """What the design stage resolved: both rate after the session, severity is taken before it."""
    return AnalysisContext(
        study="example",
        outcome="severity_core_10_client",
        outcome_rater=outcome_rater,
        unit="CORE-10 points",
        raters=("client", "therapist"),
        has_therapists=True,
        lag_unit="attended",
        timing={"alliance_client": "after", "alliance_therapist": "after", "severity": "before"},
        timing_sentences=(
            "Alliance rated by the client after a session is paired with severity taken before the next held session.",
            "Alliance rated by the therapist after a session is paired with severity taken before "
            "the next held session.",
        ),
        commensurate=commensurate,
        trend=("time",),
        hybrid_covariates=(),
        early_covariates=(),
        early_outcome="end",
        early_fixed_session=None,
        adjustment="first severity, log trend over sessions",
        warnings=("The severity form asks about the last 7 days: not temporally separated.",),
    )


def _tables(therapists: int) -> dict[str, list[dict[str, Any]]]:
    """The CSV tables, by name."""
    return {
        "data_flow_ingest": [
            {"order": 1}
            | _flow("ingest", "read", "Rows read from the session file", 1500, 150, therapists + 1, 0),
            {"order": 2}
            | _flow(
                "ingest",
                "therapist_change",
                "Clients who changed therapist left out",
                1400,
                140,
                therapists,
                100,
            ),
        ],
        "data_flow_design": [
            _flow("hybrid", "held", "Held sessions", 1400, 140, therapists, 0),
            _flow(
                "hybrid",
                "outcome",
                "Pairs of an alliance rating and the next severity",
                1204,
                120,
                therapists,
                196,
            ),
            _flow(
                "early",
                "early",
                "Clients with an early alliance and an end assessment",
                110,
                110,
                therapists,
                30,
            ),
        ],
        "announcements": [
            {
                "kind": "flipped",
                "file": "sessions",
                "column": "ors",
                "n": 1400,
                "text": "ORS turned: higher = worse",
            },
            {
                "kind": "unverified_key",
                "file": "",
                "column": "wai_sr",
                "n": "",
                "text": "wai-sr: key from memory",
            },
        ],
        "measures": [
            _measure("alliance_client", "alliance", "client", "wai-sr", "WAI-SR (client)", 1, 5, "after"),
            _measure(
                "alliance_therapist", "alliance", "therapist", "wai-sr", "WAI-SR (therapist)", 1, 5, "after"
            ),
            _measure("severity_core_10_client", "severity", "client", "core-10", "CORE-10", 0, 40, "before"),
        ],
        "checks_ingest": [
            {
                "stage": "ingest",
                "name": "in_range",
                "passed": True,
                "value": 0,
                "limit": 0,
                "text": "All in range",
            },
        ],
        "checks_multilevel": [
            {
                "stage": "multilevel",
                "name": "tolerance",
                "passed": False,
                "value": 0.25,
                "limit": 0.1,
                "text": "Gradient too large",
            },
            *(
                {
                    "stage": "multilevel",
                    "name": f"convergence.hybrid_three_level.{raters}",
                    "passed": True,
                    "value": gradient,
                    "limit": "",
                    "text": f"hybrid_three_level.{raters}: a maximum of the likelihood was reached; largest derivative "
                    f"of the deviance {gradient:.1e}, 1204 rows",
                }
                for raters, gradient in (("joint", 2.1e-6), ("client", 3.8e-11))
            ),
            {
                "stage": "multilevel",
                "name": "autocorrelation.hybrid_three_level.joint",
                "passed": False,
                "value": 41.2,
                "limit": 3.84,
                "text": "hybrid_three_level.joint: residuals one slot apart correlate by 0.31 with AR(1) residuals; "
                "likelihood ratio 41.2 on 1 degree of freedom (p < .001), AIC 39.2 lower than with independent "
                "residuals",
            },
            {
                "stage": "multilevel",
                "name": "rope",
                "passed": "",
                "value": "",
                "limit": "",
                "text": "No ROPE given",
            },
        ],
        "checks_second_opinion": [
            {
                "stage": "second_opinion",
                "name": f"second_opinion.{model}.joint",
                "passed": True,
                "value": distance,
                "limit": 0.001,
                "text": f"{model}.joint (client: random intercept and random slope of alliance_client_within_client, "
                f"{correlated}): statsmodels MixedLM differs by {distance:.1e} standard errors at most",
            }
            for model, correlated, distance in (
                ("hybrid_three_level", "uncorrelated", 1.8e-9),
                ("hybrid_lag_three_level", "uncorrelated", 3.9e-7),
                ("hybrid_two_level", "correlated", 2.6e-8),
            )
        ],
        "checks_dynamics": [
            {
                "stage": "dynamics",
                "name": f"convergence.{model}.joint",
                "passed": True,
                "value": "",
                "limit": "",
                "text": f"{model}.joint: a maximum of the likelihood was reached, and the solution is proper",
            }
            for model in PANEL_MODELS
        ],
        "fit_dynamics": [
            {
                "model": model,
                "sample": "all clients with a value in the sessions used",
                "n_waves": 9,
                "n_clients": 120,
                "n_parameters": 97,
                "log_likelihood": -5120.5,
                "chi_square": 401.1,
                "df": 308,
                "p_value": 0.0003,
                "cfi": 0.98,
                "tli": 0.98,
                "rmsea": 0.032,
                "rmsea_low": 0.022,
                "rmsea_high": 0.04,
                "srmr": 0.045,
                "aic": 10435.0,
                "bic": 10705.4,
            }
            for model in PANEL_MODELS
        ],
        "constraints_dynamics": [
            {
                "model": PANEL_MODELS[0],
                "constraint": constraint,
                "chi_square": 45.2,
                "df": 15,
                "p_value": 0.04,
                "aic_difference": 15.2,
                "bic_difference": -20.4,
                "reason": "",
            }
            for constraint in ("paths are the same in all sessions", "clients have no trends of their own")
        ],
        "bias": list(_bias_rows()),
        "scales_multilevel": _scale_rows("hybrid_three_level"),
        "scales_early": _scale_rows("early_three_level"),
        "description": [
            {
                "column": column,
                "construct": column.split("_")[0],
                "rater": column.split("_")[-1],
                "n_ratings": 1204,
                "n_clients": 120,
                "mean": mean,
                "sd": 0.8,
                "sd_within_client": 0.5,
                "sd_between_client": 0.6,
                "sd_between_therapist": 0.3,
                "icc_client": 0.44,
                "icc_therapist": 0.08,
                "share_missing": 0.11,
                "share_at_top": 0.04,
                "low": 1.2,
                "high": 5.0,
            }
            for column, mean in (
                ("alliance_client", 3.9),
                ("alliance_therapist", 3.5),
                ("severity_core_10_client", 14.2),
            )
        ],
        "sample": [
            {"quantity": name, "value": value}
            for name, value in (
                ("n_clients", 120),
                ("n_therapists", therapists),
                ("n_sessions_held", 1404),
                ("sessions_per_client_tenth_fewest", 3),
                ("sessions_per_client_median", 9.5),
                ("sessions_per_client_tenth_most", 24),
                ("therapists_with_one_client", 2),
            )
        ],
        "participants": [
            {
                "level": "client",
                "variable": "gender",
                "category": "woman",
                "n": 80,
                "share": 0.67,
                "suppressed": False,
                "categories": 1,
            },
            {
                "level": "client",
                "variable": "gender",
                "category": "other",
                "n": "",
                "share": "",
                "suppressed": True,
                "categories": 1,
            },
        ],
        "withheld": [{"table": "missingness", "n_withheld": 4, "text": "session numbers that few reached"}],
        "disclosure_risk": [
            {"risk": "k_anonymity", "value": None, "limit": 10, "passed": False, "text": "A small group."},
            {"risk": "k_of_therapists", "value": 12, "limit": 10, "passed": True, "text": "None."},
            {"risk": "l_diversity", "value": None, "limit": 2, "passed": None, "text": "Nothing is kept."},
        ],
        "release": [
            {
                "stage": "release",
                "name": "small_cells",
                "passed": True,
                "value": 0.0,
                "limit": 0.0,
                "text": "No cell.",
            },
            {
                "stage": "release",
                "name": "dominance",
                "passed": None,
                "value": None,
                "limit": None,
                "text": "None.",
            },
        ],
        "missingness": [
            {
                "column": column,
                "rater": column.split("_")[-1],
                "session": session,
                "n_held": 120 - 5 * session,
                "n_rated": 100 - 5 * session,
                "share_rated": 0.95 - 0.02 * session - drop,
            }
            for column, drop in (
                ("alliance_client", 0),
                ("alliance_therapist", 0.1),
                ("severity_core_10_client", 0.05),
            )
            for session in range(1, 13)
        ],
        "trajectories": [
            {
                "column": column,
                "session": session,
                "n": 120 - 5 * session,
                "mean": start + slope * math.log(session),
                "sd": spread,
                "q25": start + slope * math.log(session) - 0.7 * spread,
                "q75": start + slope * math.log(session) + 0.7 * spread,
            }
            for column, start, slope, spread in (
                ("alliance_client", 3.7, 0.2, 0.6),
                ("alliance_therapist", 3.4, 0.15, 0.5),
                ("severity_core_10_client", 18.0, -2.5, 5.0),
            )
            for session in range(1, 13)
        ],
        "collinearity": [
            {
                "analysis": analysis,
                "level": level,
                "rater": "client",
                "rater_b": "therapist",
                "correlation": correlation,
                "variance_inflation": 1 / (1 - correlation**2),
            }
            for analysis, level, correlation in (
                ("hybrid", "within_client", 0.21),
                ("early", "between_client", 0.36),
            )
        ],
        "prior_sensitivity": [
            {
                "model": model,
                "quantity": quantity,
                "prior": prior,
                "likelihood": 0.12,
                "diagnosis": "does not depend on the priors"
                if prior < 0.05
                else "priors and data pull it in different directions",
            }
            for model in ("hybrid_three_level", "early_three_level")
            for quantity, prior in (("D between_client", 0.004), ("sd(residual)", 0.01), ("time", 0.09))
        ],
        "bayesian_comparison": [
            {
                "study": "example",
                "analysis": "hybrid",
                "model": "hybrid_three_level",
                "raters": raters,
                "left_out": left_out,
                "n_groups": groups,
                "elpd": -3200.0 + difference,
                "se": 41.0,
                "p_loo": 9.0,
                "reference": "client+therapist",
                "elpd_diff": difference,
                "se_diff": 2.5,
                "weight": weight,
                "largest_k": 0.61,
                "k_threshold": 0.7,
                "n_refitted": 1,
                "sampler": "collapsed",
                "fallback": None,
                "decision": decision if left_out == "client" else "no decision",
                "status": "ok",
                "reason": None,
            }
            for left_out, groups in (("client", 120), ("therapist", 24))
            for raters, difference, weight, decision in (
                ("client+therapist", 0.0, 0.9, "reference"),
                ("client", -3.1, 0.1, "not distinguished"),
                ("therapist", -21.4, 0.0, "predicts worse"),
            )
        ],
        "reporting_checklist": [
            {"model": model, "step": step, "item": item, "met": met, "evidence": evidence}
            for model in ("hybrid_three_level", "early_three_level")
            for step, item, met, evidence in (
                ("2 Computation", "chains have converged", True, "largest R-hat 1.002"),
                ("5 Sensitivity", "other priors tried", False, "power scaling stands in"),
            )
        ],
        "predictive": [
            {
                "check": check,
                "statistic": statistic,
                "text": text,
                "observed": observed,
                "q05": observed - width,
                "q50": observed + 0.1 * width,
                "q95": observed + width,
                "p_value": 0.4,
                "model": model,
            }
            for model in ("hybrid_three_level", "early_three_level")
            for check, width in (("prior", 20.0), ("posterior", 0.5))
            for statistic, text, observed in (
                ("mean", "mean outcome", 14.2),
                ("between", "standard deviation of the unit means", 4.1),
                ("floor", "share at the floor", 0.02),
            )
        ],
    }


def _bias_rows() -> Iterable[dict[str, Any]]:
    """Write what each estimator finds in simulated studies: the panel model with trends is right."""
    for process in ("trends", "no_trends", "trends_and_error"):
        for scenario, truth in (("none", 0.0), ("equal", 0.0), ("different", -0.3)):
            for number, estimator in enumerate(BIAS_ESTIMATORS):
                for quantity in ("client", "therapist", "difference"):
                    yield {
                        "n_clients": 120,
                        "n_waves": 9,
                        "n_values": 3000,
                        "process": process,
                        "scenario": scenario,
                        "estimator": estimator,
                        "quantity": quantity,
                        "truth": truth,
                        "n_replications": 200,
                        "n_converged": 198,
                        "bias": 0.02 * (7 - number),
                        "bias_mcse": 0.005,
                        "rmse": 0.11,
                        "rmse_mcse": 0.004,
                        "coverage": 0.94,
                        "coverage_mcse": 0.017,
                        "rejected": 0.06 if truth == 0.0 else 0.7,
                        "rejected_mcse": 0.02,
                        "reason": "",
                    }


def _scale_rows(model: str) -> list[dict[str, Any]]:
    """The standard deviations of a model's levels."""
    return [
        {
            "level": level,
            "rater": rater,
            "measure": f"alliance_{rater}",
            "sd": sd,
            "degrees_of_freedom": 96,
            "model": model,
            "estimand": "unique",
            "raters": "client+therapist",
        }
        for level in levels_of(model)
        for rater, sd in STANDARD_DEVIATIONS.items()
    ]


def _flow(stage: str, step: str, text: str, rows: int, clients: int, therapists: int, removed: int) -> dict:
    """One row of the data flow."""
    return {
        "stage": stage,
        "step": step,
        "text": text,
        "n_rows": rows,
        "n_clients": clients,
        "n_therapists": therapists,
        "n_removed": removed,
    }


def _measure(
    column: str, construct: str, rater: str, instrument: str, title: str, low: float, high: float, timing: str
) -> dict[str, Any]:
    """One row of the table of measures."""
    return {
        "measure": column,
        "column": column,
        "construct": construct,
        "rater": rater,
        "instrument": instrument,
        "title": title,
        "low": low,
        "high": high,
        "direction": "higher_is_better" if construct == "alliance" else "higher_is_worse",
        "flipped": False,
        "timing": timing,
        "recall_days": "",
        "verified": instrument != "wai-sr",
        "form": instrument,
        "from": "items",
        "scale_unit": "points",
        "n_rated": 1204,
        "source": "",
    }
