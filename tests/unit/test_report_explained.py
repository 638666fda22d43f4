"""Explained variance: what its shares are called, which are shown, and that nothing is clipped."""

import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas
from report_example import SETTINGS, write_example

from alliance_outcome.report.explained_shares import (
    is_listed,
    measure_label,
    share_text,
    shared_label,
    shown_models,
    speaking_rows,
)
from alliance_outcome.report.figure_style import figure_style
from alliance_outcome.report.figures_explained import draw_explained
from alliance_outcome.report.forest import Row, draw_forest_blocks
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.sections.explained import models_table, parts_table, shared_table, summary

THREE = ("within_client", "between_client", "between_therapist")
PERCENT = "\N{NO-BREAK SPACE}%"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return Results(write_example(tmp_path_factory.mktemp("study")))


@pytest.mark.parametrize(
    ("term", "levels", "label"),
    [
        ("r2_t(f)", THREE, "Fixed effects (marginal R²)"),
        ("r2_t(fvm)", THREE, "Fixed and random effects (conditional R²)"),
        ("r2_t(f1)", THREE, "Fixed effects, within clients"),
        ("r2_t(f3)", THREE, "Fixed effects, between therapists"),
        ("r2_t(f2)", THREE[1:], "Fixed effects, between therapists"),
        ("r2_t(v12)", THREE, "Random slopes of clients"),
        ("r2_t(m2)", THREE, "Random intercepts of clients"),
        ("r2_t(m3)", THREE, "Random intercepts of therapists"),
        ("r2_t(m2)", THREE[1:], "Random intercepts of therapists"),
        ("r2_1(f1)", THREE, "Fixed effects"),
        ("r2_w(fv)", THREE, "Fixed effects and random slopes"),
        ("r2_b(m2)", ("within_client", "between_client_pooled"), "Random intercepts of clients"),
    ],
)
def test_measures_are_named_by_the_levels_of_their_model(term, levels, label):
    assert measure_label(term, levels) == label


@pytest.mark.parametrize(
    ("term", "label"),
    [
        ("unique(client)", "unique to the client"),
        ("common(client, therapist)", "common to the client and the therapist"),
        (
            "common(client, therapist, co_therapist)",
            "common to the client, the therapist and the co therapist",
        ),
        ("general(therapist)", "average contribution of the therapist"),
    ],
)
def test_shared_parts_are_named_by_their_raters(term, label):
    assert shared_label(term) == label


def test_sums_that_would_repeat_parts_are_not_listed():
    def listed(term, level=None, levels=THREE):
        return is_listed({"term": term, "level": level}, levels)

    assert listed("r2_t(f1)")
    assert listed("r2_t(f)")
    assert not listed("r2_t(m)")
    assert not listed("r2_t(fv)")
    assert listed("r2_1(fv)", "within_client")
    assert not listed("unique(client)")
    # A model of one level: all its fixed effects are the marginal R².
    assert not listed("r2_t(f1)", levels=())


def test_shares_have_the_decimals_that_their_monte_carlo_error_allows():
    row = {
        "estimate": 0.0304,
        "ci_low": 0.0141,
        "ci_high": 0.0471,
        "mcse_ci_low": 0.001,
        "mcse_ci_high": 0.004,
    }
    assert share_text(row) == f"3.0{PERCENT} [1.4, 4.7]"
    assert share_text({**row, "mcse_ci_high": 0.02}) == f"3{PERCENT} [1, 5]"
    assert share_text({**row, "ci_low": None}) == f"3.0{PERCENT}"
    assert share_text({**row, "estimate": -0.004, "ci_low": -0.02}) == f"−0.4{PERCENT} [−2.0, 4.7]"


def test_the_models_shown_in_full_are_those_that_speak_for_a_level(results):
    shown = shown_models(results.explained, results.contrast, results.answer)
    assert shown == ["hybrid_three_level", "early_three_level"]
    without_contrast = results.contrast.iloc[:0]
    assert shown_models(results.explained, without_contrast, {}) == [
        "hybrid_three_level",
        "early_three_level",
    ]
    assert shown_models(results.explained.iloc[:0], results.contrast, results.answer) == []


def test_each_level_is_that_of_its_own_model(results):
    blocks = speaking_rows(results.explained, results.contrast, results.answer)
    models = {level: set(rows["model"]) for level, rows in blocks.items()}
    assert models == {
        "within_client": {"hybrid_three_level"},
        "between_client": {"early_three_level"},
        "between_therapist": {"early_three_level"},
    }
    assert all(len(rows) == 3 for rows in blocks.values())


