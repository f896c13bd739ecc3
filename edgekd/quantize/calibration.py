"""What samples must be for activation ranges to be read from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekd.errors import DataError


def require_usable(samples: Any, shape: Sequence[int | None]) -> np.ndarray[Any, Any]:
    """Returns calibration samples when activation ranges can be read from them.

    Args:
      samples: [samples, *shape] float32.
      shape: one sample's shape; None is a size that is open.

    Raises:
      DataError: missing, empty, constant, not finite, or of another shape or dtype.
    """
    expected = f"expected [samples, {', '.join('any' if size is None else str(size) for size in shape)}] float32"
    if samples is None:
        raise DataError(f"calibration samples are missing, {expected}: give some training images.")
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32:
        raise DataError(f"calibration samples are {getattr(samples, 'dtype', type(samples).__name__)}, {expected}.")
    fits = samples.ndim == len(shape) + 1 and all(
        size in (None, given) for size, given in zip(shape, samples.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"calibration samples have shape {list(samples.shape)}, {expected}.")
    if len(samples) == 0:
        raise DataError(f"there are no calibration samples, {expected}: give some training images.")
    if not np.isfinite(samples).all():
        raise DataError("calibration samples contain NaN or infinity: activation ranges cannot be read from them.")
    if samples.min() == samples.max():
        raise DataError(
            f"every calibration value is {samples.min()}: a constant shows no activation range. Give real inputs."
        )
    return samples
