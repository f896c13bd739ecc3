"""Whether samples fall into two groups: Silverman's test, and what it says of processes and of blocks within them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LEAST_SAMPLES = 20
LEAST_DISTANCE = 0.05  # of the groups' medians
LEAST_SHARE = 0.1  # of the smaller group
P_VALUE = 0.05
RESAMPLES = 200
GRID = 200
MOST_POINTS = 400  # more samples are represented by so many of their quantiles


@dataclasses.dataclass(frozen=True)
class TwoModes:
    """Two groups of samples with a gap between them.

    Attributes:
      low: median of the faster group.
      high: median of the slower group.
      share_high: the slower group's share of the samples.
      p_value: of the test that there is one group.
    """

    low: float
    high: float
    share_high: float
    p_value: float


def two_modes(samples: Sequence[float] | npt.NDArray[np.float64]) -> TwoModes | None:
    """Returns the two groups that independent samples fall into, or None where one explains them.

    Silverman's test on logarithms: the smallest bandwidth with which a Gaussian kernel estimate has one mode, against
    its distribution over samples from that estimate (smoothed, at the samples' own variance). The groups are
    parted at the estimate's deepest valley with a slightly smaller bandwidth. They count when p < 0.05, their medians
    differ by more than 5 % and the smaller has at least a tenth of the samples.

    Args:
      samples: [n] positive; None is returned for fewer than twenty. Of more than 400 so many quantiles are tested.

    References:
      Silverman, Using Kernel Density Estimates to Investigate Multimodality, 1981. Hall and York, On the Calibration of
      Silverman's Test for Multimodality, 2001.
    """
    values = np.asarray(samples, dtype=np.float64)
    if len(values) < LEAST_SAMPLES or np.ptp(values) <= LEAST_DISTANCE * np.median(values):
        return None
    logs = np.sort(np.log(values))
    if len(logs) > MOST_POINTS:
        logs = np.quantile(logs, (np.arange(MOST_POINTS) + 0.5) / MOST_POINTS)
    bandwidth = _critical_bandwidth(logs)
    valley = _valley(logs, 0.9 * bandwidth)
    if valley is None:
        return None
    below, above = np.exp(logs[logs <= valley]), np.exp(logs[logs > valley])
    share = len(above) / len(logs)
    if min(share, 1 - share) < LEAST_SHARE:
        return None
    low, high = float(np.median(below)), float(np.median(above))
    if high <= (1 + LEAST_DISTANCE) * low:
        return None
    generator = np.random.default_rng(0)
    shrink = 1 / np.sqrt(1 + (bandwidth / logs.std()) ** 2)
    drawn = (np.sort(_smoothed(logs, bandwidth, shrink, generator)) for _ in range(RESAMPLES))
    # More than one mode with this bandwidth: the resample's own smallest bandwidth for one mode is wider.
    p_value = float(np.mean([len(_extrema(each, bandwidth)[1]) > 1 for each in drawn]))
    return TwoModes(low, high, share, p_value) if p_value < P_VALUE else None


def within_processes(block_medians: Sequence[npt.NDArray[np.float64]]) -> TwoModes | None:
    """Returns the two groups of blocks within processes, as multiples of their process' fastest block.

    Each process differs from the others, and its blocks share that: blocks that are pooled look like groups where there
    is nothing but processes. So each block is divided by the fastest of its process, which itself is left out. Groups
    that occur in one process alone are none.

    Args:
      block_medians: one array [blocks] per process, positive.
    """
    multiples = [np.delete(each, np.argmin(each)) / each.min() for each in block_medians]
    found = two_modes(np.concatenate(multiples))
    if found is None:
        return None
    middle = np.sqrt(found.low * found.high)
    return found if sum(bool(np.any(each > middle)) for each in multiples) > 1 else None


def _smoothed(
    logs: npt.NDArray[np.float64], bandwidth: float, shrink: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    drawn = generator.choice(logs, len(logs))
    mean = logs.mean()
    smoothed: npt.NDArray[np.float64] = mean + shrink * (
        drawn - mean + bandwidth * generator.standard_normal(len(logs))
    )
    return smoothed


def _critical_bandwidth(logs: npt.NDArray[np.float64]) -> float:
    """Returns the smallest bandwidth with which the kernel estimate has one mode, to a thousandth, by bisection."""
    low, high = 0.0, float(np.ptp(logs)) or 1.0
    while high - low > high / 1000:
        middle = (low + high) / 2
        if len(_extrema(logs, middle)[1]) > 1:
            low = middle
        else:
            high = middle
    return high


def _valley(logs: npt.NDArray[np.float64], bandwidth: float) -> float | None:
    grid, peaks, density = _extrema(logs, bandwidth)
    if len(peaks) < 2:
        return None
    first, last = sorted(sorted(peaks, key=lambda peak: density[peak])[-2:])
    return float(grid[first + int(np.argmin(density[first : last + 1]))])


def _extrema(
    logs: npt.NDArray[np.float64], bandwidth: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Returns a grid, the places of the estimate's modes on it, and the estimate there, unscaled."""
    grid = np.linspace(logs[0], logs[-1], GRID)
    density = np.exp(-0.5 * ((grid[:, None] - logs[None, :]) / bandwidth) ** 2).sum(axis=1)
    padded = np.concatenate([[-np.inf], density, [-np.inf]])
    peaks = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
    return grid, peaks, density
