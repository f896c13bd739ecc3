"""From the events of many runs to one time for each operator."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RESOLUTION_US = 1.0  # both runtimes count whole microseconds, rounded down


def summarised(
    runtime: str,
    operators: Sequence[dict[str, Any]],
    wholes_us: Sequence[float],
    times_us: Sequence[Sequence[float]],
    *,
    plain_us: float,
) -> dict[str, Any]:
    """Returns the probe's answer: means over the faster half of the runs, the same ones for the whole and its parts.

    A run that something interrupted says where the interruption fell and not where the time goes.

    Args:
      runtime: its name and version.
      operators: what is known of each.
      wholes_us: [runs] of the whole inference.
      times_us: [runs][operators].
      plain_us: of an inference without profiling.
    """
    wholes, times = np.asarray(wholes_us, float), np.asarray(times_us, float)
    fast = np.argsort(wholes, kind="stable")[: (len(wholes) + 1) // 2]
    means = times[fast].mean(axis=0)
    return {
        "runtime": runtime,
        "whole_us": float(wholes[fast].mean()),
        "plain_us": plain_us,
        "resolution_us": RESOLUTION_US,
        "operators": [{**each, "mean_us": float(mean)} for each, mean in zip(operators, means, strict=True)],
    }


def timed_us(run: Callable[[], Any], runs: int) -> float:
    """Returns the median of runs after as many that are not timed, in microseconds."""
    samples = []
    for _ in range(2 * runs):
        start = time.perf_counter_ns()
        run()
        samples.append(time.perf_counter_ns() - start)
    return statistics.median(samples[runs:]) / 1e3
