"""The calibration study as a page to read."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from alliance_outcome.analyses.calibration.designs import (
    CHAINS,
    DESIGNS,
    JOINT_RANKS,
    KEEP_EVERY,
    RANK_DRAWS,
    SEED,
)
from alliance_outcome.analyses.calibration.verdicts import sentences

_INTRODUCTION = """\
# Are the posteriors calibrated?

Written by `uv run snakemake calibrate --cores 2`, together with `ranks.csv` and `coverage.csv`, which have every number
in full.

**{verdict}**

The seed ({seed}), sizes, priors and numbers of data sets were fixed before the first run, and no quantity is left out.

## Ranks

Parameters come from the prior, data from the parameters; each parameter is then ranked among {draws} draws of its
posterior ({chains} chains, every {every}th draw), and so are D at each level and the likelihood of the data. If prior,
likelihood and sampler belong together, ranks are uniform. The figure shows by how much the distribution function of a
quantity's ranks differs from the uniform one. Its band is so wide that all quantities of all models together stay
inside in 99 of 100 such studies.

![Differences of the ranks' distribution functions from the uniform one, with their simultaneous band](ranks.svg)

- *Excess* is the largest difference, *p* Kolmogorov and Smirnov's; a band is what judges. ▲ marks a quantity outside.
- The multilevel model is sampled by the collapsed sampler; where it does not cover a posterior, NUTS takes over, as
  in a study. The joint model of severity and alliance is sampled by NUTS.
"""
_COVERAGE = """\
## Coverage of D at fixed true values

Equal-tailed 95 % intervals of D under the priors that follow from the outcome's range, as a study has them. The studies
and the true values are those of the [coverage study](../coverage/README.md) of the multilevel engine. *Width* is that
of the intervals, by that of normal ones with the standard deviation of the posterior means' errors. ▲ and ▼ mark a
coverage above and below the band: intervals that are too wide, and too narrow. A posterior that is calibrated over its
prior need not cover one fixed value exactly as often. With few therapists the prior of their standard deviation
(half-normal) is felt: it hardly lets the spread be zero, so that intervals between therapists are rather too wide.

| model | therapists | level | studies | coverage | bias | width | NUTS took over |
|---|---:|---|---:|---:|---:|---:|---:|
"""
_TITLES = {
    "hybrid": "Hybrid model",
    "early": "Early-alliance model",
    "autoregressive": "Hybrid model with AR(1) residuals",
    JOINT_RANKS.name: "Joint model of severity and alliance, with measurement error and missing values",
}


def calibration_page(ranks: pd.DataFrame, coverage: pd.DataFrame) -> str:
    """Write both tables in Markdown.

    Parameters
    ----------
    ranks, coverage : DataFrame
        See :func:`~alliance_outcome.analyses.calibration.verdicts.sentences`.

    Returns
    -------
    str
    """
    introduction = _INTRODUCTION.format(
        verdict=sentences(ranks, coverage)[1],
        seed=SEED,
        draws=CHAINS * RANK_DRAWS // KEEP_EVERY,
        chains=CHAINS,
        every=KEEP_EVERY,
    )
    return (
        "\n".join([introduction, *_rank_sections(ranks), _COVERAGE + "\n".join(_coverage_lines(coverage))])
        + "\n"
    )


def _rank_sections(ranks: pd.DataFrame) -> Iterator[str]:
    for name, part in ranks.groupby("design", sort=False):
        yield f"### {_TITLES[str(name)]}"
        yield ""
        yield (
            f"{DESIGNS[str(name)].simulations} data sets; NUTS took over in {part['fallbacks'].max()}; "
            f"largest R-hat of a coefficient {part['largest_r_hat'].max():.3f}."
        )
        yield ""
        yield "| quantity | mean rank | excess | p |"
        yield "|---|---:|---:|---:|"
        for row in part.to_dict("records"):
            mark = "" if row["inside"] else " ▲"
            quantity = row["quantity"].replace("_", " ")
            yield f"| {quantity}{mark} | {row['mean_rank']:.3f} | {row['excess']:.3f} | {row['p_value']:.3f} |"
        yield ""


def _coverage_lines(coverage: pd.DataFrame) -> Iterator[str]:
    marks = {"below": " ▼", "inside": "", "above": " ▲"}
    for row in coverage.to_dict("records"):
        share = f"{100.0 * row['coverage']:.1f} ± {100.0 * row['coverage_se']:.1f}{marks[row['position']]}"
        bias = f"{row['bias']:.3f} ± {row['bias_se']:.3f}".replace("-", "−")
        yield (
            f"| {_TITLES[row['analysis']]} | {row['therapists']} | {row['level'].replace('_', ' ')} | "
            f"{row['studies']:,} | {share} | {bias} | {row['sd_ratio']:.3f} | {row['fallbacks']} |"
        )
