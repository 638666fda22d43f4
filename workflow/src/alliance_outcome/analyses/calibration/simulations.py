"""What a job of the calibration study does."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from alliance_outcome.analyses.calibration.designs import DESIGNS, DifferenceDesign, MeasurementErrorDesign
from alliance_outcome.analyses.calibration.difference_coverage import difference_intervals
from alliance_outcome.analyses.calibration.joint_ranks import joint_ranks
from alliance_outcome.analyses.calibration.multilevel_ranks import multilevel_ranks


def simulate(name: str, numbers: Iterable[int]) -> pd.DataFrame:
    """Simulate data sets of a design and sample their posteriors.

    Parameters
    ----------
    name : str
        Of a design.
    numbers : iterable of int
        Numbers of the data sets.

    Returns
    -------
    DataFrame
        Ranks, or intervals of D, as the design asks for.
    """
    design = DESIGNS[name]
    if isinstance(design, DifferenceDesign):
        return difference_intervals(name, numbers)
    if isinstance(design, MeasurementErrorDesign):
        return joint_ranks(numbers)
    return multilevel_ranks(name, numbers)