def test_the_variance_of_the_only_level_is_the_total(results):
    pooled = results.contrast[results.contrast["level"] == "between_client_pooled"]
    own = results.explained["model"] == "early_three_level"
    explained = results.explained[own & results.explained["level"].isna()].assign(model="early_two_level")
    answer = {"level": "between_client_pooled", "model": "early_two_level"}
    (rows,) = speaking_rows(explained, pooled, answer).values()
    assert list(rows["term"]) == ["unique(client)", "unique(therapist)", "common(client, therapist)"]


def test_a_negative_common_part_is_shown_as_it_is(results):
    table = shared_table(results.explained, ["hybrid_three_level"])
    within = next(group for group in table.groups if group.title.endswith("of the variance within clients"))
    assert within.rows[2] == (
        "Common to the client and the therapist",
        f"−0.2{PERCENT}",
        "[−2.2, 1.8]",
    )
    text = summary(results.explained, "hybrid_three_level", "within_client")
    assert f"−0.2{PERCENT} [−2.2, 1.8] is common to the client and the therapist" in text


def test_the_summary_gives_both_r_squared(results):
    text = summary(results.explained, "early_three_level", None)
    assert text == (
        "Early alliance to end of therapy, three levels: fixed effects account for "
        f"40.0{PERCENT} [38.0, 42.0] of the variance of the outcome, fixed and random effects together for "
        f"66.0{PERCENT} [64.0, 68.0]."
    )
    assert summary(results.explained, "early_two_level", None) == ""


def test_parts_stand_under_the_variance_that_they_are_parts_of(results):
    table = parts_table(results.explained, ["hybrid_three_level"])
    titles = [group.title for group in table.groups]
    assert titles == [
        f"Session to session, three levels: of the {name}"
        for name in (
            "total variance",
            "variance within clients",
            "variance between clients of one therapist",
            "variance between therapists",
        )
    ]
    assert [row[1] for row in table.groups[0].rows] == ["f1", "f2", "f3", "v12", "m2", "m3", "f", "fvm"]


def test_every_model_has_its_r_squared(results):
    rows = models_table(results.explained).rows
    assert [row[0] for row in rows] == [
        "Session to session, three levels",
        "Session to session, two levels",
        "Early alliance to end of therapy, three levels",
    ]


def test_shares_that_are_not_established_are_not_shown(tmp_path):
    results = Results(write_example(tmp_path, therapists=8))
    table = shared_table(results.explained, ["early_three_level"])
    therapists = next(group for group in table.groups if group.title.endswith("between therapists"))
    assert {row[1:] for row in therapists.rows} == {("not established", "–")}
    with figure_style():
        drawing = draw_explained(results, SETTINGS)
    texts = [text.get_text() for axes in drawing.canvas.axes for text in axes.texts]
    assert texts[-1] == "Not established: 8 therapists are too few"
    last = drawing.canvas.axes[-1]
    assert len(last.lines) == 1
    assert not last.axison
    assert drawing.canvas.axes[-2].get_xlabel().startswith("% of")
    assert "between therapists: unique to the client not established" in drawing.alt


def test_the_figure_has_an_axis_for_each_level_and_says_its_numbers(results):
    with figure_style():
        drawing = draw_explained(results, SETTINGS)
    assert isinstance(drawing.canvas, Canvas)
    assert len(drawing.canvas.axes) == 3
    assert f"Within clients: unique to the client 3.1{PERCENT} [1.1, 5.1]" in drawing.alt
    assert drawing.detail == f"Intervals are 95{PERCENT}. They rest on 1,000 bootstrap samples."


def test_without_shares_the_figure_says_why(results):
    class Refused(Results):
        explained = results.explained.iloc[:2].assign(
            term="common(client, therapist)", status="refused", reason="collinear ratings", estimate=None
        )

    drawing = draw_explained(Refused(results.root), SETTINGS)
    assert drawing.canvas is None
    assert drawing.alt == "No variance could be shared out among raters: collinear ratings."


def test_blocks_of_a_forest_plot_do_not_overlap():
    blocks = [[Row("a", estimate=1.0, low=0.0, high=2.0)], [Row("b", estimate=90.0, low=50.0, high=99.0)]]
    with figure_style():
        canvas = draw_forest_blocks(blocks, "x")
    upper, lower = canvas.axes
    assert upper.get_position().y0 > lower.get_position().y1
    assert upper.get_xlim()[1] < 3 < lower.get_xlim()[1]
    assert [axes.get_xlabel() for axes in canvas.axes] == ["", "x"]


def test_nothing_is_listed_twice(results):
    parts = parts_table(results.explained, ["hybrid_three_level", "early_three_level"])
    cells = pd.DataFrame([(group.title, row[1]) for group in parts.groups for row in group.rows])
    assert not cells.duplicated().any()
