import numpy as np
import pytest

from edgekd.bench import sustain
from tests.bench.test_stats import process


def over_time(medians_ms, *, seconds_each):
    made = process([[median] * 5 for median in medians_ms])
    blocks = [
        block.model_copy(update={"begin_ns": round((7 + index * seconds_each) * 1e9)})
        for index, block in enumerate(made.blocks)
    ]
    return made.model_copy(update={"blocks": tuple(blocks)})


def test_minutes_count_from_the_first_block():
    found = sustain.judge(over_time([1.0, 1.2, 2.0, 2.2, 3.0, 3.0, 3.0, 3.1], seconds_each=30))
    assert found.minute_medians_ms == pytest.approx((1.1, 2.1, 3.0, 3.05))
    assert found.throttled


@pytest.mark.parametrize(("rise", "throttled"), [(0.0, False), (0.02, False), (0.2, True), (-0.2, False)])
def test_throttling_is_a_clear_rise(rise, throttled):
    noise = np.random.default_rng(3).normal(0, 0.003, 100)
    medians = 1.0 + np.linspace(0, rise, 100) + noise
    assert sustain.judge(over_time(medians, seconds_each=3)).throttled is throttled


def test_two_minutes_are_told_although_a_little_time_passes_between_blocks():
    last = over_time([1.0] * 120, seconds_each=1)
    blocks = [block.model_copy(update={"end_ns": block.begin_ns + 990_000_000}) for block in last.blocks]
    assert sustain.judge(last.model_copy(update={"blocks": tuple(blocks)})).throttled is False


def test_less_than_two_minutes_are_too_short_to_tell():
    found = sustain.judge(over_time(np.linspace(1, 2, 20), seconds_each=5))
    assert found.throttled is None
    assert len(found.minute_medians_ms) == 2
