"""The finished study that a report is about: its tables and estimates, read once, never its row-level files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from alliance_outcome.analyses.context import AnalysisContext
from alliance_outcome.analyses.estimates import read_estimates
from alliance_outcome.errors import Fault, StudyError

#: Analyses whose coefficients the report shows, in its order.
MODEL_ANALYSES = ("multilevel", "early", "bayesian")

#: Text columns of tables that pandas would otherwise read as numbers, booleans or missing values.
_TEXT_COLUMNS = (
    "passed",
    "value",
    "category",
    "text",
    "column",
    "file",
    "limit",
    "model",
    "rater",
    "rater_b",
    "note",
)

TRUTH_COLUMNS = (
    "row_id",
    "model",
    "estimand",
    "level",
    "rater",
    "rater_b",
    "term",
    "generating_value",
    "pseudo_true_value",
    "pseudo_true_se",
    "unit",
    "note",
)


#: What a table of the panel models' fit has, empty or not.
PANEL_FIT_COLUMNS = (
    *("model", "sample", "n_waves", "n_clients", "n_parameters", "log_likelihood"),
    *("chi_square", "df", "p_value", "cfi", "tli", "rmsea", "rmsea_low", "rmsea_high", "srmr", "aic", "bic"),
)

#: What a table of tests of the panel models' constraints has, empty or not.
CONSTRAINT_COLUMNS = (
    *("model", "constraint", "chi_square", "df", "p_value", "aic_difference", "bic_difference", "reason"),
)

#: What a table of residuals has, empty or not.
DIAGNOSTIC_COLUMNS = ("model", "diagnostic", "level", "term", "at", "value", "n_rows", "n_units")


@dataclass(frozen=True)
class Results:
    """Read access to ``results/<study>/``.

    Parameters
    ----------
    root : Path
        The study's folder. Nothing below its ``data`` folder is ever opened.
    """

    root: Path

    def table(self, name: str) -> pd.DataFrame:
        """Read ``tables/<name>.csv``.

        Raises
        ------
        StudyError
            If the file does not exist.
        """
        return _read_csv(self.root / "tables" / f"{name}.csv")

    def estimates(self, analysis: str) -> pd.DataFrame:
        """Read ``estimates/<analysis>.csv``; raises like :meth:`table`."""
        path = self.root / "estimates" / f"{analysis}.csv"
        _require(path)
        return read_estimates(path)

    @cached_property
    def analyses(self) -> list[str]:
        """The names of all analyses with estimates, in alphabetical order."""
        return sorted(path.stem for path in (self.root / "estimates").glob("*.csv"))

    @cached_property
    def contrast(self) -> pd.DataFrame:
        """The contrast of the raters, all levels and engines."""
        return self.estimates("contrast")

    @cached_property
    def models(self) -> pd.DataFrame:
        """The coefficients of every model of :data:`MODEL_ANALYSES`, stacked."""
        return pd.concat([self.estimates(name) for name in MODEL_ANALYSES], ignore_index=True)

    @cached_property
    def explained(self) -> pd.DataFrame:
        """Shares of explained variance."""
        return self.estimates("explained")

    @cached_property
    def measurement_error(self) -> pd.DataFrame:
        """The contrast with latent means and all rows, without and with correction for reliability."""
        return self.estimates("measurement_error")

    @cached_property
    def dynamics(self) -> pd.DataFrame:
        """Paths of the panel models."""
        return self.estimates("dynamics")

    @cached_property
    def panel_fit(self) -> pd.DataFrame:
        """``tables/fit_dynamics.csv``: how well the panel models fit; without rows where none was fitted."""
        found = self.table("fit_dynamics").reindex(columns=PANEL_FIT_COLUMNS)
        return found.astype(dict.fromkeys(PANEL_FIT_COLUMNS[2:], "float"))

    @cached_property
    def panel_constraints(self) -> pd.DataFrame:
        """``tables/constraints_dynamics.csv``: χ² difference tests of the panel models; may be without rows."""
        found = self.table("constraints_dynamics").reindex(columns=CONSTRAINT_COLUMNS)
        return found.astype(dict.fromkeys(CONSTRAINT_COLUMNS[2:-1], "float"))

    @cached_property
    def bias(self) -> pd.DataFrame:
        """``tables/bias.csv``: what each estimator finds in simulated studies; without rows until it was run."""
        return self.table("bias")

    @cached_property
    def diagnostics(self) -> pd.DataFrame:
        """``tables/diagnostics_multilevel.csv``: residuals and random effects of the model behind the answer."""
        found = self.table("diagnostics_multilevel").reindex(columns=DIAGNOSTIC_COLUMNS)
        return found.assign(value=found["value"].astype(float))

    @cached_property
    def answer(self) -> dict[str, Any]:
        """``tables/answer.json``."""
        return _read_json(self.root / "tables" / "answer.json")

    @cached_property
    def design(self) -> AnalysisContext:
        """``tables/design.json``: what the design stage resolved."""
        path = self.root / "tables" / "design.json"
        _require(path)
        return AnalysisContext.read(path)

    @cached_property
    def data_flow(self) -> pd.DataFrame:
        """``tables/data_flow_ingest.csv`` and ``tables/data_flow_design.csv``, one after the other."""
        return pd.concat([self.table("data_flow_ingest"), self.table("data_flow_design")], ignore_index=True)

    @cached_property
    def scales(self) -> pd.DataFrame:
        """The standard deviations of ``tables/scales_multilevel.csv`` and ``tables/scales_early.csv``."""
        return pd.concat([self.table("scales_multilevel"), self.table("scales_early")], ignore_index=True)

    @cached_property
    def sample(self) -> dict[str, float]:
        """``tables/sample.csv`` as quantity → value."""
        frame = self.table("sample")
        return dict(zip(frame["quantity"], frame["value"].astype(float), strict=True))

    @cached_property
    def checks(self) -> pd.DataFrame:
        """All ``tables/checks_<stage>.csv`` merged, stages in alphabetical order, rows as written."""
        paths = sorted((self.root / "tables").glob("checks_*.csv"))
        frames = [_read_csv(path) for path in paths]
        frames = [frame for frame in frames if len(frame)]
        return (
            pd.concat(frames, ignore_index=True)
            if frames
            else pd.DataFrame(columns=["stage", "name", "passed"])
        )

    @cached_property
    def truth(self) -> pd.DataFrame:
        """``truth.csv`` of a simulated study, otherwise an empty table with its columns."""
        path = self.root / "truth.csv"
        return _read_csv(path) if path.is_file() else pd.DataFrame(columns=list(TRUTH_COLUMNS))

    @property
    def raters(self) -> list[str]:
        """The alliance raters in the order of the design."""
        return list(self.design.raters)


def _require(path: Path) -> None:
    """Refuse to report on an unfinished study."""
    if not path.is_file():
        place = f"{path.parent.name}/{path.name}"
        raise StudyError(
            [Fault("results", None, (), f"{place} does not exist", "run the study again; it is not finished")]
        )


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a table of the pipeline with text as text; one that was written without columns has no rows either."""
    _require(path)
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(_TEXT_COLUMNS, "str"))
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of the pipeline."""
    _require(path)
    return json.loads(path.read_text(encoding="utf-8"))
