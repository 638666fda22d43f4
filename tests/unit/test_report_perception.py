"""What the report says of how client and therapist see the same alliance."""

from types import SimpleNamespace

import pandas as pd
import pytest
from perception_frames import perception_frames
from report_example import SETTINGS, write_example

from alliance_outcome.report.captions import CAPTIONS
from alliance_outcome.report.figure_files import Figure
from alliance_outcome.report.figure_style import figure_style, save_svg
from alliance_outcome.report.figures_perception import draw_perception
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.perception_text import (
    WARNINGS,
    judgement_sentences,
    reciprocity_sentences,
    refusals,
    split_sentences,
)
from alliance_outcome.report.sections.perception import (
    build,
    judgement_table,
    reciprocity_table,
    split_table,
)


@pytest.fixture(scope="module")
def frames():
    return perception_frames()


def test_the_split_is_said_for_each_rater(frames):
    client, therapist = split_sentences(frames[0])
    assert client.startswith(
        "Of the variance in the client's ratings, 8\N{NO-BREAK SPACE}% [3, 13] lies between therapists"
    )
    assert "client and relationship together" in client
    assert "46\N{NO-BREAK SPACE}% [41, 51] lies between clients of one therapist" in therapist


def test_reciprocities_say_what_they_show(frames):
    session, dyadic, generalised = reciprocity_sentences(frames[0])
    assert session.startswith("Correlation of sessions is 0.27 [0.07, 0.47]: a session")
    assert dyadic.endswith("as a tendency.")
    assert "the data do not say whether a therapist who reports better alliances" in generalised


def test_a_correlation_below_zero_is_the_opposite(frames):
    table = frames[0].copy()
    own = table["term"] == "dyadic_reciprocity"
    table.loc[own, ["estimate", "ci_low", "ci_high"]] = [-0.4, -0.6, -0.2]
    assert "the opposite of" in list(reciprocity_sentences(table))[1]


def test_few_therapists_are_said_everywhere():
    split, judged = perception_frames(therapists=6)
    reason = "6 therapists are too few"
    assert all(reason in text for text in split_sentences(split))
    assert list(reciprocity_sentences(split))[2] == f"Generalised reciprocity is not established: {reason}."
    assert split_table(split).groups[0].rows[0][2:] == (reason, "0.28", "not established", "[3, 13]")
    assert sum(reason in row for row in judgement_table(judged).rows) == 4


def test_bias_has_a_direction_and_a_size(frames):
    client, therapist = judgement_sentences(frames[1])
    assert client.startswith("Clients rate 0.70 [0.54, 0.86] scale points higher than therapists")
    assert therapist.startswith("Therapists rate 0.60 [0.44, 0.76] scale points lower than clients")
    assert "goes up by 0.012 [0.008, 0.016] at the same rating of the other" in therapist
    assert "the therapist rates it 0.25 [0.17, 0.33] points above it" in therapist


def test_a_bias_around_zero_is_not_one(frames):
    table = frames[1].copy()
    own = (table["term"] == "directional_bias") & (table["rater"] == "client")
    table.loc[own, ["estimate", "ci_low", "ci_high"]] = [0.05, -0.1, 0.2]
    assert "no directional bias is shown, 0.05 [−0.10, 0.20]" in next(judgement_sentences(table))


def test_forms_that_differ_leave_tracking_in_standard_deviations():
    split, judged = perception_frames(commensurate=False)
    text = next(judgement_sentences(judged))
    assert "scale points" not in text
    assert "one standard deviation within clients above" in text
    rows = judgement_table(judged).groups[0].rows
    assert rows[0][2] == "not applicable: the raters' forms differ"
    assert "not applicable: the raters' forms differ" in reciprocity_table(split).rows[-1]


def test_tables_hold_the_numbers(frames):
    split, judged = frames
    assert [group.title for group in split_table(split).groups] == [
        "Client's ratings (with the therapist's)",
        "Therapist's ratings (with the client's)",
    ]
    therapist = split_table(split).groups[1].rows[0]
    assert therapist[:2] == ("Therapist", "therapist as perceiver: how a therapist sees all clients")
    assert therapist[-1] == "[15, 25]"
    assert reciprocity_table(split).rows[1][-2:] == ("0.45", "[0.25, 0.65]")
    assert judgement_table(judged).rows[1][3:] == ("0.012", "0.002", "[0.008, 0.016]", "120.5", ".012")


def test_a_refusal_of_all_is_said():
    row = {"term": None, "level": None, "estimate": float("nan"), "status": "refused", "reason": "no scores"}
    assert refusals(pd.DataFrame([row]), pd.DataFrame([row])) == ["No scores."]
    assert refusals(*perception_frames(commensurate=False)) == []


@pytest.mark.parametrize("therapists", [24, 6])
def test_the_figure_shows_parts_and_correlations(tmp_path, therapists):
    results = Results(write_example(tmp_path, therapists=therapists))
    with figure_style():
        drawing = draw_perception(results, SETTINGS)
        save_svg(drawing.canvas, tmp_path / "perception.svg")
    text = (tmp_path / "perception.svg").read_text(encoding="utf-8")
    assert "Client + relationship: share of variance" in text
    assert "Dyadic reciprocity: 0.45 [0.25, 0.65]" in drawing.alt
    assert ("not established" in text) == (therapists < 10)


def test_the_section_has_everything(tmp_path):
    results = Results(write_example(tmp_path))
    figure = Figure("perception", "", CAPTIONS["perception"], tmp_path / "none.svg", "in words", drawn=False)
    section = build(SimpleNamespace(results=results, figures={"perception": figure}))
    kinds = [block.kind for block in section.blocks]
    assert kinds.count("table") == 3
    assert kinds.count("figure") == 1
    assert section.blocks[-1].items == WARNINGS


def test_one_rater_has_no_section_to_speak_of():
    frames = perception_frames()
    results = SimpleNamespace(
        raters=["client"], estimates=lambda name: frames[0 if name == "one_with_many" else 1]
    )
    section = build(SimpleNamespace(results=results, figures={}))
    assert [block.text for block in section.blocks] == [
        "Alliance is rated by the client only, so there are no two views to compare."
    ]
