"""A client who is like nobody else cannot be found again in what a study publishes, nor in Snakemake's own files."""

import re

import pandas as pd
import pytest

RESULTS = "results/tiny"
ORIGINAL, DIAGNOSIS, AGE_BAND = "ZEPHYRINE77", "kleptomania", "97 and over"
#: Far more sessions than anybody else can have.
MANY = 97
#: What is computed again; posterior draws are not, because they are private and their summaries have the same columns.
RULES = (
    *("check_study", "ingest", "prepare_rows", "describe", "check_data_quality", "estimate_reliability"),
    *(
        "fit_hybrid",
        "fit_early",
        "fit_dynamics",
        "contrast",
        "draw_figures",
        "check_release",
        "render_report",
    ),
)


def plant(folder) -> None:
    """Give one client a telling identifier, categories of their own, and more sessions than anybody else."""
    sessions, clients = (pd.read_csv(folder / f"{name}.csv", dtype=str) for name in ("sessions", "clients"))
    key = sessions.columns[sessions.columns.str.contains("client")][0]
    own = clients[key].iloc[0]
    clients.loc[clients[key] == own, ["diagnosis", "age_band"]] = [DIAGNOSIS, AGE_BAND]
    kept = sessions[sessions[key] == own]
    last = kept[kept["attendance"].notna()].iloc[-1]
    number, week = (next(name for name in sessions if name.startswith(stem)) for stem in ("session", "week"))
    first_week = float(last[week])
    added = pd.DataFrame([last] * (MANY - int(last[number])))
    added[number] = [str(each) for each in range(int(last[number]) + 1, MANY + 1)]
    added[week] = [str(first_week + each) for each in range(1, len(added) + 1)]
    # An assessment at the end would otherwise lie before the sessions that were added.
    others = sessions[
        ~((sessions[key] == own) & sessions["attendance"].isna() & (sessions.index > last.name))
    ]
    sessions = pd.concat([others, added], ignore_index=True)
    for name, table in (("sessions", sessions), ("clients", clients)):
        table[key] = table[key].replace(own, ORIGINAL)
        table.to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture(scope="module")
def attacked(finished, tmp_path_factory):
    """The tiny study again, from raw files with the planted client to the report."""
    workspace = finished.copied_to(tmp_path_factory.mktemp("attacked") / "copy")
    plant(workspace.path / RESULTS / "raw")
    run = workspace.run("--rerun-triggers", "mtime", "--allowed-rules", "all", *RULES)
    assert run.returncode == 0, run.stdout
    workspace.output = run.stdout
    return workspace


def published(workspace):
    """Every file but private ones, and Snakemake's own."""
    results = workspace.path / "results"
    private = {results / "tiny/data", results / "tiny/raw"}
    found = [file for file in results.rglob("*") if file.is_file() and private.isdisjoint(file.parents)]
    return found + [file for file in (workspace.path / ".snakemake").rglob("*") if file.is_file()]


def test_a_unique_client_is_not_recoverable(attacked):
    data = attacked.path / RESULTS / "data"
    key = pd.read_csv(data / "pseudonyms.csv", dtype=str).set_index("original")["pseudonym"]
    clients = pd.read_parquet(data / "clients.parquet").set_index("client")
    # The attack would succeed on the private files: the client is there, and is the only one of the kind.
    assert clients.loc[key[ORIGINAL], "diagnosis"] == DIAGNOSIS
    assert (clients["diagnosis"] == DIAGNOSIS).sum() == 1
    assert pd.read_parquet(data / "sessions.parquet")["session"].max() == MANY
    files = published(attacked)
    assert len(files) > 100
    wanted = [each.encode() for each in (ORIGINAL, key[ORIGINAL], DIAGNOSIS, AGE_BAND)]
    for file in files:
        content = file.read_bytes()
        assert not [each for each in wanted if each in content], file.name
    assert not [each for each in wanted if each.decode() in attacked.output]


def test_how_long_the_client_stayed_is_not_told(attacked):
    for file in (attacked.path / RESULTS).glob("tables/*.csv"):
        table = pd.read_csv(file) if file.stat().st_size > 1 else pd.DataFrame()
        if "session" in table:
            assert table["session"].max() < MANY, file.name
    sample = pd.read_csv(attacked.path / RESULTS / "tables/sample.csv").set_index("quantity")["value"]
    assert sample.drop("n_sessions_held").max() < MANY
    page = (attacked.path / RESULTS / "report/report.html").read_text(encoding="utf-8")
    words = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search(
        rf"(?<![\d.,%]){MANY}(?![\d.,]|\N{{NO-BREAK SPACE}}%| %)", re.sub(r"<[^>]+>", " ", words)
    )


def test_a_study_with_an_identifier_in_its_title_gets_no_report(copied):
    study = copied.study()
    key = pd.read_csv(copied.path / RESULTS / "data/pseudonyms.csv", dtype=str)
    study["title"] = f"The case of {key['pseudonym'].iloc[0]}"
    copied.write_study(study)
    run = copied.run("--until", "render_report")
    assert run.returncode != 0
    assert "an identifier or pseudonym stands in the page" in run.stdout
    assert not (copied.path / RESULTS / "report/report.html").exists()
