"""Render the report: one HTML file that opens offline, reads on a telephone and prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alliance_outcome.report.blocks import Section
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.figure_files import read_figures
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.references import Reference, cited
from alliance_outcome.report.sections import (
    agreement,
    alliance_parts,
    answer,
    bayesian,
    bias,
    corrected_contrast,
    data_flow,
    description,
    diagnostics,
    disclosure,
    dynamics,
    explained,
    factor_structure,
    limits,
    measurement_error,
    methods,
    models,
    perception,
    reliability,
    response_surface,
    software,
    truth,
)
from alliance_outcome.settings import ReportSettings, SamplerSettings

#: Sections in the report's order; one that returns None does not apply to the study.
SECTION_BUILDERS = (
    answer.build,
    data_flow.build,
    description.build,
    agreement.build,
    perception.build,
    reliability.build,
    factor_structure.build,
    response_surface.build,
    dynamics.build,
    bias.build,
    models.build,
    explained.build,
    diagnostics.build,
    bayesian.build,
    alliance_parts.build,
    corrected_contrast.build,
    measurement_error.build,
    truth.build,
    limits.build,
    disclosure.build,
    methods.build,
    software.build,
    software.build_appendix,
)


def render_report(
    results: Path,
    figures: Path,
    settings: ReportSettings,
    *,
    simulated: bool,
    versions: dict[str, str],
    benchmarks: pd.DataFrame | None,
    context: Mapping[str, Any],
) -> str:
    """Render the report of a finished study.

    Parameters
    ----------
    results : Path
        The study's folder; nothing below its ``data`` is read.
    figures : Path
        Folder that :func:`~alliance_outcome.report.figures.draw_figures` wrote.
    settings : ReportSettings
        What the study and its outcome are called.
    simulated : bool
        Whether the data are simulated; every page then says so.
    versions : dict
        Software versions by package.
    benchmarks : DataFrame or None
        Columns ``rule, seconds, max_rss_mb``: what the workflow's rules cost.
    context : mapping
        ``study_name``; ``study``, the study file (or its design, decision and Bayesian sections) as plain types;
        ``sampler``, the run's sampler settings; ``seed``, the run's seed.

    Returns
    -------
    str
        A complete HTML document without any external reference that a browser would load.

    Raises
    ------
    StudyError
        If a table or figure of the study is missing.
    """
    facts = Facts(
        results=Results(results),
        figures=read_figures(figures),
        settings=settings,
        study=context["study"],
        sampler=SamplerSettings.model_validate(context["sampler"]),
        seed=context["seed"],
        study_name=context["study_name"],
        simulated=simulated,
        versions=versions,
        benchmarks=benchmarks,
    )
    sections = [section for build in SECTION_BUILDERS if (section := build(facts)) is not None]
    environment = _environment()
    return environment.get_template("report.html.j2").render(
        settings=settings,
        study_name=facts.study_name,
        simulated=simulated,
        css=Markup(environment.get_template("report.css").render()),  # noqa: S704 - our own file
        sections=sections,
        references=section_references(sections),
    )


def section_references(sections: list[Section]) -> list[Reference]:
    """List the sources that the texts of the sections cite."""
    texts: list[str] = []
    for section in sections:
        for block in section.blocks:
            if block.kind == "text":
                texts.append(block.text)
            elif block.kind == "terms":
                texts += [meaning for _, meaning in block.items]
            elif block.kind == "table":
                texts += block.table.notes
    return cited(texts)


def _environment() -> Environment:
    """Make the template environment: everything is escaped, and a misspelt name is an error."""
    return Environment(
        loader=PackageLoader("alliance_outcome.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
