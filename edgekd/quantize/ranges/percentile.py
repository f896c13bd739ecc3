"""Between two percentiles of all values: the outermost values are clipped, whatever they are."""

import numpy as np

from edgekd.errors import RecipeError
from edgekd.quantize.ranges import Observation


def estimate(observed: Observation, *, percentile: float = 99.99) -> tuple[float, float]:
    """Returns the range that leaves out (100 − percentile) % of the values, half of them at each end.

    A value that all of an end shares, such as the zeros after a ReLU, is never left out. Within a bin of the histogram
    values count as evenly spread.

    Args:
      observed: what the activation showed.
      percentile: above 50, up to 100.

    Raises:
      RecipeError: percentile is out of its range.

    References:
      McKinstry et al., Discovering Low-Precision Networks Close to Full-Precision Networks, 2018 (arXiv:1809.04191).
    """
    if not 50 < percentile <= 100:
        raise RecipeError(f"percentile is {percentile}: expected above 50, up to 100.")
    outside = (100 - percentile) / 200
    shares = np.concatenate([[0.0], np.cumsum(observed.counts) / observed.counts.sum()])
    low, high = np.interp([outside, 1 - outside], shares, observed.edges)
    return float(low), float(high)
