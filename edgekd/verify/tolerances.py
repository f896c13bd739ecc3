"""How much two computations of one network may differ, derived from the number format."""

from typing import Any

import numpy as np

from edgekd.errors import NonFiniteError, ShapeError

FLOAT_MULTIPLE = 64
"""Multiples of epsilon that a different order of the same float sums may cost.

Rounding errors of a sum of K products grow like the square root of K where they are independent, and 64 is the square
root of 4096 terms, more than most layers of an edge network add up; errors of several layers partly cancel."""


def float_tolerance(
    reference: np.ndarray[Any, Any], *, dtype: str = "float32", multiple: int = FLOAT_MULTIPLE
) -> float:
    """Returns the largest absolute difference that rounding explains: multiple * epsilon(dtype) * max |reference|.

    Args:
      reference: the reference's outputs, any shape.
      dtype: the coarsest float format on the way: float32, or float16 where weights are stored so.
      multiple: how many epsilons.

    Raises:
      ShapeError: an empty reference.
      NonFiniteError: NaN or infinity in the reference, or zeros only (no tolerance can be derived from them).
    """
    reference = np.asarray(reference)
    if reference.size == 0:
        raise ShapeError("the reference is empty: nothing can be compared with it.")
    magnitude = float(np.max(np.abs(reference)))
    if not np.isfinite(magnitude) or magnitude == 0:
        raise NonFiniteError(f"the reference's largest magnitude is {magnitude}: no tolerance can be derived from it.")
    return multiple * float(np.finfo(np.dtype(dtype)).eps) * magnitude
