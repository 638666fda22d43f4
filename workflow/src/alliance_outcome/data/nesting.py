"""Clients in therapists, strictly: episodes, changes of therapist, and rows without a therapist.

The study file decides what happens to clients with several episodes or therapists; whatever is removed or filled in is
counted.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd

from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted

_CLIENT = ["client", "episode"]


def keep_episodes(
    occasions: pd.DataFrame, rule: Literal["first", "separate"], ledger: Ledger
) -> pd.DataFrame:
    """Apply the study's rule for clients with several episodes.

    Parameters
    ----------
    occasions : pandas.DataFrame
        Occasions in order, with ``client`` and ``episode``.
    rule : {"first", "separate"}
        Keep each client's first episode, or treat episodes as separate clients (see :func:`number_units`).
    ledger : Ledger
        Receives the step.

    Returns
    -------
    pandas.DataFrame
        What is left.
    """
    if rule == "separate":
        several = int((occasions.groupby("client")["episode"].nunique() > 1).sum())
        text = f"{counted(several, 'client')} with several episodes: each episode is treated as a client."
        ledger.announce("nesting", STUDY_FILE, "episodes", several, text)
        return occasions
    kept = occasions[occasions["episode"] == occasions.groupby("client")["episode"].transform("min")]
    removed = len(occasions) - len(kept)
    ledger.flow("later_episodes", "Occasions of later treatment episodes are left out.", kept, removed)
    text = f"{counted(removed, 'occasion')} of later episodes left out (episodes: first)."
    ledger.announce("dropped", STUDY_FILE, "episodes", removed, text)
    return kept


def fill_therapists(occasions: pd.DataFrame, ledger: Ledger) -> pd.DataFrame:
    """Give every row of a client a therapist, and leave out clients who have none at all.

    Parameters
    ----------
    occasions : pandas.DataFrame
        Occasions in order, with ``client``, ``episode``, ``therapist`` and ``therapist_blank`` (the file has a column
        of therapists, but the cell is empty).
    ledger : Ledger
        Receives the step and the counts.

    Returns
    -------
    pandas.DataFrame
        With ``therapist`` complete, or null throughout if the study has no therapist ids.

    Notes
    -----
    A row without a therapist takes the client's only one. Where a client has several, it takes that of the occasion
    before it, or of the one after it at the start of an episode.
    """
    if occasions["therapist"].isna().all():
        text = "No therapist ids: models without a therapist level only."
        ledger.announce("nesting", STUDY_FILE, "columns.therapist", len(occasions), text)
        return occasions
    groups = occasions.groupby(_CLIENT, sort=False)["therapist"]
    filled = groups.ffill()
    filled = filled.fillna(filled.groupby([occasions[name] for name in _CLIENT], sort=False).bfill())
    several = groups.transform("nunique") > 1
    missing = occasions["therapist"].isna() & filled.notna()
    for mask, text in (
        (
            missing & ~several & occasions["therapist_blank"],
            "with an empty therapist cell took the client's only one.",
        ),
        (
            missing & ~several & ~occasions["therapist_blank"],
            "of files without therapists took the client's only one.",
        ),
        (
            missing & several,
            "without a therapist, of clients with several, took that of the occasion before.",
        ),
    ):
        ledger.announce(
            "nesting", STUDY_FILE, "columns.therapist", mask.sum(), f"{counted(mask.sum(), 'row')} {text}"
        )
    kept = occasions.assign(therapist=filled)[filled.notna()]
    n_clients = occasions["client"].nunique() - kept["client"].nunique()
    ledger.flow(
        "no_therapist", "Clients without any therapist id are left out.", kept, len(occasions) - len(kept)
    )
    text = (
        f"{counted(n_clients, 'client')} without any therapist id left out; to analyse them too, without a therapist "
        "level, remove therapist from the study file."
    )
    ledger.announce("dropped", STUDY_FILE, "columns.therapist", n_clients, text)
    return kept


def nest_clients(
    occasions: pd.DataFrame, rule: Literal["exclude", "first", "split"], ledger: Ledger
) -> pd.DataFrame:
    """Apply the study's rule for clients who change therapist.

    Parameters
    ----------
    occasions : pandas.DataFrame
        Occasions in order, ``therapist`` complete or null throughout.
    rule : {"exclude", "first", "split"}
        Leave such clients out, keep the occasions with the first therapist, or treat the client with each therapist as
        a client (see :func:`number_units`).
    ledger : Ledger
        Receives the step and the counts.

    Returns
    -------
    pandas.DataFrame
        What is left.
    """
    groups = occasions.groupby(_CLIENT, sort=False)["therapist"]
    several = groups.transform("nunique") > 1
    n_clients = occasions.loc[several, "client"].nunique()
    key = "therapist_change"
    text = f"{counted(n_clients, 'client')} with several therapists"
    if rule == "split":
        ledger.announce("nesting", STUDY_FILE, key, n_clients, f"{text}: a client with each of them.")
        return occasions
    first = occasions["therapist"] == groups.transform("first")
    kept = occasions[~several] if rule == "exclude" else occasions[~several | first]
    removed = len(occasions) - len(kept)
    what = (
        "Clients with several therapists are" if rule == "exclude" else "Occasions with a later therapist are"
    )
    ledger.flow("therapist_change", f"{what} left out.", kept, removed)
    ledger.announce(
        "nesting", STUDY_FILE, key, n_clients, f"{text}: {counted(removed, 'occasion')} left out."
    )
    return kept


def number_units(occasions: pd.DataFrame) -> pd.Series:
    """Number the parts of a client that are treated as clients of their own.

    Parameters
    ----------
    occasions : pandas.DataFrame
        Occasions after the three rules above.

    Returns
    -------
    pandas.Series
        1 for a client's first combination of episode and therapist in order of appearance, 2 for the second, ….
    """
    combinations = occasions[[*_CLIENT, "therapist"]].drop_duplicates()
    combinations["unit"] = combinations.groupby("client", sort=False).cumcount() + 1
    return (
        occasions[[*_CLIENT, "therapist"]].merge(combinations, how="left")["unit"].set_axis(occasions.index)
    )
