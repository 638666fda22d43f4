"""The method sources that the report may cite, and which of them a text does cite."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A method source.

    Parameters
    ----------
    citation : str
        Authors and year as they stand in running text.
    doi : str
        Digital object identifier.
    """

    citation: str
    doi: str


REFERENCES = {
    "curran_bauer": Reference("Curran & Bauer, 2011", "10.1146/annurev.psych.093008.100356"),
    "wang_maxwell": Reference("Wang & Maxwell, 2015", "10.1037/met0000030"),
    "falkenstroem": Reference("Falkenström, Solomonov & Rubel, 2020", "10.1080/10503307.2020.1769875"),
    "zilcha_mano": Reference("Zilcha-Mano et al., 2016", "10.1037/ccp0000058"),
    "crits_christoph": Reference("Crits-Christoph et al., 2011", "10.1037/a0023668"),
    "kruschke": Reference("Kruschke, 2021", "10.1038/s41562-021-01177-7"),
    "psis_loo": Reference("Vehtari, Gelman & Gabry, 2017", "10.1007/s11222-016-9696-4"),
    "kallioinen": Reference("Kallioinen et al., 2024", "10.1007/s11222-023-10366-5"),
    "gelman_r_squared": Reference("Gelman, Goodrich, Gabry & Vehtari, 2019", "10.1080/00031305.2018.1549100"),
    "geldhof": Reference("Geldhof, Preacher & Zyphur, 2014", "10.1037/a0032138"),
    "luedtke": Reference("Lüdtke et al., 2008", "10.1037/a0012869"),
    "allison": Reference("Allison, Williams & Moral-Benito, 2017", "10.1177/2378023117710578"),
    "carpenter": Reference("Carpenter & Kenward, 2013", "10.1002/9781119942283"),
    "bordin": Reference("Bordin, 1979", "10.1037/h0085885"),
    "bland_altman": Reference("Bland & Altman, 2007", "10.1080/10543400701329422"),
    "humberg": Reference("Humberg, Nestler & Back, 2019", "10.1177/1948550618757600"),
    "lai": Reference("Lai, 2021", "10.1037/met0000287"),
    "hamaker": Reference("Hamaker, Kuiper & Grasman, 2015", "10.1037/a0038889"),
    "bates": Reference("Bates et al., 2015", "10.18637/jss.v067.i01"),
    "kenward_roger": Reference("Kenward & Roger, 1997", "10.2307/2533558"),
    "kuznetsova": Reference("Kuznetsova, Brockhoff & Christensen, 2017", "10.18637/jss.v082.i13"),
    "pustejovsky_tipton": Reference("Pustejovsky & Tipton, 2018", "10.1080/07350015.2016.1247004"),
    "hesterberg": Reference("Hesterberg, 2015", "10.1080/00031305.2015.1089789"),
    "west_kenny": Reference("West & Kenny, 2011", "10.1037/a0022936"),
    "rights_sterba": Reference("Rights & Sterba, 2019", "10.1037/met0000184"),
    "azen_budescu": Reference("Azen & Budescu, 2003", "10.1037/1082-989X.8.2.129"),
}


def cite(*names: str) -> str:
    """Write a citation in parentheses.

    Parameters
    ----------
    *names : str
        Keys of :data:`REFERENCES`.

    Returns
    -------
    str
        For example ``(Curran & Bauer, 2011; Wang & Maxwell, 2015)``.
    """
    return f"({'; '.join(REFERENCES[name].citation for name in names)})"


def cited(texts: Iterable[str]) -> list[Reference]:
    """List the sources that texts cite, in alphabetical order."""
    joined = "\n".join(texts)
    found = [reference for reference in REFERENCES.values() if reference.citation in joined]
    return sorted(found, key=lambda reference: reference.citation)
