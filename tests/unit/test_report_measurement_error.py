"""The section on measurement error and missing ratings: its versions, words, tables and figure."""

import dataclasses

import pytest
from matplotlib.figure import Figure as Canvas
from report_example import CONTEXT, SETTINGS, STUDY, VERSIONS, write_example

from alliance_outcome.analyses.estimates import read_estimates, write_estimates
from alliance_outcome.report.facts import Facts
from alliance_outcome.report.figure_files import read_figures
from alliance_outcome.report.figure_style import figure_style
from alliance_outcome.report.figures import draw_figures
from alliance_outcome.report.figures_measurement_error import draw_measurement_error
from alliance_outcome.report.inputs import Results
from alliance_outcome.report.labels import name_terms, term_label
from alliance_outcome.report.latent_versions import change_sentence, versions_by_level
from alliance_outcome.report.measurement_error_text import (
    measurement_error_paragraph,
    reliability_words,
    rows_sentence,
    unstated_sentence,
)
from alliance_outcome.report.sections import measurement_error
from alliance_outcome.settings import (
    BayesianSettings,
    MeasurementErrorSettings,
    ReliabilitySettings,
    SamplerSettings,
    section,
)

LEVELS = ["within_client", "between_client", "between_therapist"]
PERCENT = "\N{NO-BREAK SPACE}%"
STATED = section(STUDY, MeasurementErrorSettings)


def facts_of(root, study=STUDY):
    draw_figures(root, root / "figures", SETTINGS)
    return Facts(
        results=Results(root),
        figures=read_figures(root / "figures"),
        settings=SETTINGS,
        study=study,
        sampler=SamplerSettings.model_validate(CONTEXT["sampler"]),
        seed=CONTEXT["seed"],
        study_name="example",
        simulated=False,
        versions=VERSIONS,
        benchmarks=None,
    )


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    return facts_of(write_example(tmp_path_factory.mktemp("study"), simulated=False))


@pytest.fixture(scope="module")
def versions(facts):
    return versions_by_level(facts.results)


def texts(built):
    return [block.text for block in built.blocks if block.kind == "text"]


def tables(built):
    return {block.table.name: block.table for block in built.blocks if block.kind == "table"}


def test_versions_stand_beside_the_bayesian_session_to_session_model(versions):
    assert list(versions) == LEVELS
    for same in versions.values():
        assert [version.name for version in same] == ["manifest", "joint_latent", "joint_corrected"]
        manifest = same[0].rows
        assert set(manifest["engine"]) == {"nutpie"}
        assert set(manifest["model"]) == {"hybrid_three_level"}
        assert len(manifest) == 3


def test_without_a_bayesian_model_reml_is_the_comparison(facts):
    results = Results(facts.results.root)
    contrast = results.contrast
    object.__setattr__(results, "contrast", contrast[contrast["engine"] != "nutpie"])
    [manifest, *_] = versions_by_level(results)["within_client"]
    assert manifest.label == "Ratings as they are, complete rows (REML)"
    assert len(manifest.rows) == 3, "cluster-robust and AR(1) repetitions stay out"


def test_a_change_of_what_the_interval_says_is_said(versions):
    sentence = change_sentence("within_client", versions["within_client"], None)
    assert sentence == (
        "Within clients, D is −0.39 [−0.69, −0.09] with ratings as they are, −0.39 [−0.89, 0.11] with latent means and "
        "all rows and −0.49 [−0.99, 0.01] with correction for reliability. It does not read the same: the interval "
        "lies below zero with ratings as they are; the interval includes zero with latent means and all rows and with "
        "correction for reliability."
    )


def test_no_change_is_said_too(versions):
    latent = versions["between_client"][1:]
    sentence = change_sentence("between_client", latent, None)
    assert sentence.endswith("It reads the same in all of them: the interval includes zero.")


def test_one_version_alone_is_not_compared(versions):
    assert change_sentence("within_client", versions["within_client"][:1], None) == ""


def test_a_version_that_is_not_established_is_no_reading(versions):
    manifest, latent, corrected = versions["within_client"]
    failed = dataclasses.replace(latent, rows=latent.rows.assign(status="not_established"))
    sentence = change_sentence("within_client", [manifest, failed, corrected], None)
    assert "not established with latent means and all rows" in sentence
    assert "the interval includes zero with correction for reliability." in sentence


def test_rows_of_both_models_are_counted(facts, versions):
    sentence = rows_sentence(facts.results.measurement_error, versions["within_client"][0].rows)
    assert sentence == (
        "The model with latent means uses 1,383 rows of 120 clients; those that are complete for all raters are 1,204 "
        "rows of 120 clients."
    )


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"mean": 0.8}, "0.8, taken as exact"),
        ({"mean": 0.8, "sd": 0.05}, "0.8 (SD 0.05)"),
        ({"interval": (0.7, 0.9)}, f"95{PERCENT} interval 0.7 to 0.9"),
    ],
)
def test_reliabilities_are_written_as_they_are_stated(stated, words):
    assert reliability_words(ReliabilitySettings(**stated, source="a manual")) == words


