"""What the report says of response surfaces: the verdict of the run, signs of severity, no more than was found."""

import re

import pytest
import study_example
from report_example import SETTINGS
from response_surface_example import CONGRUENCE, MAIN_EFFECTS, early_rows, hybrid_rows

from alliance_outcome.analyses.estimates import write_estimates
from alliance_outcome.analyses.response_surface import response_surfaces
from alliance_outcome.report.blocks import Badges, Bullets, FigureBlock, TableBlock, Text
from alliance_outcome.report.captions import CAPTIONS
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.figure_style import figure_style, save_svg
from alliance_outcome.report.figures_response_surface import draw_response_surface
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.response_surface_text import share_sentence
from alliance_outcome.report.sections.response_surface import build, surface_table

NAME = "response_surface"


def write_study(root, b, **changes):
    """Write what the report reads of the analysis."""
    context = study_example.context(**changes)
    tables = response_surfaces(hybrid_rows(1, b), early_rows(1, b), context)
    for folder in ("tables", "estimates"):
        (root / folder).mkdir()
    write_estimates(tables.estimates, root / "estimates" / f"{NAME}.csv")
    for kind in ("conditions", "checks", "grid"):
        getattr(tables, kind).to_csv(root / "tables" / f"{kind}_{NAME}.csv", index=False)
    context.write(root / "tables" / "design.json")
    return Results(root)


def section(results):
    """Draw the figure and build the section."""
    path = results.root / f"{NAME}.svg"
    with figure_style():
        drawing = draw_response_surface(results, SETTINGS)
        if drawing.canvas is not None:
            save_svg(drawing.canvas, path)
    caption = CAPTIONS[NAME]
    figure = Figure(NAME, caption.title, caption, path, drawing.alt, drawing.canvas is not None)
    return build(
        Facts(
            results,
            {NAME: figure},
            SETTINGS,
            {},
            None,
            1,
            "tiny",
            simulated=True,
            versions={},
            benchmarks=None,
        )
    )


def kinds(found, kind):
    return [block for block in found.blocks if isinstance(block, kind)]


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("agreeing"), CONGRUENCE)


@pytest.fixture(scope="module")
def rising(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("rising"), MAIN_EFFECTS)


@pytest.fixture(scope="module")
def incommensurate(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("incommensurate"), CONGRUENCE, commensurate=False)


def test_the_verdict_comes_from_the_run(agreeing, rising):
    told = " ".join(block.text for block in kinds(section(agreeing), Text))
    assert "Within clients: the conditions of a congruence effect hold together" in told
    assert "change together go with less severity at the next session" in told
    told = " ".join(block.text for block in kinds(section(rising), Text))
    assert "it was not shown that agreement of the raters goes with less severity" in told
    assert "hold together:" not in told


def test_each_level_has_its_conditions_as_badges(agreeing):
    groups = kinds(section(agreeing), Badges)
    assert [group.title for group in groups] == [
        "Conditions of a congruence effect within clients",
        "Conditions of a congruence effect between clients of one therapist",
    ]
    assert [sum(badge.n for badge in group.badges) for group in groups] == [6, 6]
    assert all(re.search(r"\[.+\]", badge.text) for group in groups for badge in group.badges)


def test_the_table_speaks_of_severity(agreeing):
    estimates = agreeing.estimates(NAME)
    table = surface_table(estimates, "points", ("client", "therapist"))
    rows = {cells[0].partition(",")[0]: cells for cells in table.groups[0].rows}
    own = estimates[estimates["role"] != "sensitivity"].query("level == 'within_client'").set_index("term")
    assert own.loc["a4", "estimate"] < 0
    assert rows["−a4"][1] == f"{-own.loc['a4', 'estimate']:.2f}"
    assert rows["−a4"][3] == f"[{-own.loc['a4', 'ci_high']:.2f}, {-own.loc['a4', 'ci_low']:.2f}]"
    assert rows["p11"][1] == f"{own.loc['p11', 'estimate']:.2f}"
    assert rows["p11"][5] == "–"


def test_an_axis_without_direction_has_no_numbers_and_no_line(rising, agreeing):
    table = surface_table(rising.estimates(NAME), "points", ("client", "therapist"))
    p11 = next(row for row in table.groups[0].rows if row[0].startswith("p11"))
    assert p11[1] == "not established"
    assert set(p11[2:]) == {"–"}
    assert any("which way the principal axes point" in note for note in table.notes)
    assert "leave open which way" in draw_response_surface(rising, SETTINGS).alt
    assert "leave open which way" not in draw_response_surface(agreeing, SETTINGS).alt


def test_the_figure_keeps_its_text_and_is_drawn_alike(agreeing, tmp_path):
    with figure_style():
        for name in ("first", "second"):
            save_svg(draw_response_surface(agreeing, SETTINGS).canvas, tmp_path / f"{name}.svg")
    content = (tmp_path / "first.svg").read_text(encoding="utf-8")
    assert content == (tmp_path / "second.svg").read_text(encoding="utf-8")
    for text in ("agreement", "first principal axis", "Therapist-rated alliance"):
        assert re.search(rf"<text[^>]*> *{text} *</text>", content)
    # Two maps fit a telephone's page.
    assert len(content) < 200_000


def test_a_refusal_is_all_there_is_without_commensurate_forms(incommensurate):
    found = section(incommensurate)
    assert [block.text for block in found.blocks] == [
        "Agreement and outcome: not applicable: the raters' forms differ, so that equal ratings do not mean the same."
    ]
    assert "forms differ" in draw_response_surface(incommensurate, SETTINGS).alt


def test_shares_and_cautions_are_told(agreeing):
    found = section(agreeing)
    assert "the two agree in" in share_sentence(agreeing.estimates(NAME))
    (cautions,) = kinds(found, Bullets)
    assert any("change together, not that they give the same number" in text for text in cautions.items)
    assert len(kinds(found, TableBlock)) == len(kinds(found, FigureBlock)) == 1


def test_groups_too_small_are_passed_over(agreeing):
    estimates = agreeing.estimates(NAME)
    estimates.loc[estimates["term"] == "in_agreement", "status"] = "refused"
    assert share_sentence(estimates) == ""
