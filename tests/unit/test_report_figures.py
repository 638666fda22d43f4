"""Figures: drawn alike from like numbers, with words for those who cannot see them."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from report_example import SETTINGS, write_example

from alliance_outcome.analyses.estimates import read_estimates, write_estimates
from alliance_outcome.report.captions import CAPTIONS, caption_rst
from alliance_outcome.report.figure_files import INDEX_NAME, TRUTH_INDEX_NAME, read_figures
from alliance_outcome.report.figure_style import RATER_COLOURS, direct_labels, figure_style, rater_style
from alliance_outcome.report.figures import FIGURE_NAMES, draw_figures, draw_truth_figure
from alliance_outcome.report.figures_timing import draw_timing
from alliance_outcome.report.inline_svg import inline_svg
from alliance_outcome.report.inputs import Results

RST_FOLDER = Path(__file__).parents[2] / "workflow" / "report"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_example(tmp_path_factory.mktemp("study"))


def draw_all(study, out):
    """Draw the figures of a simulated study."""
    return [*draw_figures(study, out, SETTINGS), *draw_truth_figure(study, out, SETTINGS)]


@pytest.fixture(scope="module")
def figures(study):
    return {figure.name: figure for figure in draw_all(study, study / "figures")}


def texts(path):
    tree = ET.parse(path)  # noqa: S314 - our own file
    return [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_every_figure_is_drawn_and_nothing_else_is_written(study, figures):
    assert tuple(figures) == (*FIGURE_NAMES, "truth")
    assert all(figure.drawn for figure in figures.values())
    written = {path.name for path in (study / "figures").iterdir()}
    assert written == {f"{name}.svg" for name in figures} | {INDEX_NAME, TRUTH_INDEX_NAME}


def test_equal_numbers_give_equal_bytes(study, figures, tmp_path):
    for figure in draw_all(study, tmp_path):
        assert figure.path.read_bytes() == figures[figure.name].path.read_bytes()


def test_the_users_own_matplotlib_settings_change_nothing(study, figures, tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path"}):
        drawn = draw_all(study, tmp_path)
    assert [figure.path.read_bytes() for figure in drawn] == [
        figure.path.read_bytes() for figure in figures.values()
    ]


def test_text_stays_text_without_a_date(figures):
    content = figures["contrast"].path.read_text(encoding="utf-8")
    shown = texts(figures["contrast"].path)
    assert "−0.39 [−0.69, −0.09]" in shown
    assert "Within clients" in shown
    assert "<dc:date>" not in content


def test_contrast_shows_each_level_and_engine_with_both_raters(figures):
    shown = texts(figures["contrast"].path)
    for words in ("REML: D", "Bayesian: D"):
        assert shown.count(words) == 3
    assert sum("client-rated" in text for text in shown) == 6
    assert sum("therapist-rated" in text for text in shown) == 6


def test_a_level_that_is_not_established_shows_its_reason_and_no_interval(tmp_path):
    root = write_example(tmp_path, therapists=8)
    figure = draw_figures(root, root / "figures", SETTINGS)[0]
    shown = " ".join(texts(figure.path))
    after = shown.split("Between therapists")[1]
    assert "8 therapists are fewer than the 10" in after
    assert "[" not in after
    assert "not established" in figure.alt


@pytest.mark.parametrize(
    "name", ["symptom severity", "global psychological distress (short form)", "Gesamtbelastungsschweregrad"]
)
def test_names_in_the_timing_diagram_keep_clear_of_their_symbols(study, name):
    with figure_style():
        drawing = draw_timing(Results(study), SETTINGS.model_copy(update={"outcome_name": name}))
        renderer = FigureCanvasAgg(drawing.canvas).get_renderer()
        (axes,) = drawing.canvas.axes
        boxes = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
        first = min(axes.transData.transform((line.get_xdata()[0], 0))[0] for line in axes.lines)
    label = next(box for text, box in boxes.items() if "".join(text.split()) == "".join(name.split()))
    assert label.x1 < first
    labels = sorted((box for text, box in boxes.items() if "\n" in text), key=lambda box: box.y0)
    assert all(upper.y0 > lower.y1 for lower, upper in itertools.pairwise(labels))
    assert min(box.y0 for box in boxes.values()) > 0
    assert max(box.y1 for box in boxes.values()) < drawing.canvas.bbox.height


def test_predictive_checks_are_shown_model_by_model(figures):
    shown = texts(figures["predictive"].path)
    assert shown.count("Session to session, three levels") == 2
    assert "SD of client means: 4.10" in shown
    assert "SD of therapist means: 4.10" in shown


def test_a_study_with_one_rater_shows_the_coefficients_of_that_rater(tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "multilevel.csv"
    rows = read_estimates(path)
    write_estimates(rows[(rows["estimand"] == "total") & (rows["rater"] == "client")], path)
    for name in ("early", "bayesian"):
        none = root / "estimates" / f"{name}.csv"
        write_estimates(read_estimates(none).iloc[:0], none)
    figures = {figure.name: figure for figure in draw_figures(root, root / "figures", SETTINGS)}
    assert figures["coefficients"].drawn
    assert "● client-rated alliance" in texts(figures["coefficients"].path)


def test_direct_labels_stay_apart_and_below_the_top():
    canvas = Canvas()
    axes = canvas.add_subplot()
    axes.set_ylim(0, 1)
    direct_labels(axes, [(1, 0.99, "a", "k"), (1, 0.98, "b", "k"), (1, 0.97, "c", "k")], gap=0.1)
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["a"] == pytest.approx(1.0)
    assert heights["a"] - heights["b"] == pytest.approx(0.1)
    assert heights["b"] - heights["c"] == pytest.approx(0.1)


def test_truth_only_where_the_study_is_simulated(tmp_path):
    root = write_example(tmp_path, simulated=False)
    assert "truth" not in {figure.name for figure in draw_figures(root, root / "figures", SETTINGS)}


def test_a_figure_without_data_says_so(tmp_path):
    root = write_example(tmp_path)
    table = root / "tables" / "trajectories.csv"
    pd.read_csv(table).iloc[:0].to_csv(table, index=False)
    figure = next(
        each for each in draw_figures(root, root / "figures", SETTINGS) if each.name == "trajectories"
    )
    assert not figure.drawn
    assert "at least 10 clients" in figure.alt


def test_the_index_brings_figures_back(study, figures):
    assert read_figures(study / "figures") == figures


def test_captions_say_how_to_read_and_when_they_mislead(figures):
    for figure in figures.values():
        assert min(len(figure.caption.read), len(figure.caption.made), len(figure.caption.misleads)) > 40
        assert len(figure.alt) > 40
    assert "Intervals are 95\N{NO-BREAK SPACE}%." in figures["contrast"].caption.made


@pytest.mark.parametrize("name", CAPTIONS)
def test_snakemakes_captions_are_the_same(name):
    assert (RST_FOLDER / f"{name}.rst").read_text(encoding="utf-8") == caption_rst(name)


def test_a_rater_keeps_its_colour_in_every_study():
    assert rater_style("therapist", ["therapist"]) == rater_style(
        "therapist", ["client", "therapist", "observer"]
    )
    colours = {
        rater_style(rater, ["client", "therapist", "observer"])[0]
        for rater in ("client", "therapist", "observer")
    }
    assert colours == set(RATER_COLOURS[:3])


def test_inline_svg_is_described_and_shares_no_identifier(figures):
    markup = [str(inline_svg(figure)) for figure in figures.values()]
    identifiers = [name for text in markup for name in re.findall(r'\bid="([^"]+)"', text)]
    assert len(identifiers) == len(set(identifiers))
    for text in markup:
        root = ET.fromstring(text)  # noqa: S314 - our own markup
        described = root.get("aria-labelledby").split()
        assert root.get("role") == "img"
        assert [root.find(f".//*[@id='{name}']").text for name in described]
        referenced = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
        assert referenced <= set(identifiers)
        assert "width" not in root.attrib
