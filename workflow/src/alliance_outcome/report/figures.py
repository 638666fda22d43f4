"""Draw the figures of a report and keep their captions beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from alliance_outcome.report.captions import CAPTIONS
from alliance_outcome.report.drawing import Drawing
from alliance_outcome.report.figure_files import INDEX_NAME, TRUTH_INDEX_NAME, Figure, write_index
from alliance_outcome.report.figure_style import figure_style, save_svg
from alliance_outcome.report.figures_agreement import draw_agreement
from alliance_outcome.report.figures_bias import draw_bias
from alliance_outcome.report.figures_checks import draw_predictive, draw_truth
from alliance_outcome.report.figures_contrast import draw_coefficient_forest, draw_contrast_forest
from alliance_outcome.report.figures_description import draw_missingness, draw_trajectories
from alliance_outcome.report.figures_dynamics import draw_dynamics
from alliance_outcome.report.figures_explained import draw_explained
from alliance_outcome.report.figures_measurement_error import draw_measurement_error
from alliance_outcome.report.figures_perception import draw_perception
from alliance_outcome.report.figures_reliability import draw_reliability
from alliance_outcome.report.figures_residuals import draw_residuals
from alliance_outcome.report.figures_response_surface import draw_response_surface
from alliance_outcome.report.figures_timing import draw_timing
from alliance_outcome.report.forest import Row, draw_forest
from alliance_outcome.report.inputs import Results
from alliance_outcome.settings import ReportSettings

_DRAWERS: dict[str, Callable[[Results, ReportSettings], Drawing]] = {
    "contrast": draw_contrast_forest,
    "trajectories": draw_trajectories,
    "missingness": draw_missingness,
    "agreement": draw_agreement,
    "reliability": draw_reliability,
    "response_surface": draw_response_surface,
    "perception": draw_perception,
    "timing": draw_timing,
    "coefficients": draw_coefficient_forest,
    "explained": draw_explained,
    "residuals": draw_residuals,
    "predictive": draw_predictive,
    "dynamics": draw_dynamics,
    "bias": draw_bias,
    "measurement_error": draw_measurement_error,
    "truth": draw_truth,
}


#: Figures of every study; that of the truth is only drawn where the truth is known.
FIGURE_NAMES = tuple(name for name in _DRAWERS if name != "truth")


def draw_figures(results: Path, out: Path, settings: ReportSettings) -> list[Figure]:
    """Draw the figures that every finished study has.

    Parameters
    ----------
    results : Path
        The study's folder.
    out : Path
        Folder that receives ``<name>.svg`` and ``figures.json``.
    settings : ReportSettings
        What the study and its outcome are called.

    Returns
    -------
    list of Figure
        In the report's order.

    Raises
    ------
    StudyError
        If a table of the study is missing.

    Notes
    -----
    Equal tables give equal bytes: no date is written and identifiers are derived from content.
    """
    return _draw_all(FIGURE_NAMES, results, out, settings, INDEX_NAME)


def draw_truth_figure(results: Path, out: Path, settings: ReportSettings) -> list[Figure]:
    """Draw the figure of a simulated study's truth; ``truth.json`` holds its caption. See :func:`draw_figures`."""
    return _draw_all(("truth",), results, out, settings, TRUTH_INDEX_NAME)


def _draw_all(
    names: tuple[str, ...], results: Path, out: Path, settings: ReportSettings, index: str
) -> list[Figure]:
    """Draw figures and write their index."""
    study = Results(results)
    out.mkdir(parents=True, exist_ok=True)
    with figure_style():
        drawn = [_draw(name, study, out, settings) for name in names]
    write_index(drawn, out, index)
    return drawn


def _draw(name: str, study: Results, out: Path, settings: ReportSettings) -> Figure:
    """Draw one figure, or a figure that says why there is none."""
    drawing = _DRAWERS[name](study, settings)
    caption = CAPTIONS[name].with_detail(drawing.detail)
    path = out / f"{name}.svg"
    save_svg(drawing.canvas or _notice(drawing.alt), path)
    return Figure(name, caption.title, caption, path, drawing.alt, drawing.canvas is not None)


def _notice(reason: str) -> Canvas:
    """Make a figure that holds nothing but the reason for its emptiness."""
    canvas = draw_forest([Row(reason, "note")], "", reference=None, limits=(0.0, 1.0))
    canvas.axes[0].set_axis_off()
    return canvas
