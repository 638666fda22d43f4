"""The items of a form as a matrix: one row per filled-in form, one column per item in the order of the form."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Below this, a difference or correlation is the rounding error of floating-point sums.
ROUNDING_ERROR = 1e-9

type Matrix = NDArray[np.float64]
type Mask = NDArray[np.bool_]


def item_numbers(n_items: int) -> pd.RangeIndex:
    """Number the items of a form from 1."""
    return pd.RangeIndex(1, n_items + 1, name="item")


def item_matrix(items: pd.DataFrame, n_items: int) -> Matrix:
    """Copy the items of n forms into an array.

    Parameters
    ----------
    items : pandas.DataFrame
        n rows, one numeric column per item in the order of the form.
    n_items : int
        Number of items k that the form has.

    Returns
    -------
    numpy.ndarray
        Item values, n by k, NaN where missing.

    Raises
    ------
    ValueError
        If the number of columns is not that of the items, or if columns called by number are out of order.
    TypeError
        If an item is not numeric; the message names the item and never quotes a value.
    """
    if items.shape[1] != n_items:
        raise ValueError(f"{items.shape[1]} item columns for a form of {n_items} items")
    if pd.api.types.is_integer_dtype(items.columns) and list(items.columns) != list(range(1, n_items + 1)):
        raise ValueError("columns that are item numbers must run from 1 in the order of the form")
    for number, (_, column) in enumerate(items.items(), start=1):
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if not numeric and column.notna().any():
            raise TypeError(f"item {number} is not numeric")
    columns = [
        pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan) for _, column in items.items()
    ]
    return np.column_stack(columns)


def item_frame(matrix: Matrix | Mask, index: pd.Index) -> pd.DataFrame:
    """Label an n by k array with its rows and with the item numbers 1 to k."""
    return pd.DataFrame(matrix, index=index, columns=item_numbers(matrix.shape[1]))
