"""The report as a document: complete, self-contained, accessible, and careful with its words."""

import itertools
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from report_example import BENCHMARKS, CONTEXT, SETTINGS, VERSIONS, write_example

from alliance_outcome.analyses.estimates import read_estimates, write_estimates
from alliance_outcome.errors import StudyError
from alliance_outcome.report.figures import draw_figures, draw_truth_figure
from alliance_outcome.report.render import render_report

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Document(HTMLParser):
    """Collect elements with their attributes and texts."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [*self.open]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), [*self.open]))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes something else"

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = write_example(tmp_path_factory.mktemp("study"))
    draw_figures(root, root / "figures", SETTINGS)
    draw_truth_figure(root, root / "figures", SETTINGS)
    return root


def render(root, drawn, *, simulated=True, benchmarks=BENCHMARKS, settings=SETTINGS):
    return render_report(
        root,
        drawn / "figures",
        settings,
        simulated=simulated,
        versions=VERSIONS,
        benchmarks=benchmarks,
        context=CONTEXT,
    )


@pytest.fixture(scope="module")
def html(study):
    return render(study, study)


@pytest.fixture(scope="module")
def document(html):
    return Document(html)


def part(html, name):
    return re.search(rf'<section id="{name}".*?(?=<section id="|</main>)', html, re.DOTALL).group()


def plain(html):
    return " ".join(Document(f"<div>{re.sub(r'<svg.*?</svg>', '', html, flags=re.DOTALL)}").text.split())


def test_sections_stand_in_their_order(document):
    ids = [attributes["id"] for attributes in document.all("section") if "id" in attributes]
    assert ids == [
        "answer",
        "data-flow",
        "description",
        "agreement",
        "perception",
        "reliability",
        "factor-structure",
        "response-surface",
        "dynamics",
        "bias",
        "models",
        "explained",
        "diagnostics",
        "bayesian",
        "alliance-parts",
        "corrected-contrast",
        "measurement-error",
        "truth",
        "limits",
        "disclosure",
        "methods",
        "software",
        "cost",
        "references",
    ]


def test_the_answer_comes_first(html):
    text = plain(part(html, "answer"))
    assert text.startswith(
        "The answer From one session to the next, the client's view predicts more improvement than the therapist's. "
        "The next severity is 0.39 points lower (D = −0.39, interval −0.69 to −0.09). Other accounts"
    )
    assert re.search(r'<p class="lead">From one session to the next, [^<]*therapist&#39;s\.</p>', html)
    assert "The study file overrides the model behind this answer: hybrid_three_level." in text


def test_nothing_is_loaded_from_anywhere(html, document):
    assert "default-src 'none'" in html
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _, _ in document.elements}
    assert "@import" not in html
    assert all(match.startswith("#") for match in re.findall(r"url\(([^)]+)\)", html))
    links = [attributes["href"] for attributes in document.all("a")]
    assert all(link.startswith(("#", "https://doi.org/10.")) for link in links)


def test_the_document_is_accessible(document):
    assert document.all("html")[0]["lang"] == "en"
    ids = [attributes["id"] for _, attributes, _ in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {
        attributes["href"][1:] for attributes in document.all("a") if attributes["href"].startswith("#")
    } <= set(ids)
    assert [tag for tag, _, _ in document.elements].count("h1") == 1
    labelled = [
        attributes["aria-labelledby"]
        for _, attributes, _ in document.elements
        if "aria-labelledby" in attributes
    ]
    assert {name for names in labelled for name in names.split()} <= set(ids)
    assert document.all("table")
    assert len(document.all("caption")) == len(document.all("table"))
    assert all(attributes.get("scope") in {"col", "row", "rowgroup"} for attributes in document.all("th"))
    assert all(attributes.get("role") == "img" for attributes in document.all("svg"))


def test_every_table_scrolls_in_its_own_box(document):
    boxes = [attributes for attributes in document.all("div") if attributes.get("class") == "table-box"]
    assert len(boxes) == len(document.all("table"))
    assert all(attributes["tabindex"] == "0" and attributes["role"] == "region" for attributes in boxes)


def test_headings_descend_one_level_at_a_time(document):
    levels = [int(tag[1]) for tag, _, _ in document.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_simulated_data_are_named_on_every_page(html, document):
    # The banner is a table header in print, and a table header is what repeats on every printed page.
    assert "Simulated data" in document.text
    _, _, parents = next(element for element in document.elements if element[1].get("class") == "banner")
    assert parents == ["html", "body", "div"]
    style = re.search(r"@media print \{(.*)\n\}", html, re.DOTALL).group(1)
    assert re.search(r"\.banner \{\s*display: table-header-group;", style)


def test_real_data_carry_no_banner_and_no_truth(study, tmp_path):
    html = render(write_example(tmp_path, simulated=False), study, simulated=False, benchmarks=None)
    assert "Simulated data" not in html
    assert '<section id="truth"' not in html
    assert '<section id="cost"' not in html


def test_truth_stands_beside_the_estimates(html):
    text = plain(part(html, "truth"))
    assert re.search(r"Client-rated alliance, per SD REML −0\.50 −0\.45 −0\.54 \[−0\.78, −0\.30\] yes", text)
    assert (
        "Of the intervals below, 18 of 18 hold the pseudo-true value and 18 of 18 hold the generating value"
        in text
    )


def test_too_few_therapists_are_suppressed_with_the_reason(study, tmp_path):
    root = write_example(tmp_path, therapists=8)
    html = render(root, study)
    answer = plain(part(html, "answer"))
    assert "not established" in answer.split("Between therapists: early alliance")[1][:120]
    assert "8 therapists are fewer than the 10 that a claim needs" in plain(part(html, "models"))
    assert "nothing is claimed between therapists" in plain(part(html, "limits"))


def test_refused_rows_are_shown_with_their_reason(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "multilevel.csv"
    rows = read_estimates(path)
    lag = rows["model"] == "hybrid_lag_two_level"
    rows.loc[lag, ["status", "reason"]] = ["refused", "the schedule is too sparse for a lag"]
    write_estimates(rows, path)
    text = plain(part(render(root, study), "models"))
    assert "the schedule is too sparse for a lag" in text.split("Refused or not established")[1]


def test_refused_bayesian_models_leave_a_report_with_their_reason(tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "bayesian.csv"
    rows = read_estimates(path)
    rows = rows[rows["level"].notna()].assign(
        status="refused", reason="the rating does not vary within clients"
    )
    write_estimates(rows, path)
    contrast = read_estimates(root / "estimates" / "contrast.csv")
    write_estimates(contrast[contrast["engine"] != "nutpie"], root / "estimates" / "contrast.csv")
    pd.DataFrame().to_csv(root / "tables" / "predictive.csv", index=False)
    draw_figures(root, root / "figures", SETTINGS)
    draw_truth_figure(root, root / "figures", SETTINGS)
    html = render(root, root)
    assert "Refused: the rating does not vary within clients" in plain(part(html, "models"))
    assert "No predictive check was run." in plain(part(html, "diagnostics"))
    assert "No Bayesian model was estimated." in plain(part(html, "methods"))
    assert "P(direction)" not in plain(part(html, "models"))


def test_between_coefficients_of_session_models_are_not_said_to_predict(html):
    for name in ("answer", "models", "agreement", "description", "limits", "methods"):
        for paragraph in re.findall(
            r"<(?:p|td|th|dd|li)\b.*?</(?:p|td|th|dd|li)>", part(html, name), re.DOTALL
        ):
            if re.search(r"\bpredict(s|ed)?\b", paragraph):
                assert (
                    "From one session to the next" in paragraph or "A rater&#39;s view is said" in paragraph
                )
    assert "concurrent differences over the whole of therapy" in plain(part(html, "models"))


def test_a_session_model_between_clients_is_called_concurrent_in_the_answer(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "contrast.csv"
    rows = read_estimates(path)
    write_estimates(rows[rows["model"].str.startswith("hybrid")], path)
    text = plain(part(render(root, study), "answer"))
    assert (
        "Between clients of one therapist: session to session, three levels (concurrent differences" in text
    )


def test_what_is_withheld_and_what_remains_a_risk_are_said(html):
    text = plain(part(html, "disclosure"))
    assert "session numbers that few reached" in text
    assert "Clients alike in covariates present A small group." in text
    assert "not applicable Nothing is kept." in text


def test_factor_models_are_shown_with_what_is_improper(html):
    text = plain(part(html, "factor-structure"))
    assert "One factor 120.4 (108) .200 0.998 0.010 0.020 0.020 103,170 proper" in text
    assert "Correlated goal, task and bond 120.4 (108) .200 0.998 0.010 0.020 0.020 103,170 improper" in text
    assert "A general factor beside goal, task and bond – – – – – – – not found" in text


def test_withheld_estimates_are_counted(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "contrast.csv"
    rows = read_estimates(path).astype({"reason": "object"})
    rows.loc[rows.index[:3], ["status", "reason"]] = ["refused", "withheld: fewer than 10 clients"]
    write_estimates(rows, path)
    text = plain(part(render(root, study), "disclosure"))
    assert "Estimates 3 rows that too few clients stand behind" in text
    path = root / "estimates" / "agreement.csv"
    rows = read_estimates(path).astype({"reason": "object"})
    rows.loc[rows.index[:1], ["status", "reason"]] = ["refused", "withheld: fewer than 10 clients"]
    write_estimates(rows, path)
    assert "Estimates 4 rows" in plain(part(render(root, study), "disclosure"))


def test_a_shared_rater_is_warned_of_only_where_there_is_one(html, study, tmp_path):
    assert "common method variance" in plain(part(html, "limits"))
    other = render(write_example(tmp_path, outcome_rater="observer"), study)
    assert "common method variance" not in plain(part(other, "limits"))


def test_data_flow_shows_what_was_kept_and_removed(html):
    text = plain(part(html, "data-flow"))
    assert "1,400 rows, 140 clients, 24 therapists" in text
    assert "100 rows removed" in text
    assert "ORS turned: higher = worse" in text


def test_checks_are_badges_with_words_and_symbols(html):
    text = plain(part(html, "diagnostics"))
    assert "16 checks: 13 passed, 2 failed, 1 not applicable" in text
    assert "✗ failed Gradient too large (value 0.250, limit 0.100)" in text
    assert "✓ passed All in range" in text
    assert (
        "✓ passed A maximum of the likelihood was reached; largest derivative of the deviance 3.8 × 10⁻¹¹ to "
        "2.1 × 10⁻⁶, 1,204 rows Session to session, three levels (all raters, the client alone)" in text
    )
    assert "○ not applicable No ROPE given" in text


def test_suppressed_cells_stay_suppressed(html):
    text = plain(part(html, "description"))
    assert "woman 80 67 %" in text
    assert "other suppressed –" in text


def test_versions_costs_and_sources_are_listed(html):
    assert "statsmodels 0.15.0" in plain(part(html, "software"))
    assert "Bayesian 84.0 –" in plain(part(html, "cost"))
    references = plain(part(html, "references"))
    for source in (
        "Kruschke, 2021. doi:10.1038/s41562-021-01177-7",
        "Kenward & Roger, 1997. doi:10.2307/2533558",
        "Kuznetsova, Brockhoff & Christensen, 2017. doi:10.18637/jss.v082.i13",
        "Bates et al., 2015. doi:10.18637/jss.v067.i01",
        "Pustejovsky & Tipton, 2018. doi:10.1080/07350015.2016.1247004",
        "Rights & Sterba, 2019. doi:10.1037/met0000184",
        "Azen & Budescu, 2003. doi:10.1037/1082-989X.8.2.129",
    ):
        assert source in references


def test_nothing_speaks_of_an_estimator_that_is_not_used(html):
    assert not re.search(r"mixedlm\b|inner.outer|CR3|jackknife", html)
    # MixedLM is named where it is asked for a second opinion, and nowhere else.
    for name in ("answer", "models", "explained", "limits", "methods"):
        assert "MixedLM" not in plain(part(html, name))


def test_the_answer_is_followed_by_what_changes_it(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "estimates" / "contrast.csv"
    rows = read_estimates(path)
    robust = (rows["se_kind"] == "CR2") & (rows["level"] == "within_client")
    rows.loc[robust & (rows["model"] == "hybrid_three_level"), "ci_high"] = 0.06
    write_estimates(rows, path)
    html = render(root, study)
    answer = plain(part(html, "answer"))
    notice = answer.split("Read this with the answer")[1]
    assert notice.startswith(" Cluster-robust standard errors (CR2) change how D within clients reads")
    assert "REML, cluster-robust (CR2) sensitivity −0.39 [−0.77, 0.06]" in answer
    assert "REML, SDs estimated secondary −0.39 [−0.73, −0.05]" in answer
    assert "REML, AR(1) residuals sensitivity −0.34 [−0.66, −0.02]" in answer
    assert "D within clients (−0.69 to −0.09 becomes −0.77 to 0.06)" in plain(part(html, "limits"))


def test_other_assumptions_about_the_residuals_have_their_tables(html):
    text = plain(part(html, "models"))
    assert "Cluster-robust check" in text
    assert "φ 0 by assumption 0.31 [0.25, 0.37]" in text
    contrasts = text.split("All contrasts of the raters")[1].split("Cluster-robust check")[0]
    assert "CR2" not in contrasts


def test_explained_variance_is_told_level_by_level(html):
    text = plain(part(html, "explained"))
    assert "Of the variance within clients, 3.1 % [1.1, 5.1] is unique to the client" in text
    assert "Fixed effects (marginal R²) f 40.0 % [38.0, 42.0]" in text


def test_the_bayesian_models_have_their_own_section(html):
    text = plain(part(html, "bayesian"))
    assert "Do the contrasts depend on the priors?" in text
    assert "D between clients of one therapist 0.004 0.120 Does not depend on the priors" in text
    # What depends on the priors is listed, what does not is not, contrasts apart.
    assert "Priors and data pull it in different directions" in text
    assert "sd(residual)" not in text
    assert "Other priors tried not met not met Power scaling stands in" in text
    assert "Fixed and random effects (conditional R²) fvm 30" in text
    assert "new clients (120)" in text
    assert "−21.4 (2.5) 0.00 0.61 1 Predicts worse" in text


def test_residuals_stand_among_the_diagnostics(html):
    text = plain(part(html, "diagnostics"))
    assert "Residuals one held session apart correlate by 0.31" in text
    assert "Residuals have a skewness of 0.12" in text
    assert "Clients: intercept 120 0.40 0.90" in text
    assert 'id="figure-residuals"' in part(html, "diagnostics")


@pytest.mark.parametrize(("therapists", "warns"), [(8, True), (12, True), (24, False)])
def test_few_therapists_are_warned_of(study, tmp_path, therapists, warns):
    text = plain(part(render(write_example(tmp_path, therapists=therapists), study), "limits"))
    assert (f"With {therapists} therapists it is not established that intervals" in text) == warns


def test_a_rendering_is_reproducible(html, tmp_path):
    root = write_example(tmp_path)
    draw_figures(root, root / "figures", SETTINGS)
    draw_truth_figure(root, root / "figures", SETTINGS)
    assert render(root, root) == html


def test_texts_of_the_study_file_are_escaped(study):
    settings = SETTINGS.model_copy(update={"title": "<script>alert(1)</script>", "preregistration": "10.1/x"})
    html = render(study, study, settings=settings)
    assert "<script>" not in html
    assert 'href="https://doi.org/10.1/x"' in html


@pytest.mark.parametrize("missing", ["tables/answer.json", "tables/sample.csv", "estimates/contrast.csv"])
def test_an_unfinished_study_is_refused(study, tmp_path, missing):
    root = write_example(tmp_path)
    (root / missing).unlink()
    with pytest.raises(StudyError, match="does not exist -> run the study again"):
        render(root, study)


def test_a_study_with_one_rater_is_told_why_there_is_no_contrast(tmp_path):
    root = write_example(tmp_path)
    shares = root / "estimates" / "explained.csv"
    parts = read_estimates(shares)
    write_estimates(parts[parts["term"].str.startswith("r2_")], shares)
    path = root / "estimates" / "contrast.csv"
    refused = (
        read_estimates(path)
        .iloc[[0]]
        .assign(
            level=pd.NA,
            model=pd.NA,
            engine=pd.NA,
            term="difference",
            status="refused",
            reason="alliance is rated by the client only; a contrast needs two raters",
        )
    )
    write_estimates(refused, path)
    draw_figures(root, root / "figures", SETTINGS)
    draw_truth_figure(root, root / "figures", SETTINGS)
    html = render(root, root)
    assert "alliance is rated by the client only" in plain(part(html, "answer"))
    assert "Fixed effects (marginal R²)" in plain(part(html, "explained"))


def test_truth_without_pseudo_true_values_still_shows_what_generated_the_data(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "truth.csv"
    truth = pd.read_csv(path)
    kept = truth[truth["model"] == "early_three_level"]
    kept.assign(model=None, pseudo_true_value=None, pseudo_true_se=None, note="No values are stored.").to_csv(
        path
    )
    text = plain(part(render(root, study), "truth"))
    assert "Client-rated alliance, per SD REML −0.50 −0.54 [−0.78, −0.30]" in text
    assert "No values are stored." in text


def test_announcements_of_each_item_are_said_once(study, tmp_path):
    root = write_example(tmp_path)
    pd.DataFrame(
        {
            "kind": "missing_code",
            "file": "sessions",
            "column": ["core_01", "core_02"],
            "n": [182, 18],
            "text": ["182 cells read as missing.", "18 cells read as missing."],
        }
    ).to_csv(root / "tables" / "announcements.csv", index=False)
    text = plain(part(render(root, study), "data-flow"))
    assert "core_01 to core_02 (2 columns) Cells read as missing. 200" in text


def test_checks_name_models_as_the_tables_do(study, tmp_path):
    root = write_example(tmp_path)
    path = root / "tables" / "checks_multilevel.csv"
    text = "hybrid_two_level.joint: 2 of 2 optimiser runs converged"
    pd.read_csv(path).assign(text=text).to_csv(path, index=False)
    assert "2 of 2 optimiser runs converged Session to session, two levels (all raters" in plain(
        part(render(root, study), "diagnostics")
    )
