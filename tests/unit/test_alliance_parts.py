"""Goal, task and bond in the place of the whole: planted effects of parts are found where they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import study_example
from report_example import write_example

from alliance_outcome.analyses.alliance_parts import StudyTables, part_contrasts
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.sections.alliance_parts import (
    part_sentences,
    part_table,
    rater_table,
    spread_sentence,
)
from alliance_outcome.settings import DesignSettings

PARTS = ("goal", "task", "bond")


def sessions(seed: int, n_therapists: int = 20, clients_each: int = 12, n_sessions: int = 7) -> pd.DataFrame:
    """Sessions in which severity follows the client's view of the task alone (-2 per point of the session before)."""
    rng = np.random.default_rng(seed)
    n_clients = n_therapists * clients_each
    client = np.repeat(np.arange(n_clients), n_sessions)
    table = pd.DataFrame(
        {
            "client": [f"C{each:04d}" for each in client],
            "therapist": [f"T{each:02d}" for each in client // clients_each],
            "occasion_kind": "session",
            "attendance": "attended",
            "session": pd.array(np.tile(np.arange(1, n_sessions + 1), n_clients), dtype="Int64"),
            "week": np.tile(np.arange(float(n_sessions)), n_clients),
        }
    )
    for rater in ("client", "therapist"):
        for part in PARTS:
            own = rng.normal(size=len(table)) + 0.5 * rng.normal(size=n_clients)[client]
            table[f"alliance_{rater}_{part}"] = 5 + 0.6 * own
        table[f"alliance_{rater}"] = table[[f"alliance_{rater}_{part}" for part in PARTS]].mean(axis=1)
    before = table.groupby("client")["alliance_client_task"].shift().fillna(5.0)
    table["severity"] = (
        20 - 2.0 * (before - 5) + 2.0 * rng.normal(size=n_clients)[client] + rng.normal(size=len(table))
    )
    end = (
        table.groupby("client").tail(1).assign(occasion_kind="end", session=pd.NA, attendance=None, week=20.0)
    )
    return pd.concat([table, end], ignore_index=True)


def contrasted(table: pd.DataFrame, context) -> pd.DataFrame:
    none = (pd.DataFrame({"client": []}), pd.DataFrame({"therapist": []}))
    settings = DesignSettings.model_validate({"lag_unit": "attended", "time_trend": "linear"})
    return part_contrasts(StudyTables(table, *none, settings, 10), context)


@pytest.fixture(scope="module")
def context():
    return study_example.context(trend=("time",))


@pytest.fixture(scope="module")
def found(context):
    return contrasted(sessions(5), context)


def within(found: pd.DataFrame) -> pd.DataFrame:
    own = found[(found["term"] == "difference") & (found["level"] == "within_client")]
    return own.set_index(["scale", "rater"])


def test_the_planted_part_is_found_and_the_others_are_not(found):
    own = within(found)
    assert own.loc[("task", "client"), "ci_high"] < -1.0
    for part in ("goal", "bond"):
        assert own.loc[(part, "client"), "ci_low"] < 0.1
        assert abs(own.loc[(part, "client"), "estimate"]) < 0.15
    # Half of the cognitive composite is the task.
    assert own.loc[("cognitive", "client"), "ci_high"] < -0.5
    against = own.loc["cognitive against emotional"]
    assert against.loc["client", "ci_high"] < 0.0
    assert against.loc["therapist", "ci_low"] < 0.0 < against.loc["therapist", "ci_high"]


def test_all_parts_levels_and_models_have_rows(found):
    assert found["row_id"].is_unique
    assert set(found["model"]) == {"hybrid_three_level", "early_three_level"}
    assert set(found["scale"]) == {*PARTS, "cognitive", "emotional", "cognitive against emotional"}
    assert set(found["role"]) == {"secondary"}


def test_a_part_equals_the_whole_where_it_is_the_whole(context):
    table = sessions(6)
    for rater in ("client", "therapist"):
        table[f"alliance_{rater}_bond"] = table[f"alliance_{rater}"]
    own = within(contrasted(table, context)).loc[("bond", "client")]
    from alliance_outcome.analyses.context import StudyAnalysis
    from alliance_outcome.analyses.hybrid import fit_hybrid_models
    from alliance_outcome.analyses.inference import own_inference
    from alliance_outcome.analyses.rater_contrast import multilevel_contrasts
    from alliance_outcome.design.rows import hybrid_rows

    settings = DesignSettings.model_validate({"lag_unit": "attended", "time_trend": "linear"})
    none = (pd.DataFrame({"client": []}), pd.DataFrame({"therapist": []}))
    rows = hybrid_rows(table, context.timing, settings, *none).rows
    model = fit_hybrid_models(rows, context)[0]
    whole = multilevel_contrasts(model, [own_inference(model)], StudyAnalysis(context, "multilevel", 10))
    expected = next(row for row in whole if row["term"] == "difference" and row["level"] == "within_client")
    assert own["estimate"] == pytest.approx(expected["estimate"], rel=1e-9)
    assert own["std_error"] == pytest.approx(expected["std_error"], rel=1e-6)


def test_different_forms_are_said():
    found = contrasted(sessions(7), study_example.context(trend=("time",), commensurate=False))
    raters = found["scale"].isin([*PARTS, "cognitive"]) & ~found["row_id"].str.contains("against")
    assert found.loc[raters, "sample"].str.endswith("different forms").all()
    assert not found.loc[found["row_id"].str.contains("against"), "sample"].str.endswith("forms").any()


def test_without_parts_there_is_a_refusal(context):
    table = sessions(8)
    bare = table.drop(
        columns=[name for name in table if name.startswith("alliance_") and name.count("_") > 1]
    )
    assert contrasted(bare, context)["status"].tolist() == ["refused"]


def test_the_report_says_which_parts_stand_out(tmp_path):
    table = Results(write_example(tmp_path)).estimates("alliance_parts")
    raters, parts = (table[(table["row_id"].str.contains("against")) == each] for each in (False, True))
    assert spread_sentence(raters) == (
        "Within clients, D has the same sign for every part; its interval excludes zero for task, cognitive."
    )
    first, second = part_sentences(parts)
    assert first.endswith(
        "the cognitive part goes with more improvement than the emotional one in the client's ratings."
    )
    assert "are not told apart in the therapist's ratings" in second
    assert [row[0] for row in rater_table(raters, "points").groups[0].rows] == [
        "Goal",
        "Task",
        "Bond",
        "Cognitive",
    ]
    assert part_table(parts, table).groups[0].rows[0][1:] == ("−0.50", "−0.10", "−0.40 [−0.70, −0.10]")
