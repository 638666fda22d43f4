"""How easily a client or therapist could be recognised in the data themselves, were they given to somebody.

Counted on clients, never on sessions. Results do not show rows of data; these are the risks of sharing the session
table, and of readers who know a client already (Sweeney 2002, k-anonymity; Machanavajjhala et al. 2007, l-diversity).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

RISK_COLUMNS = ("risk", "value", "limit", "passed", "text")
#: Smallest number of people behind a published cell, and smallest group that hides a person (the ACRO tool's default).
SMALLEST_CELL = 10


def disclosure_risks(occasions: pd.DataFrame, clients: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Tabulate the risks of recognition.

    Parameters
    ----------
    occasions : DataFrame
        One row per client and occasion: ``client, therapist, site, arm, occasion_kind, session, attendance`` and the
        measures.
    clients : DataFrame
        Covariates, indexed by client.
    measures : sequence of str
        Columns of the measures.

    Returns
    -------
    DataFrame
        Columns :data:`RISK_COLUMNS`; ``passed`` is null where there is no limit. Numbers of clients below the smallest
        group are not given.
    """
    people = _quasi_identifiers(occasions, clients)
    rows = [
        *_group_rows(people),
        *_diversity_rows(people),
        *_therapist_rows(occasions),
        *_trajectory_rows(occasions, measures, people),
    ]
    return pd.DataFrame(rows, columns=list(RISK_COLUMNS))


def _quasi_identifiers(occasions: pd.DataFrame, clients: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each client to others: covariates, site and arm, as text."""
    design = [name for name in ("site", "arm") if name in occasions and occasions[name].notna().any()]
    found = (
        occasions.groupby("client")[design].first()
        if design
        else pd.DataFrame(index=occasions["client"].unique())
    )
    known = clients.reindex(found.index)
    return pd.concat([found, known], axis=1).astype("str").fillna("missing")


def _group_rows(people: pd.DataFrame) -> Iterable[tuple]:
    """Yield k-anonymity over all quasi-identifiers, and how many clients are in smaller groups than the limit."""
    if people.columns.empty:
        text = "No covariate, site or arm is kept, so nothing of that kind points at a client."
        yield "k_anonymity", None, SMALLEST_CELL, None, text
        return
    sizes = people.groupby(list(people.columns))[people.columns[0]].transform("size")
    names = ", ".join(map(str, people.columns))
    smallest = int(sizes.min())
    yield (
        "k_anonymity",
        unless_few(smallest),
        SMALLEST_CELL,
        smallest >= SMALLEST_CELL,
        f"The smallest group of clients who are alike in {names} has {counted_clients(smallest)}.",
    )
    yield (
        "clients_in_small_groups",
        _share(sizes < SMALLEST_CELL),
        0.0,
        bool((sizes >= SMALLEST_CELL).all()),
        f"{_percent(sizes < SMALLEST_CELL)} of clients share these with fewer than {SMALLEST_CELL - 1} others: "
        "leave out or coarsen covariates before the data are shared.",
    )


def _diversity_rows(people: pd.DataFrame) -> Iterable[tuple]:
    """Yield, for the covariate for which it is smallest, how many values a group of clients alike in the others has."""
    if people.shape[1] < 2:
        return
    diversity = {
        name: int(people.groupby([each for each in people.columns if each != name])[name].nunique().min())
        for name in people.columns
    }
    smallest = min(diversity.values())
    names = ", ".join(str(name) for name, value in diversity.items() if value == smallest)
    known = "one value" if smallest == 1 else f"{smallest} values"
    yield (
        "l_diversity",
        smallest,
        2,
        smallest >= 2,
        f"Who knows all other covariates of a client may be left with {known} of the last: true of {names}.",
    )


def _therapist_rows(occasions: pd.DataFrame) -> Iterable[tuple]:
    """Yield how small caseloads are: a therapist with few clients is recognised, and recognises them."""
    seen = occasions.dropna(subset="therapist")
    if seen.empty:
        return
    caseloads = seen.groupby("therapist")["client"].nunique()
    few = caseloads < SMALLEST_CELL
    yield (
        "k_of_therapists",
        unless_few(int(caseloads.min())),
        SMALLEST_CELL,
        bool(not few.any()),
        f"{_percent(few)} of therapists have fewer than {SMALLEST_CELL} clients; no result is of one therapist.",
    )


def _trajectory_rows(
    occasions: pd.DataFrame, measures: Sequence[str], people: pd.DataFrame
) -> Iterable[tuple]:
    """Yield how many clients came and were rated in a pattern that nobody else has."""
    marks = occasions[["occasion_kind", "session", "attendance"]].astype("str").fillna("-")
    rated = occasions[list(measures)].notna().astype(int).astype("str")
    pattern = marks.join(rated).agg(" ".join, axis=1)
    patterns = pattern.groupby(occasions["client"]).agg("|".join)
    alone = ~patterns.duplicated(keep=False)
    yield (
        "unique_trajectories",
        _share(alone),
        0.0,
        bool(not alone.any()),
        f"{_percent(alone)} of clients have a pattern of sessions and missing ratings that is theirs alone: the "
        "session table is never anonymous, whatever is left out of it.",
    )
    lengths = occasions.groupby("client").size().rename("occasions").astype("str")
    together = people.join(lengths)
    alone = ~together.duplicated(keep=False)
    yield (
        "unique_with_length",
        _share(alone),
        0.0,
        bool(not alone.any()),
        f"{_percent(alone)} of clients are alone in their covariates and number of occasions taken together.",
    )


def unless_few(n: int) -> int | None:
    """Return a number of people if it may be told: none at all, or enough to hide each of them."""
    return n if n == 0 or n >= SMALLEST_CELL else None


def counted_clients(n: int) -> str:
    """Say how many clients there are; a number below the smallest group is not given."""
    return f"{n} clients" if n >= SMALLEST_CELL else f"fewer than {SMALLEST_CELL} clients"


def _share(mask: pd.Series) -> float:
    return round(float(mask.mean()), 2)


def _percent(mask: pd.Series) -> str:
    """Say a share in whole percent; one that is not nothing is at least 1 %."""
    if not mask.any():
        return "None"
    return f"{max(round(100 * float(mask.mean())), 1)} %"
