"""A made-up clinic with a known answer: the example study's raw files and the true values behind them.

The model is public and complete on this page. Its parameters are the fields of
:class:`~alliance_outcome.simulation_settings.SimulationSettings`; **every default is an assumption of a
made-up study, not a finding of any paper**. :func:`generating_values` tabulates the true answer,
:func:`simulate_study` draws a study, and :func:`write_raw_files` writes it the way a clinic would export it.

Notes
-----
*Units.* Severity Y is in points of the CORE-10 score (0 to 40, higher = worse), alliance A in points of the
mean WAI-S item (1 to 7); C is the client's rating of the alliance, T the therapist's. Client i has therapist
j; the slot t is 0 at the intake, 1 to n_i at the planned sessions and n_i + 1 at the end assessment. Time
counts sessions *held*: a missed appointment moves the calendar, not the process. Y_t is taken before session
t, A_t after it.

*Lengths.* n_i is uniform on the whole numbers from ``planned_sessions_min`` to ``planned_sessions_max`` and
independent of everything else; N is its mean (14). Caseloads are log-normal shares of the clients, kept
between 3 and 20.

*Stable differences.* Therapists have stable alliances (aC_j, aT_j) with SDs .22 and .40 and correlation .30,
caseload differences in intake severity (SD .7) and unexplained differences in their clients' change v_j (SD
1.3). Clients have intake severity I_ij (mean 20, SD 4.7) and stable alliances (aC_ij, aT_ij) with SDs .65 and
.50, all three correlated: more severe clients start with a weaker alliance (-.20, -.15) and the raters agree
in part (.35). Therapists differ more in what they rate than in how clients rate them.

*Courses.* With a mean, a linear and a delayed shape of change,

    h(t) = log(max(t, 1)) / log(N + 1),    l(t) = max(t - 1, 0) / N,    d(t) = max(t - 3, 0) / (N - 2),

the courses are

    Y*_ij(t) = I_ij + Delta h(t) + [(rho - 1)(I_ij - mu_I) + v_j + r_ij] l(t)
               + [bbC aC_ij + bbT aT_ij + btC aC_j + btT aT_j] d(t)
    A*r_ij(t) = mu_r + Delta_r h(t) + ar_j + ar_ij + kr_ij (t - 4) / 10,        r = C, T.

Severity starts at mu_I = 20 and falls by Delta = -8 over a therapy of N sessions, fast at first, and by more
for clients who start high (rho = .6); r_ij has SD 3.5. Alliance starts at mu_C = 5.15 and mu_T = 4.75 and
grows by Delta_C = .4 and Delta_T = .3; kC and kT have SDs .20 and .15 and correlation .30. The stable
alliance acts on severity from session 3 on (``alliance_effect_onset``), so that the severity before session 3
holds none of its effect and may be adjusted for. Individual trends are linear in t and correlated (r with kC:
-.30, with kT: -.20): severity falls where alliance grows, without one causing the other, which is what biases
models without trends. Alliance trends are 0 at session 4, the middle of the early window, so that they do not
enter early alliance. d(n_i + 1) averages exactly 1 over the planned lengths; the between-client and
between-therapist effects bbC, bbT, btC, btT are therefore the mean effects of the stable alliances on the end
assessment, given I_ij. r_ij and v_j are independent of the stable alliances: the early-alliance effect is
unconfounded given intake severity.

*Within clients.* The departures y, wC, wT from the courses are a stationary VAR(1) with a reverse path,

    y_t  = phi_Y y_{t-1} + b_C wC_{t-1} + b_T wT_{t-1} + e_t          e: SD 2.6
    wC_t = phi_C wC_{t-1} + c_C y_t + uC_t + rC_t                     uC: SD .38
    wT_t = phi_T wT_{t-1} + c_T y_t + uT_t + rT_t                     uT: SD .36, corr(uC, uT) = .25

with phi = .35, .30, .30. b_C = -1.5 and b_T = -.4 CORE-10 points per WAI-S point are the lag-1 effects:
alliance after a session on severity before the next. c_C = -.03 and c_T = -.02 WAI-S points per CORE-10 point
are the reverse path.

*Ruptures.* In each session a rupture happens with probability .045, whatever went before. It lowers wC by
.8 (more than 1.5 within-client SDs) and wT by .3: clients see more of it than therapists. A repaired one
(half of them) fades by the autoregression; an unrepaired one is held down by further shocks of depth times
(1 - phi) for 4 more sessions. Shocks are centred, and the process has run long before the intake, so that
mean 0 and one covariance hold in every slot;
:func:`~alliance_outcome.data.simulate_within.within_covariance` computes it exactly. e_t is independent of
every earlier alliance, so that the equation of y holds whatever the ruptures do.

*Dropout.* After session t >= 4 a client with sessions left does not come back with log odds -3.6 + .06
(severity above the mean of t) - .7 (client alliance above the mean of t). It depends on latent values and is
thus informative even given what was observed. The end assessment belongs to the date of the planned end; it
takes place with probability .92 after a planned and .35 after an unplanned ending, and a dropout does not
itself change severity.

*Items.* An item is the true value (severity / 10, or alliance) plus the item's offset plus a Gaussian error
(SD .60 CORE-10, .85 client WAI-S, .95 therapist WAI-S), rounded and held within the response range.
Therapists' ratings are less reliable within clients for two reasons: more error and less true change. Single
items are left out with probability .01, whole forms with .04 (CORE-10), .06 (client) and .12 (therapist); the
intake and end forms are never missing as a whole. Covariates (age band, gender, diagnosis, treatment,
experience, orientation) have no effect on anything.

*Appointments.* They are one week apart, two with probability .15, give or take a day. After the first, each
is missed with probability .12, at most three in a row; two in five missed ones are no-shows. Of the clients
who drop out, 60 % have a last no-show on file.

*Files.* ``sessions.csv`` has one row per client and appointment, intake and end assessment: ``client_id``,
``therapist_id``, ``occasion`` (intake, session, end), ``session`` (number of the appointment, counting missed
ones; blank at intake and end), ``week`` (since the first session), ``attendance`` (A attended, C cancelled, N
no-show; blank at intake and end), ``core10_01`` to ``_10`` (0 to 4, items 2 and 3 positively worded, as
ticked; 999 = not answered; blank where no form was due), ``wais_c_01`` to ``_12`` and ``wais_t_01`` to
``_12`` (1 to 7, items 4 and 10 negatively worded, as ticked; blank = missing). ``clients.csv`` and
``therapists.csv`` hold the covariates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alliance_outcome.data.simulate_export import export_tables
from alliance_outcome.data.simulate_process import simulate_process
from alliance_outcome.data.simulate_streams import NamedStreams
from alliance_outcome.data.simulate_truth import generating_values
from alliance_outcome.simulation_settings import SimulationSettings

__all__ = ["SimulatedStudy", "generating_values", "simulate_study", "write_raw_files"]

#: Names of the raw files, by the field of :class:`SimulatedStudy` that each holds.
RAW_FILES = {"sessions": "sessions.csv", "clients": "clients.csv", "therapists": "therapists.csv"}


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """A simulated study: what the clinic exports, and what only the generator knows.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters it was drawn with.
    sessions, clients, therapists : DataFrame
        The raw files, column by column as the module's notes list them.
    latent : DataFrame
        One row per client and slot of the therapy as planned, whether or not it was held: ``client_id,
        therapist_id, occasion, slot, held, session`` (number in the session file, missing unless held),
        ``rupture`` (none, repaired, unrepaired), ``intake_severity`` (I); ``severity, client_alliance,
        therapist_alliance`` and their ``_within_client`` departures from the client's own course;
        ``client_alliance_between_client, client_alliance_between_therapist`` and the same for the therapist's
        rating (stable alliances). Severities are in CORE-10 points, alliances in WAI-S points.
    truth : DataFrame
        :func:`generating_values` of the settings.
    """

    settings: SimulationSettings
    sessions: pd.DataFrame
    clients: pd.DataFrame
    therapists: pd.DataFrame
    latent: pd.DataFrame
    truth: pd.DataFrame


def simulate_study(settings: SimulationSettings, seed: int | np.random.Generator) -> SimulatedStudy:
    """Draw a study.

    Parameters
    ----------
    settings : SimulationSettings
        Parameters of the generator.
    seed : int or numpy.random.Generator
        Root of all random numbers. Every random step has its own stream, named after it, so that a change of
        one step leaves the others' numbers alone. A generator is advanced once.

    Returns
    -------
    SimulatedStudy
        The same study for the same settings and integer seed.

    Raises
    ------
    StudyError
        If the settings make the within-client deviations grow without limit.
    """
    streams = NamedStreams(seed)
    process = simulate_process(settings, streams)
    tables = export_tables(settings, process, streams)
    return SimulatedStudy(
        settings,
        tables.sessions,
        tables.clients,
        tables.therapists,
        tables.latent,
        generating_values(settings),
    )


def write_raw_files(study: SimulatedStudy, directory: str | Path) -> None:
    """Write ``sessions.csv``, ``clients.csv`` and ``therapists.csv``.

    Parameters
    ----------
    study : SimulatedStudy
        The study.
    directory : str or Path
        Folder, made if it does not exist; files of the same names are replaced.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for field, name in RAW_FILES.items():
        getattr(study, field).to_csv(folder / name, index=False, lineterminator="\n")
