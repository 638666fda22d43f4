"""Recognise by its header what a column may hold of a person: names, addresses, numbers, birth dates, free text.

A header alone refuses nothing: ``phone_sessions`` counts sessions, ``birth_order`` is one of four numbers. What must be
in the cells, too, is the business of :mod:`alliance_outcome.data.disclosure`.
"""

from __future__ import annotations

import re
import unicodedata

from alliance_outcome.data.identifying_text import ADDRESS, EMAIL, NATIONAL_NUMBER, TELEPHONE

NAME, BIRTH_DATE, FREE_TEXT = "names of persons", "dates of birth", "free text"
#: A name, but perhaps of an instrument, a site or a drug.
SOME_NAME = "names"

#: Words of headers in English, French, German, Dutch and Swedish; several words must stand side by side.
_WORDS = {
    NAME: (
        *("surname", "lastname", "firstname", "forename", "fullname", "initials", "last name", "first name"),
        *("full name", "family name", "given name", "middle name", "maiden name", "patient name"),
        *("client name", "therapist name", "participant name"),
        *("prenom", "nom famille", "nom de famille", "nom patient", "initiales"),
        *("nachname", "vorname", "familienname", "initialen", "achternaam", "voornaam"),
        *("fornamn", "efternamn"),
    ),
    SOME_NAME: ("name", "names", "nom", "naam", "namn"),
    EMAIL: ("email", "e mail", "mail", "courriel", "epost", "mailadresse"),
    TELEPHONE: (
        *("phone", "telephone", "tel", "mobile", "cellphone", "fax", "telefon", "handy", "natel", "gsm"),
        *("telephonenumber", "phonenumber", "telefonnummer", "handynummer", "telefoon"),
    ),
    ADDRESS: (
        *("address", "street", "zip", "zipcode", "postcode", "postal code", "adresse", "rue", "code postal"),
        *("anschrift", "strasse", "plz", "postleitzahl", "npa", "adres", "straat", "adress", "gatuadress"),
        *("postnummer",),
    ),
    BIRTH_DATE: (
        *("dob", "birthdate", "birthday", "birth date", "date of birth", "birth"),
        *("ddn", "date naissance", "date de naissance", "naissance", "geburtsdatum", "geburtstag", "gebdat"),
        *("geboortedatum", "fodelsedatum"),
    ),
    NATIONAL_NUMBER: (
        *(
            "ssn",
            "social security",
            "national insurance",
            "nino",
            "sin",
            "nhs",
            "insurance number",
            "passport",
        ),
        *("nir", "securite sociale", "numero avs", "avs", "ahv", "sozialversicherungsnummer", "steuer id"),
        *("versichertennummer", "rijksregister", "rijksregisternummer", "niss", "personnummer", "medicare"),
        *("hospital number", "medical record number", "mrn", "iban"),
    ),
    FREE_TEXT: (
        *("comment", "comments", "note", "notes", "remark", "remarks", "verbatim", "free text", "narrative"),
        *("commentaire", "commentaires", "remarque", "remarques", "bemerkung", "bemerkungen", "anmerkung"),
        *("kommentar", "opmerking", "opmerkingen"),
    ),
}


def header_kind(header: str) -> str | None:
    """Say what a header announces.

    Parameters
    ----------
    header : str
        As in the file: words may be told apart by blanks, marks or capitals, with accents or without.

    Returns
    -------
    str or None
        What the column may hold, in words; None if the header says nothing of the kind. Where it says several things,
        the one whose words are longer: an ``email address`` is no postal one.
    """
    words = f" {' '.join(_words(header))} "
    found = [(len(word), kind) for kind, known in _WORDS.items() for word in known if f" {word} " in words]
    if (EMAIL in {kind for _, kind in found}) and (ADDRESS in {kind for _, kind in found}):
        return EMAIL
    return max(found)[1] if found else None


def _words(header: str) -> list[str]:
    """Split a header into small words without accents."""
    plain = unicodedata.normalize("NFKD", header.replace("ß", "ss"))
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain)
    return [word for word in re.split(r"[^a-z]+", parted.casefold()) if word]
