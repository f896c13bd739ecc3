"""Whether a model slows down while it runs for minutes: pure functions of one process' blocks."""

import dataclasses
import itertools

import numpy as np

from edgekd.bench import noise, stats
from edgekd.bench.samples import ProcessSamples

NS_PER_MINUTE = 60_000_000_000
LEAST_MINUTES = 2  # a shorter measurement has nothing to compare
SLACK_NS = 1_000_000_000  # blocks follow each other with a little between them


@dataclasses.dataclass(frozen=True)
class Sustained:
    """What became of the latency over time.

    Attributes:
      minute_medians_ms: the median of every begun minute, by when its blocks began.
      throttled: whether it rose clearly and by more than 5 %; None where it lasted less than two minutes.
    """

    minute_medians_ms: tuple[float, ...]
    throttled: bool | None


def judge(process: ProcessSamples) -> Sustained:
    """Returns the medians of the minutes and whether the model became slower from the first block to the last.

    Args:
      process: whose blocks follow each other for minutes.
    """
    begins = np.array([block.begin_ns for block in process.blocks])
    blocks = process.blocks_ms
    _, firsts = np.unique((begins - begins[0]) // NS_PER_MINUTE, return_index=True)
    bounds = itertools.pairwise([*firsts, len(blocks)])
    medians = tuple(float(np.median(np.concatenate(blocks[first:end]))) for first, end in bounds)
    last = process.blocks[-1]
    lasted = (last.end_ns or last.begin_ns + sum(last.samples_ns)) - begins[0]
    if lasted < LEAST_MINUTES * NS_PER_MINUTE - SLACK_NS or len(blocks) < stats.DRIFT_VALUES:
        return Sustained(medians, None)
    change = stats.drift([float(np.median(block)) for block in blocks])
    return Sustained(medians, change is not None and change > noise.MAX_DRIFT)
