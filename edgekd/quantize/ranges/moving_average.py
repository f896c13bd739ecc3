"""Averages of the batches' least and largest values, as in training: single outliers count less."""

from edgekd.errors import RecipeError
from edgekd.quantize.ranges import Observation


def estimate(observed: Observation, *, momentum: float = 0.9) -> tuple[float, float]:
    """Returns the exponential moving averages of the batches' least and largest values, in order.

    Args:
      observed: what the activation showed.
      momentum: share of the old average, from 0 (the last batch alone) to below 1.

    Raises:
      RecipeError: momentum is out of its range.

    References:
      Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2017
      (arXiv:1712.05877), section 3.
    """
    if not 0 <= momentum < 1:
        raise RecipeError(f"momentum is {momentum}: expected 0 to below 1.")
    low, high = float(observed.minima[0]), float(observed.maxima[0])
    for least, largest in zip(observed.minima[1:], observed.maxima[1:], strict=True):
        low = momentum * low + (1 - momentum) * float(least)
        high = momentum * high + (1 - momentum) * float(largest)
    return low, high
