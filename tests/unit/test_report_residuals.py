"""Residuals and random effects: the figure of six panels, and what is said beside it."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_example import SETTINGS, diagnostics, write_example

from alliance_outcome.report.figure_style import figure_style
from alliance_outcome.report.figures import draw_figures
from alliance_outcome.report.figures_residuals import draw_residuals
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.residual_text import effect_table, residual_sentences


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(write_example(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def drawing(results):
    with figure_style():
        return draw_residuals(results, SETTINGS)


def panels(drawing):
    return {axes.get_title(loc="left"): axes for axes in drawing.canvas.axes}


def test_every_diagnostic_has_its_panel(drawing):
    assert list(panels(drawing)) == [
        "Residuals: normal?",
        "Client effects: normal?",
        "Mean of residuals",
        "Spread of residuals",
        "Spread over time",
        "Autocorrelation",
    ]
    assert [axes.get_xlabel() for axes in drawing.canvas.axes][-2:] == ["Held session", "Held sessions apart"]


def test_a_panel_draws_the_numbers_of_the_table(drawing):
    at, value = panels(drawing)["Autocorrelation"].lines[-1].get_data()
    assert list(at) == [1.0, 2.0, 3.0]
    assert np.allclose(value, [0.3, 0.15, 0.1])
    shown = [text.get_text() for text in panels(drawing)["Autocorrelation"].texts]
    assert shown == ["0.30", "0.15", "0.10"]


def test_client_effects_are_labelled_directly_in_their_colours(drawing):
    axes = panels(drawing)["Client effects: normal?"]
    assert [text.get_text() for text in axes.texts] == [
        "– intercept",
        "● slope, client",
        "■ slope, therapist",
    ]
    lines = {line.get_color() for line in axes.lines if len(line.get_xdata()) > 2}
    assert lines == {text.get_color() for text in axes.texts}


def test_labels_keep_clear_of_the_lines_and_inside_their_panel(drawing):
    axes = panels(drawing)["Client effects: normal?"]
    renderer = FigureCanvasAgg(drawing.canvas).get_renderer()
    drawing.canvas.draw(renderer)
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert axes.bbox.x0 < box.x0
        assert box.x1 < axes.bbox.x1
        for line in axes.lines:
            points = axes.transData.transform(np.column_stack(line.get_data()))
            assert not any(box.contains(*point) for point in points)


def test_chance_reaches_further_with_fewer_rows(results):
    class Fewer(Results):
        diagnostics = results.diagnostics.assign(n_rows=results.diagnostics["n_rows"] / 4)

    def reach(study):
        with figure_style():
            axes = panels(draw_residuals(study, SETTINGS))["Autocorrelation"]
        return max(segment[1, 1] for segment in axes.collections[0].get_segments())

    assert reach(results) == pytest.approx(1.96 / np.sqrt(1204))
    assert reach(Fewer(results.root)) == pytest.approx(2 * reach(results))


def test_panels_without_numbers_are_left_out(results):
    class Small(Results):
        diagnostics = results.diagnostics[results.diagnostics["diagnostic"] != "effect_quantile"]

    with figure_style():
        shown = panels(draw_residuals(Small(results.root), SETTINGS))
    assert len(shown) == 5
    assert "Client effects: normal?" not in shown


def test_a_refused_model_has_no_residuals(tmp_path):
    root = write_example(tmp_path)
    diagnostics().iloc[:0].to_csv(root / "tables" / "diagnostics_multilevel.csv", index=False)
    figure = next(each for each in draw_figures(root, root / "figures", SETTINGS) if each.name == "residuals")
    assert not figure.drawn
    assert "no residuals to show" in figure.alt
    assert residual_sentences(Results(root).diagnostics, "attended") == ""
    assert effect_table(Results(root).diagnostics).rows == ()


def test_sentences_say_what_the_numbers_are(results, drawing):
    text = residual_sentences(results.diagnostics, "week")
    assert text == (
        "Residuals have a skewness of 0.12 and an excess kurtosis of −0.21; a normal distribution has 0 and 0. 2 of "
        "1,204 residuals lie beyond four residual standard deviations. Over time their standard deviation ranges from "
        "0.82 to 0.96 of the model's residual standard deviation. Residuals 1, 2 and 3 weeks apart correlate by 0.30, "
        "0.15 and 0.10; under the model they would not correlate."
    )
    assert "Residuals 1, 2 and 3 held sessions apart correlate" in drawing.alt
    none = results.diagnostics.assign(value=0.0)
    assert "None of 1,204 residuals lie" in residual_sentences(none, "week")


def test_effects_of_units_have_their_shape_in_a_table(results):
    table = pd.concat(
        [
            results.diagnostics,
            pd.DataFrame(
                {
                    "diagnostic": ["effect_skewness", "effect_kurtosis"],
                    "level": "therapist",
                    "term": "Intercept",
                    "value": [0.65, -0.19],
                    "n_units": 25,
                }
            ),
        ]
    )
    assert effect_table(table).rows == (
        ("Clients: intercept", "120", "0.40", "0.90"),
        ("Therapists: intercept", "25", "0.65", "−0.19"),
    )
