"""Recognise in a cell what identifies a person: national numbers, e-mail, telephone, postal address.

Check digits and telephone plans are those of two well-kept libraries. What is found without doubt in one cell is told
from what may be chance and counts only if nearly a whole column looks so: one in ten numbers of ten digits has the
check digit of some country.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import phonenumbers
from stdnum import iban
from stdnum.be import nn as belgian
from stdnum.ca import sin as canadian
from stdnum.ch import ssn as swiss
from stdnum.de import idnr as german
from stdnum.fr import nir as french
from stdnum.gb import nhs as british
from stdnum.se import personnummer as swedish
from stdnum.us import ssn as american

NATIONAL_NUMBER, EMAIL, TELEPHONE, ADDRESS = (
    "national or account numbers",
    "e-mail addresses",
    "telephone numbers",
    "postal addresses",
)

#: Countries whose telephone plans and national numbers are known here.
REGIONS = ("FR", "BE", "CH", "CA", "GB", "US", "DE", "SE")

_EMAIL = re.compile(r"[^@\s,;:]+@[^@\s,;:]+\.[^@\s,;:]{2,}")
#: A national insurance number: letters that are not given out are left out (HM Revenue & Customs, NIM39110).
_NATIONAL_INSURANCE = re.compile(
    r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(\d\d ?){3}[A-D]", re.IGNORECASE
)
_BRITISH_POSTCODE = re.compile(r"[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}")
_CANADIAN_POSTCODE = re.compile(r"[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z][ -]?\d[ABCEGHJ-NPRSTV-Z]\d")
_STREETS = (
    *("street", "road", "avenue", "lane", "drive", "boulevard", "place", "square", "crescent"),
    *("rue", "chemin", "allee", "allée", "impasse", "quai", "cours", "route", "straat", "laan"),
)
_NUMBER_THEN_STREET = re.compile(
    rf"\d{{1,4}}[a-z]?,? ?(bis|ter)?,? (\w+[ .'\u2019-]+){{0,4}}({'|'.join(_STREETS)})\b.*", re.IGNORECASE
)
_STREET_THEN_NUMBER = re.compile(
    r"[\w .'\u2019-]*(stra(ß|ss)e|str\.|weg|gasse|platz|allee|gatan|vägen|gränd|straat|laan),? \d{1,4} ?[a-z]?\b.*",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d\d?[./-]\d\d?[./-](\d{4}|\d\d)")
_DIALLED = re.compile(r"(\+|00)?[\d ()./-]{7,24}")
#: How people set telephone numbers apart from other numbers.
_SET_AS_TELEPHONE = re.compile(r"(\+|00[1-9]|0\d+[ ./-]|\(\d{2,5}\)|\d{3}-\d{3}-\d{4}$).*")

#: National numbers as people write them, each with its check: sure in a single cell.
_WRITTEN: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(r"[12]( ?\d\d){2} ?\d[\dABab]( ?\d{3}){2} ?\d\d"), french.is_valid),
    (re.compile(r"\d\d\.\d\d\.\d\d[ .-]\d{3}[ .-]\d\d"), belgian.is_valid),
    (re.compile(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d\d"), swiss.is_valid),
    (re.compile(r"\d{3}([ -])\d{3}\1\d{3}"), canadian.is_valid),
    (re.compile(r"\d{3}([ -])\d{3}\1\d{4}"), british.is_valid),
    (re.compile(r"\d{3}-\d\d-\d{4}"), american.is_valid),
    (re.compile(r"\d{2} \d{3} \d{3} \d{3}"), german.is_valid),
    (re.compile(r"(\d\d)?\d{6}[-+]\d{4}"), swedish.is_valid),
    (re.compile(r"(19|20)\d{10}"), swedish.is_valid),
    (re.compile(r"[A-Za-z]{2}\d\d[ \dA-Za-z]{11,40}"), iban.is_valid),
)
#: The same without marks between digits: sure if nearly all of a column pass.
_BARE: tuple[Callable[[str], bool], ...] = tuple(
    country.is_valid for country in (belgian, canadian, british, german, swedish)
)


def sure_kind(text: str) -> str | None:
    """Say what a cell certainly is.

    Parameters
    ----------
    text : str
        A cell without surrounding blanks.

    Returns
    -------
    str or None
        One of the kinds above, or None.
    """
    if _EMAIL.search(text):
        return EMAIL
    if _NATIONAL_INSURANCE.fullmatch(text) or any(
        pattern.fullmatch(text) and is_valid(text) for pattern, is_valid in _WRITTEN
    ):
        return NATIONAL_NUMBER
    if any(
        pattern.fullmatch(text)
        for pattern in (_BRITISH_POSTCODE, _CANADIAN_POSTCODE, _NUMBER_THEN_STREET, _STREET_THEN_NUMBER)
    ):
        return ADDRESS
    return TELEPHONE if _SET_AS_TELEPHONE.fullmatch(text) and _is_telephone(text) else None


def possible_kind(text: str) -> str | None:
    """Say what a cell may be, if most others of its column may be so too.

    Parameters
    ----------
    text : str
        A cell without surrounding blanks.

    Returns
    -------
    str or None
        One of the kinds above, or None.
    """
    if not text.isdigit():
        return None
    if any(is_valid(text) for is_valid in _BARE):
        return NATIONAL_NUMBER
    return TELEPHONE if text.startswith("0") and _is_telephone(text) else None


def _is_telephone(text: str) -> bool:
    """Whether a number can be dialled in one of the countries; dates look alike."""
    if not _DIALLED.fullmatch(text) or _DATE.fullmatch(text):
        return False
    dialled = re.sub(r"^00", "+", text)
    regions = (None,) if dialled.startswith("+") else REGIONS
    return any(_is_valid_in(dialled, region) for region in regions)


def _is_valid_in(text: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False
