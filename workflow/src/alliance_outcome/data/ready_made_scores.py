"""Read scores that somebody else computed, and make a total where a file holds subscales only."""

from __future__ import annotations

import math

import pandas as pd

from alliance_outcome.data.instrument_files import InstrumentLibrary
from alliance_outcome.data.instruments import Instrument
from alliance_outcome.data.item_scores import fits_construct
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.scales import ScaleScores
from alliance_outcome.data.source_files import SourceFile
from alliance_outcome.settings import MeasureSettings

Range = tuple[float, float]


def read_ready_made(
    name: str, measure: MeasureSettings, source: SourceFile, library: InstrumentLibrary, ledger: Ledger
) -> ScaleScores | None:
    """Read a ready-made score and subscales; parameters as for ``measures.read_measure``.

    Returns
    -------
    ScaleScores or None
        None after a fault that leaves nothing to read.
    """
    key = library.instruments.get(measure.instrument)
    consistent = _is_consistent(name, measure, key, ledger)
    patterns = {"total": measure.score} if measure.score else {}
    patterns |= measure.subscales
    values = {scale: _read(name, scale, pattern, source, ledger) for scale, pattern in patterns.items()}
    if not consistent or any(column is None for column in values.values()):
        return None
    ranges = _subscale_ranges(measure, key)
    for scale, pattern in patterns.items():
        bounds = measure.range if scale == "total" else ranges[scale]
        _refuse_outside(name, pattern, values[scale], bounds, source, ledger)
    subscales = pd.DataFrame({scale: values[scale] for scale in measure.subscales}, index=source.rows.index)
    if measure.score:
        total, (low, high), unit = values["total"], measure.range, "ready-made score"
        _announce_fractions(name, measure, key, total, source, ledger)
    else:
        total, (low, high), unit = _total_of_subscales(name, measure, key, subscales, source, ledger)
    answered = pd.DataFrame(values).notna().any(axis=1)
    uses_key = key is not None and not measure.score and unit != "mean of subscales"
    return ScaleScores(
        label=next(iter(patterns.values())),
        total=total,
        subscales=subscales,
        answered=answered,
        low=low,
        high=high,
        subscale_ranges=ranges,
        direction=measure.direction,
        title=key.title if key else measure.instrument,
        origin="score" if measure.score else "subscales",
        scale_unit=unit,
        form=measure.form,
        recall_days=key.recall_days if key and measure.recall_days is None else measure.recall_days,
        verified=key.verified if uses_key else None,
        source=key.source if uses_key else None,
    )


def _is_consistent(name: str, measure: MeasureSettings, key: Instrument | None, ledger: Ledger) -> bool:
    """Check range, direction and subscales against each other and against a key of the form's name, if there is one."""
    before = len(ledger.faults.faults)
    where = f"measures.{name}"
    low, high = measure.range
    if not (low < high and math.isfinite(high - low)):
        remedy = "give [lowest, highest] possible score"
        ledger.fault(STUDY_FILE, f"{where}.range", "these are not two numbers in ascending order", remedy)
    if key is not None and fits_construct(name, measure, key, ledger):
        if key.direction != measure.direction:
            ledger.fault(
                STUDY_FILE,
                f"{where}.direction",
                f"the scoring key {key.name} says {key.direction}, the study file {measure.direction}",
                "correct direction; if the stored scores were turned round, give the form a name of your own",
            )
        _check_range(name, measure, key, ledger)
    return len(ledger.faults.faults) == before


def _check_range(name: str, measure: MeasureSettings, key: Instrument, ledger: Ledger) -> None:
    """Compare the stated range with the ranges that the key knows."""
    where = f"measures.{name}"
    if not measure.score:
        if _covers(measure, key) and _subscale_kind(measure, key) is None:
            ledger.fault(
                STUDY_FILE,
                f"{where}.range",
                f"neither the range of an item nor that of a score of {key.name}, so that the total cannot be made",
                "correct the range; for a version with another range, give the form a name of your own",
            )
        return
    if measure.range not in (key.item_range, key.score_range()):
        text = f"The stated range of {name} is not the one that the scoring key {key.name} gives."
        ledger.announce("warning", STUDY_FILE, f"{where}.range", 1, text)


