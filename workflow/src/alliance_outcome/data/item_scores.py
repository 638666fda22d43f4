"""Read the items of a form, check them against its scoring key, and score them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from alliance_outcome.data.headers import closest, fill_pattern, item_patterns
from alliance_outcome.data.instrument_files import InstrumentLibrary
from alliance_outcome.data.instruments import TOTAL, Instrument, MissingRule
from alliance_outcome.data.item_checks import negative_items, out_of_range, rescore_disagreements
from alliance_outcome.data.ledger import STUDY_FILE, Ledger, counted
from alliance_outcome.data.scales import ScaleScores
from alliance_outcome.data.scoring import NO_ITEM_ANSWERED, ScoredForm, key_items, score_items
from alliance_outcome.data.source_files import SourceFile
from alliance_outcome.settings import MeasureSettings

#: Fewest rows on which the direction of an item is judged; with fewer, a negative correlation is easily chance.
MIN_ROWS_FOR_DIRECTION = 50
#: Difference in points at which a stored total still equals the recomputed one: half of its first decimal.
STORED_TOTAL_TOLERANCE = 0.05


def score_items_of(
    name: str,
    measure: MeasureSettings,
    source: SourceFile,
    library: InstrumentLibrary,
    accept_unverified_key: bool,
    ledger: Ledger,
) -> ScaleScores | None:
    """Read, check and score the items of a measure; parameters as for ``measures.read_measure``.

    Returns
    -------
    ScaleScores or None
        None after a fault that leaves nothing to score.
    """
    instrument = find_key(name, measure, library, accept_unverified_key, ledger)
    if instrument is None:
        return None
    headers = _item_headers(name, measure, instrument, source, ledger)
    if headers is None:
        return None
    raw = pd.DataFrame(
        {item: source.ratings(found, name, f"items of {name}") for item, found in enumerate(headers, 1)}
    )
    raw = raw.mask(_refuse_impossible(raw, instrument, headers, source, ledger))
    keyed = key_items(raw, instrument, measure.values)
    usable = source.rows["usable"]
    _refuse_negative(name, measure, keyed[usable], source, ledger)
    scored = score_items(keyed[usable], instrument)
    _announce_scoring(name, scored, instrument, ledger)
    _compare_stored_total(name, measure, scored.total, source, ledger)
    low, high = instrument.score_range()
    factor = "" if instrument.score.multiplier == 1 else f" × {instrument.score.multiplier:g}"
    return ScaleScores(
        label=_label(measure),
        total=scored.total.reindex(raw.index),
        subscales=scored.subscales.reindex(raw.index),
        answered=raw.notna().any(axis=1),
        low=low,
        high=high,
        subscale_ranges={scale: instrument.score_range(scale) for scale in instrument.subscales},
        direction=instrument.direction,
        title=instrument.title,
        origin="items",
        scale_unit=f"{instrument.score.method} of {instrument.n_items} items{factor}",
        form=instrument.commensurate_form,
        recall_days=instrument.recall_days if measure.recall_days is None else measure.recall_days,
        verified=instrument.verified,
        source=instrument.source,
        raw=raw,
        keyed=keyed,
    )


def find_key(
    name: str,
    measure: MeasureSettings,
    library: InstrumentLibrary,
    accept_unverified_key: bool,
    ledger: Ledger,
) -> Instrument | None:
    """Find the scoring key of a measure, and check that it may be used.

    Returns
    -------
    Instrument or None
        The key with the study's own missing rule; None if there is none that can be used.
    """
    key = f"measures.{name}.instrument"
    instrument = library.instruments.get(measure.instrument)
    if instrument is None:
        suggestion = closest(measure.instrument, library.instruments)
        meant = f"did you mean {suggestion}? " if suggestion else ""
        remedy = (
            f"{meant}Otherwise add the form's own key to config/instruments, or declare a ready-made score"
        )
        ledger.fault(STUDY_FILE, key, "there is no scoring key of this name", remedy)
        return None
    if not fits_construct(name, measure, instrument, ledger):
        return None
    if not instrument.has_total:
        remedy = "compute the subscale that is the outcome and declare it as a ready-made score, or add a key for it"
        ledger.fault(STUDY_FILE, key, "this form has subscales, but no total score", remedy)
        return None
    if not instrument.verified:
        parts = ", ".join(instrument.unverified_parts)
        if not accept_unverified_key:
            remedy = "check it against the form; then state accept_unverified_key: true, or add your own verified key"
            ledger.fault(STUDY_FILE, key, f"this scoring key was not verified in a source: {parts}", remedy)
        text = f"The scoring key {instrument.name} was not verified in a source: {parts}."
        ledger.announce("unverified_key", STUDY_FILE, key, 1, text)
    if instrument.name in library.overridden:
        text = f"The study's own key {instrument.name} replaces the shipped one."
        ledger.announce("overridden_key", STUDY_FILE, key, 1, text)
    return _with_study_rule(measure, instrument)


def fits_construct(name: str, measure: MeasureSettings, instrument: Instrument, ledger: Ledger) -> bool:
    """Refuse a form that measures something else, and announce a rater for whom the form is not known."""
    if instrument.construct != measure.construct:
        ledger.fault(
            STUDY_FILE,
            f"measures.{name}.construct",
            f"the form {instrument.name} measures {instrument.construct}, not {measure.construct}",
            "correct construct or instrument",
        )
        return False
    if measure.rater not in instrument.raters:
        known = " and ".join(instrument.raters)
        text = (
            f"The form {instrument.name} is known for {known}, and used for another rater in measure {name}."
        )
        ledger.announce("warning", STUDY_FILE, f"measures.{name}.rater", 1, text)
    return True


def _with_study_rule(measure: MeasureSettings, instrument: Instrument) -> Instrument:
    """Put the study's share of missing items in the place of the key's missing rule."""
    if measure.max_missing_share is None:
        return instrument
    rule = MissingRule(
        method="person_mean",
        max_missing_share=measure.max_missing_share,
        status="read",
        source="The study file.",
    )
    return instrument.with_study_settings(rule)


def _item_headers(
    name: str, measure: MeasureSettings, instrument: Instrument, source: SourceFile, ledger: Ledger
) -> list[list[str | None]] | None:
    """Find the columns of the items: one list per item, with a header per block or None where there is no such item."""
    key = f"measures.{name}.items"
    patterns = item_patterns(measure.items, instrument.n_items, key, ledger)
    if patterns is None or not source.fits_layout(patterns, key):
        return None
    if not source.has_any(patterns):
        source.refuse_pattern(_label(measure), fill_pattern(patterns[0], occasion=source.occasions[0]), key)
        return None
    headers = [source.headers(pattern, key) for pattern in patterns]
    if not all(any(found) for found in headers):
        return None
    complete = True
    for number, occasion in enumerate(source.occasions):
        absent = [item for item, found in enumerate(headers, 1) if found[number] is None]
        if 0 < len(absent) < len(headers):
            items = ", ".join(str(item) for item in absent)
            problem = f"occasion {occasion} has columns for some of the items, but not for items {items}"
            ledger.fault(source.role, _label(measure), problem, "add the columns, or correct the pattern")
            complete = False
    source.announce_absent(name, headers[0])
    return headers if complete else None


def _refuse_impossible(
    raw: pd.DataFrame,
    instrument: Instrument,
    headers: list[list[str | None]],
    source: SourceFile,
    ledger: Ledger,
) -> pd.DataFrame:
    """Note a fault for each item column with values that the form cannot have produced; return where they are."""
    impossible = out_of_range(raw, instrument)
    low, high = instrument.item_range
    for item in impossible.columns[impossible.any()]:
        outside = (raw[item] < low) | (raw[item] > high)
        for header, place in _columns_of(headers[item - 1], source):
            block = np.zeros(len(raw), dtype=bool)
            block[place] = True
            for mask, problem in (
                (outside & block, f"item values outside the range {low:g} to {high:g} of {instrument.name}"),
                (impossible[item] & ~outside & block, "item values that are not whole numbers"),
            ):
                if mask.any():
                    ledger.fault(
                        source.role,
                        header,
                        problem,
                        "correct the cells, list codes for missing under missing_codes, or use a key with the range "
                        "of the form that was given",
                        source.row_numbers(mask),
                    )
    return impossible


def _columns_of(found: list[str | None], source: SourceFile) -> Iterator[tuple[str, slice]]:
    for header, (_, place) in zip(found, source.blocks(), strict=True):
        if header is not None:
            yield header, place


def _refuse_negative(
    name: str, measure: MeasureSettings, keyed: pd.DataFrame, source: SourceFile, ledger: Ledger
) -> None:
    """Note a fault if items run against the rest of their form, the mark of a wrong ``values`` or key."""
    check = negative_items(keyed, MIN_ROWS_FOR_DIRECTION)
    n = len(check.not_judged)
    text = (
        f"{counted(n, 'item')} of {name} not held against the rest of the form, which would show a wrong values or "
        f"key: fewer than {MIN_ROWS_FOR_DIRECTION} forms, or no variation."
    )
    ledger.announce("warning", source.role, _label(measure), n, text)
    if not check.negative:
        return
    items = ", ".join(str(item) for item in check.negative)
    other = "keyed" if measure.values == "raw" else "raw"
    ledger.fault(
        source.role,
        _label(measure),
        f"items {items} correlate negatively with the rest of {measure.instrument}",
        f"if the file holds these items {'already' if other == 'keyed' else 'not yet'} reversed, state "
        f"measures.{name}.values: {other}; otherwise check the order of the columns and the scoring key",
    )


def _announce_scoring(name: str, scored: ScoredForm, instrument: Instrument, ledger: Ledger) -> None:
    """Count the forms with replaced items, and those without a score."""
    key = f"measures.{name}"
    imputed = scored.n_imputed_items
    n = int((imputed > 0).sum())
    text = (
        f"{counted(n, 'form')} of {name} scored with {counted(int(imputed.sum()), 'missing item')} replaced "
        f"({instrument.missing.method.replace('_', ' ')}; {instrument.missing.source})"
    )
    ledger.announce("items_imputed", STUDY_FILE, key, n, text)
    for reason, count in scored.n_not_scored.loc[TOTAL].drop(NO_ITEM_ANSWERED).items():
        text = f"{counted(int(count), 'form')} of {name} without a score: {reason}."
        ledger.announce("not_scored", STUDY_FILE, key, int(count), text)


def _compare_stored_total(
    name: str, measure: MeasureSettings, total: pd.Series, source: SourceFile, ledger: Ledger
) -> None:
    """Compare a total that stands beside the items with the recomputed one, which is used."""
    if measure.score is None:
        return
    key = f"measures.{name}.score"
    headers = source.headers(measure.score, key)
    if not any(headers):
        return
    stored = source.ratings(headers, name, f"stored total of {name}")
    compared = rescore_disagreements(stored[total.index], total, STORED_TOTAL_TOLERANCE)
    text = (
        f"{counted(compared.count, 'stored total')} of {name} of {compared.n_compared} differ from the total of the "
        "items; the total of the items is used."
    )
    ledger.announce("stored_total", source.role, measure.score, compared.count, text)
    n = len(compared.rows_not_recomputed)
    text = f"{counted(n, 'stored total')} of {name} not used, because too many items are missing to recompute them."
    ledger.announce("stored_total", source.role, measure.score, n, text)


def _label(measure: MeasureSettings) -> str:
    """Name the item columns in a message."""
    return measure.items if isinstance(measure.items, str) else f"{measure.items[0]} … {measure.items[-1]}"