def test_what_is_not_stated_is_said_to_be_free_of_error():
    assert unstated_sentence(STATED, ["client", "therapist"], LEVELS[:2]) == (
        "Taken as measured without error: client-rated and therapist-rated alliance between clients of one therapist."
    )
    every = {level: {"mean": 0.8, "source": "a"} for level in LEVELS[:2]}
    complete = MeasurementErrorSettings.model_validate({"reliability": {"client": every}})
    assert unstated_sentence(complete, ["client"], ["within_client", "between_client_pooled"]) == ""
    alone = unstated_sentence(MeasurementErrorSettings(), ["client"], LEVELS)
    assert alone.endswith("measured without error at every level, and nothing is corrected for it.")
    both = unstated_sentence(MeasurementErrorSettings(), ["client", "therapist"], LEVELS)
    assert both.endswith("a difference between the raters may be one of how well they measure.")


def test_the_section_has_sources_and_roles(facts):
    built = measurement_error.build(facts)
    found = tables(built)
    assert list(found) == ["measurement-error", "reliability", "latent-alliance"]
    assert [row[-1] for row in found["reliability"].rows] == [
        "A made-up manual, Table 2",
        "A made-up article",
    ]
    roles = [row[1] for row in found["measurement-error"].rows]
    assert roles == [
        "comparator",
        "sensitivity",
        "sensitivity",
        *(["secondary", "sensitivity", "sensitivity"] * 2),
    ]
    assert {row[2] for row in found["measurement-error"].rows} == {"1,204", "1,383"}
    assert any("the answer does not rest on them" in text for text in texts(built))


def test_a_study_that_states_nothing_is_told_so(facts):
    silent = dataclasses.replace(facts, study={key: STUDY[key] for key in STUDY if key != "reliability"})
    built = measurement_error.build(silent)
    assert "reliability" not in tables(built)
    assert any(text.startswith("The study file states no reliability") for text in texts(built))


def test_a_refused_model_leaves_its_reason(tmp_path):
    root = write_example(tmp_path, simulated=False)
    path = root / "estimates" / "measurement_error.csv"
    rows = read_estimates(path)
    refused = rows[rows["term"] == "difference"].assign(
        status="refused", reason="too few rows", estimate=None
    )
    write_estimates(refused, path)
    facts = facts_of(root)
    built = measurement_error.build(facts)
    assert texts(built)[-1] == "It could not be fitted: too few rows."
    assert tables(built) == {}
    drawing = draw_measurement_error(facts.results, SETTINGS)
    assert drawing.canvas is None
    assert drawing.alt == "No model with latent means could be estimated: too few rows."
    assert measurement_error_paragraph(refused, priors(), SamplerSettings(), "points") == ""


def priors():
    return section(STUDY, BayesianSettings).priors


def test_few_therapists_leave_a_reason_in_figure_and_table(tmp_path):
    results = Results(write_example(tmp_path, simulated=False, therapists=8))
    with figure_style():
        drawing = draw_measurement_error(results, SETTINGS)
    assert isinstance(drawing.canvas, Canvas)
    written = [text.get_text() for text in drawing.canvas.findobj(match=lambda one: hasattr(one, "get_text"))]
    assert any("8 therapists are too few" in text.replace("\n", " ") for text in written)
    assert "between therapists: not established with ratings as they are" in drawing.alt


def test_the_figure_says_its_numbers_in_words(facts):
    with figure_style():
        drawing = draw_measurement_error(facts.results, SETTINGS)
    assert "within clients: D −0.39 [−0.69, −0.09] with ratings as they are" in drawing.alt.lower().replace(
        "d −", "D −"
    )
    assert drawing.detail == f"Intervals are 95{PERCENT}."


def test_the_methods_name_priors_and_sampling(facts):
    paragraph = measurement_error_paragraph(
        facts.results.measurement_error,
        priors(),
        SamplerSettings(chains=4, draws=2000, tune=1000),
        "CORE-10 points",
    )
    assert "normal(0, 2.5) CORE-10 points" in paragraph
    assert "half-normal(6)" in paragraph
    assert "4 chains of 1,000 draws after 500 of warm-up" in paragraph
    assert paragraph.endswith(f"Intervals: 95{PERCENT}, equal-tailed credible interval.")


def test_quantities_have_names():
    assert term_label("latent_sd", "client") == "Latent SD of client-rated alliance"
    text = "joint_latent.joint: smallest bulk ESS 812 (latent_sd between_client (client))"
    assert name_terms(text.split(": ")[1]) == (
        "smallest bulk ESS 812 (latent standard deviation between clients of one therapist (client))"
    )
    assert term_label("reliability", "therapist") == "Reliability of therapist-rated alliance"
