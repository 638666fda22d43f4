"""Risks of recognition, counted by hand."""

from __future__ import annotations

import pandas as pd

from alliance_outcome.data.disclosure_risk import disclosure_risks


def occasions(sessions: dict[str, int], therapists: dict[str, str] | None = None) -> pd.DataFrame:
    """As many held sessions of each client as stated, all rated."""
    rows = [
        {
            "client": client,
            "therapist": (therapists or {}).get(client),
            "site": None,
            "arm": None,
            "occasion_kind": "session",
            "session": number,
            "attendance": "attended",
            "severity": 1.0,
        }
        for client, n in sessions.items()
        for number in range(1, n + 1)
    ]
    return pd.DataFrame(rows)


def risks(table: pd.DataFrame, clients: pd.DataFrame) -> pd.DataFrame:
    return disclosure_risks(table, clients, ["severity"]).set_index("risk")


def people(n: int) -> list[str]:
    return [f"c{number}" for number in range(n)]


def test_groups_of_clients_who_are_alike():
    clients = pd.DataFrame(
        {"gender": ["f"] * 12 + ["m"] * 12, "band": ["a"] * 12 + ["b"] * 11 + ["c"]}, people(24)
    )
    found = risks(occasions(dict.fromkeys(clients.index, 3)), clients)
    assert pd.isna(found.loc["k_anonymity", "value"])
    assert not found.loc["k_anonymity", "passed"]
    assert found.loc["clients_in_small_groups", "value"] == round(1 / 24, 2)
    # Of the men, b and c: knowing the band tells the gender.
    assert found.loc["l_diversity", "value"] == 1
    assert found.loc["unique_trajectories", "value"] == 0.0
    assert found.loc["unique_trajectories", "passed"]


def test_large_groups_pass_and_no_small_number_is_said():
    clients = pd.DataFrame({"gender": ["f", "m"] * 12}, people(24))
    found = risks(occasions(dict.fromkeys(clients.index, 3)), clients)
    assert found.loc["k_anonymity", "value"] == 12
    assert found["passed"].astype(bool).all()
    small = risks(occasions(dict.fromkeys(people(8), 3)), pd.DataFrame({"gender": ["f", "m"] * 4}, people(8)))
    assert "fewer than 10 clients" in small.loc["k_anonymity", "text"]


def test_a_pattern_of_sessions_is_a_fingerprint():
    table = occasions({"c0": 2, "c1": 2, "c2": 3, "c3": 4})
    found = risks(table, pd.DataFrame(index=people(4)))
    assert found.loc["unique_trajectories", "value"] == 0.5
    assert pd.isna(found.loc["k_anonymity", "passed"])
    table.loc[0, "severity"] = None
    assert risks(table, pd.DataFrame(index=people(4))).loc["unique_trajectories", "value"] == 1.0


def test_caseloads():
    table = occasions(dict.fromkeys(people(15), 1), dict.fromkeys(people(12), "t1") | {"c14": "t2"})
    found = risks(table, pd.DataFrame(index=people(15)))
    assert not found.loc["k_of_therapists", "passed"]
    assert "50 % of therapists" in found.loc["k_of_therapists", "text"]
    assert "k_of_therapists" not in risks(occasions({"c0": 1}), pd.DataFrame(index=["c0"])).index
