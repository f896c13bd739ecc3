"""Whether a model slows down while it runs for minutes: pure functions of one process' blocks."""

import dataclasses

import numpy as np

from edgekd.bench import stats
from edgekd.bench.samples import ProcessSamples

NS_PER_MINUTE = 60_000_000_000
LEAST_MINUTES = 2  # a shorter measurement has nothing to compare


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
    minutes = (begins - begins[0]) // NS_PER_MINUTE
    blocks = process.blocks_ms
    medians = tuple(
        float(np.median(np.concatenate([blocks[index] for index in np.flatnonzero(minutes == minute)])))
        for minute in np.unique(minutes)
    )
    lasted = begins[-1] - begins[0] + sum(process.blocks[-1].samples_ns)
    if lasted < LEAST_MINUTES * NS_PER_MINUTE or len(blocks) < stats.DRIFT_BLOCKS:
        return Sustained(medians, None)
    change = stats.drift([float(np.median(block)) for block in blocks])
    return Sustained(medians, change is not None and change > stats.MAX_DRIFT)
