"""What the coverage study of the panel models simulates: processes, sizes, dropout, seed, and which cells are judged.

Everything here was fixed before the first run.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

#: Never changed after a result has been seen.
SEED = 51126

#: Simulated studies per design, and how many of them make a job.
STUDIES, CHUNK = 2_000, 500

CLIENTS, SESSIONS = (100, 200, 400), (5, 8, 12)
#: Without and with linear trends of clients.
PROCESSES = ("no_trends", "trends")
#: Nothing missing; leaving that depends on the severity before; leaving that depends on the severity not seen.
MISSING = ("complete", "mar", "mnar")

DYNAMIC, PLAIN, TRENDS = "dynamic_panel", "cross_lagged", "cross_lagged_trends"
#: Estimators, and the processes that they are correctly specified for.
ESTIMATORS = {DYNAMIC: ("no_trends",), PLAIN: ("no_trends",), TRENDS: ("no_trends", "trends")}

#: Paths to severity, client-rated and therapist-rated alliance from the same before, in standard deviations.
PATHS = ((0.4, -0.15, -0.05), (-0.15, 0.3, 0.1), (-0.1, 0.1, 0.3))
TRUTH = {"client": -0.15, "therapist": -0.05, "difference": -0.10}
#: Correlations of what is stable of clients, of what is new at each session, and of trends.
STABLE = ((1.0, -0.4, -0.3), (-0.4, 1.0, 0.5), (-0.3, 0.5, 1.0))
INNOVATION = ((0.8, -0.2, -0.1), (-0.2, 0.8, 0.2), (-0.1, 0.2, 0.8))
TREND = ((1.0, -0.3, -0.2), (-0.3, 1.0, 0.3), (-0.2, 0.3, 1.0))
MEANS = (5.0, 3.0, 4.0)
#: Standard deviation of what a trend amounts to from the first session to the last.
TREND_SD = 1.0
#: Log-odds of leaving before a session at average severity, and what one standard deviation of severity adds.
LEAVING, LEAVING_BY_SEVERITY = -2.2, 0.6

#: Points by which coverage may be off beside three Monte Carlo standard errors.
ALLOWED = 0.015
#: Clients from which every cell is judged, and clients for each parameter from which smaller ones are.
JUDGED_CLIENTS, JUDGED_RATIO = 400, 5


@dataclass(frozen=True)
class Design:
    """One kind of study.

    Parameters
    ----------
    process : str
        Of :data:`PROCESSES`.
    clients, sessions : int
    missing : str
        Of :data:`MISSING`.
    """

    process: str
    clients: int
    sessions: int
    missing: str

    @property
    def name(self) -> str:
        """Name in paths."""
        return f"{self.process}-{self.clients}-{self.sessions}-{self.missing}"


DESIGNS = {
    design.name: design
    for design in (
        Design(process, clients, sessions, missing)
        for sessions, process, clients, missing in product(SESSIONS, PROCESSES, CLIENTS, MISSING)
    )
}


def chunks(studies: int = STUDIES) -> list[range]:
    """Return the numbers of the studies of each job."""
    return [range(first, min(first + CHUNK, studies)) for first in range(0, studies, CHUNK)]


def result_files(design: str) -> list[str]:
    """List the files of the jobs of a design."""
    return [f"results/panel_coverage/{design}/{studies[0]}-{studies[-1]}.parquet" for studies in chunks()]


def stored_tables(folder: str) -> list[str]:
    """List the tables that are there, one for each design; all of them if there is none.

    Parameters
    ----------
    folder : str

    Returns
    -------
    list of str
        The page is of what was run: all designs take many hours, and need not be run in one go.
    """
    tables = [f"{folder}/{design}.csv" for design in DESIGNS]
    return [table for table in tables if Path(table).is_file()] or tables
