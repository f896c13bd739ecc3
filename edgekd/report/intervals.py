"""The interval of a mean of a few numbers, such as of one for each seed, and how far an interval reaches."""

import math
import statistics
from collections.abc import Sequence

from edgekd.records import Interval


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Returns the mean with Student's t-interval.

    mean ± t((1 + confidence) / 2; n − 1) · sd / √n, where sd divides by n − 1

    Args:
      values: two or more, independent of each other.
      confidence: between 0 and 1.

    Raises:
      ValueError: fewer than two values, of which no spread can be told.
    """
    import scipy.stats  # late: it takes longer than most of a report

    count = len(values)
    if count < 2:
        raise ValueError(f"an interval of a mean needs two values or more; got {count}.")
    mean = statistics.fmean(values)
    quantile = float(scipy.stats.t.ppf(0.5 + confidence / 2, count - 1))
    reach = quantile * statistics.stdev(values) / math.sqrt(count)
    return Interval(value=mean, low=mean - reach, high=mean + reach, confidence=confidence)


def reach(interval: Interval) -> float:
    """Returns how far an interval reaches from its value, on the side on which it reaches farther."""
    return max(interval.high - interval.value, interval.value - interval.low)
