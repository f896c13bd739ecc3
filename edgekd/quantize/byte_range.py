"""Whether a network is shown bytes: then the range of its input is known, whatever samples happen to show."""

from typing import Any

import numpy as np

_MOST = 255
_ROUNDING = 2 * _MOST * float(np.finfo(np.float32).eps)  # of a byte over 255 times 255, in bytes


def byte_step(samples: np.ndarray[Any, Any]) -> float | None:
    """Returns by how much inputs differ that are one byte apart, or None where samples are not bytes.

    Bytes come as whole numbers from 0 to 255 (the step is 1), or divided by 255 (1/255). With the range of a byte, 0 to
    255 steps, the integers of a quantised input are the bytes themselves.

    Args:
      samples: [samples, ...] float.
    """
    low, high = float(np.min(samples)), float(np.max(samples))
    if not 0 <= low <= high <= _MOST:
        return None
    step = 1.0 if high > 1 else 1 / _MOST
    steps = np.asarray(samples, np.float64) / step
    return step if np.all(np.abs(steps - np.rint(steps)) <= _ROUNDING) else None


def byte_range(step: float) -> tuple[float, float]:
    """Returns the least and the largest input that is a byte times the step."""
    return 0.0, _MOST * step