def _read(name: str, scale: str, pattern: str, source: SourceFile, ledger: Ledger) -> pd.Series | None:
    """Read one column of scores."""
    key = f"measures.{name}.score" if scale == "total" else f"measures.{name}.subscales.{scale}"
    if not source.fits_layout([pattern], key):
        return None
    headers = source.headers(pattern, key)
    if not any(headers):
        return None
    source.announce_absent(name, headers)
    if any(header and header.upper().startswith("WAI") for header in headers):
        text = (
            f"Measure {name} is read from a column whose name starts with WAI: make sure that it is the Working "
            "Alliance Inventory, and not the Weinberger Adjustment Inventory."
        )
        ledger.announce("warning", source.role, pattern, 1, text)
    return source.ratings(headers, name, f"score of {name}")


def _refuse_outside(
    name: str, pattern: str, values: pd.Series, bounds: Range, source: SourceFile, ledger: Ledger
) -> None:
    """Note a fault if scores lie outside their range."""
    low, high = bounds
    outside = (values < low) | (values > high)
    if outside.any():
        n = int(outside.sum())
        ledger.fault(
            source.role,
            pattern,
            f"{counted(n, 'value')} of {name} outside the stated range {low:g} to {high:g}",
            f"correct the cells or measures.{name}.range; make sure that the column is the form that {name} names",
            source.row_numbers(outside),
        )


def _announce_fractions(
    name: str,
    measure: MeasureSettings,
    key: Instrument | None,
    total: pd.Series,
    source: SourceFile,
    ledger: Ledger,
) -> None:
    """Count scores that a sum of whole items cannot give: somebody has replaced missing items, or worse."""
    sums = (
        key is not None
        and key.score.method == "sum"
        and key.score.multiplier == 1
        and not key.decimals_allowed
    )
    if sums and measure.range == key.score_range():
        n = int((total.notna() & (total != total.round())).sum())
        text = f"{counted(n, 'ready-made score')} of {name} not whole, though the form's score is a sum of whole items."
        ledger.announce("stored_total", source.role, measure.score, n, text)


def _covers(measure: MeasureSettings, key: Instrument | None) -> bool:
    """Whether the study's subscales are all those of the key, and hold all its items."""
    if key is None or not key.has_total or set(measure.subscales) != set(key.subscales):
        return False
    return sum(len(items) for items in key.subscales.values()) == key.n_items


def _subscale_kind(measure: MeasureSettings, key: Instrument) -> str | None:
    """Tell by the stated range whether subscales are means of items or scored like the key's total."""
    if measure.range == key.item_range:
        return "mean"
    scored = {key.score_range(scale) for scale in key.subscales} | {key.score_range()}
    return "scored" if measure.range in scored else None


def _subscale_ranges(measure: MeasureSettings, key: Instrument | None) -> dict[str, Range]:
    """Range of each subscale: the stated one, unless the key says that it is the total's or another subscale's."""
    if _covers(measure, key) and _subscale_kind(measure, key) == "scored":
        return {scale: key.score_range(scale) for scale in measure.subscales}
    return dict.fromkeys(measure.subscales, measure.range)


def _total_of_subscales(
    name: str,
    measure: MeasureSettings,
    key: Instrument | None,
    subscales: pd.DataFrame,
    source: SourceFile,
    ledger: Ledger,
) -> tuple[pd.Series, Range, str]:
    """Make a total of complete sets of subscales; return it with its range and how it was made."""
    if not _covers(measure, key):
        total, bounds, unit = subscales.mean(axis=1, skipna=False), measure.range, "mean of subscales"
    elif _subscale_kind(measure, key) == "scored" and key.score.method == "sum":
        total, bounds, unit = subscales.sum(axis=1, skipna=False), key.score_range(), "sum of subscales"
    else:
        weights = pd.Series({scale: len(key.subscales[scale]) for scale in subscales}, dtype=float)
        total = (subscales * weights).sum(axis=1, skipna=False) / weights.sum()
        bounds, unit = measure.range, "mean of subscales weighted by their items"
    text = f"The total of {name} is made of its subscales: {unit}."
    ledger.announce("assumed", source.role, None, int(total.notna().sum()), text)
    n = int((subscales.notna().any(axis=1) & total.isna()).sum())
    text = f"{counted(n, 'row')} of {name} without a total: a subscale is missing."
    ledger.announce("not_scored", source.role, None, n, text)
    return total, bounds, unit
