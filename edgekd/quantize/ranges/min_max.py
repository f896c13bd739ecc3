"""From the least value to the largest: nothing is clipped, and one outlier costs every other value precision."""

from edgekd.quantize.ranges import Observation


def estimate(observed: Observation) -> tuple[float, float]:
    """Returns the least and the largest value of all."""
    return float(observed.minima.min()), float(observed.maxima.max())
