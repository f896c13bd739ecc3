import itertools

import numpy as np
import pytest

from edgekd.bench.collecting import LEAST_ROUNDS, Collected, Goal, half_width
from edgekd.bench.stats import log_interval, process_medians_ms, summarise
from edgekd.errors import ModelError, RecipeError
from tests.bench.test_stats import process


def rounds(spread, *, count=50, models=1, seed=0):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield tuple(process([[np.exp(generator.normal(0, spread))] * 3]) for _ in range(models))


def test_without_a_goal_every_round_is_taken():
    collected = Collected()
    assert collected.gather(rounds(0.1, count=7), Goal()) is None
    assert (len(collected.rounds), collected.ended) == (7, "processes")


def test_precision_ends_it_when_the_interval_of_every_model_is_narrow():
    collected = Collected()
    collected.gather(rounds(0.02, models=2), Goal(precision=0.02))
    assert collected.ended == "precision"
    assert LEAST_ROUNDS <= len(collected.rounds) < 50

    def widest(count):
        """The widest interval of the first rounds; that of a median has tests of its own."""
        taken = zip(*collected.rounds[:count], strict=True)
        intervals = [log_interval(process_medians_ms(processes), watched=True) for processes in taken]
        return max(max(each.high - each.value, each.value - each.low) / each.value for each in intervals)

    assert widest(len(collected.rounds)) <= 0.02
    assert widest(len(collected.rounds) - 1) > 0.02


def test_the_precision_of_ratios_is_reached_although_the_machine_is_restless():
    """The disturbance of a round meets both of its processes and drops out of their ratio."""
    generator = np.random.default_rng(1)

    def restless():
        for _ in range(50):
            common = np.exp(generator.normal(0, 0.5))
            yield tuple(process([[common * np.exp(generator.normal(0, 0.003))]]) for _ in range(2))

    alone, ratios = Collected(), Collected()
    alone.gather(restless(), Goal(precision=0.05))
    ratios.gather(restless(), Goal(precision=0.05, of_ratios=True))
    assert (alone.ended, len(alone.rounds)) == ("processes", 50)
    assert (ratios.ended, len(ratios.rounds)) == ("precision", LEAST_ROUNDS)


def test_a_goal_that_is_not_reached_is_said():
    collected, goal = Collected(), Goal(precision=0.001)
    collected.gather(rounds(0.1, count=6), goal)
    assert collected.ended == "processes"
    latency = summarise([measured[0] for measured in collected.rounds])
    assert f"±0.1%, and it is ±{100 * half_width(latency.interval):.3g}%" in goal.missed(latency.interval)
    assert "there is no interval" in goal.missed(None)
    assert Goal(precision=0.5).missed(latency.interval) is None
    assert Goal().missed(latency.interval) is None


def test_no_round_starts_that_would_not_end_in_time():
    ticks = itertools.count(0, 10)
    collected = Collected()
    collected.gather(rounds(0.1), Goal(seconds=34), clock=lambda: next(ticks))
    assert (len(collected.rounds), collected.ended) == (3, "seconds")


def test_the_first_round_runs_however_short_the_time():
    ticks = itertools.count(0, 10)
    collected = Collected()
    collected.gather(rounds(0.1), Goal(seconds=1), clock=lambda: next(ticks))
    assert len(collected.rounds) == 1


@pytest.mark.parametrize(("error", "ended"), [(KeyboardInterrupt(), "interrupted"), (ModelError("died"), "failed")])
def test_rounds_before_a_failure_are_kept(error, ended):
    def failing():
        yield from rounds(0.1, count=2)
        raise error

    collected = Collected()
    assert collected.gather(failing(), Goal()) is error
    assert (len(collected.rounds), collected.ended) == (2, ended)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"precision": 0.0, "seconds": None}, "precision is 0.0"),
        ({"precision": 2, "seconds": None}, "a share of the latency, such as 0.02"),
        ({"precision": None, "seconds": -1.0}, "seconds is -1.0"),
        ({"precision": None, "seconds": True}, "seconds is True"),
    ],
)
def test_goals_that_mean_nothing_are_refused(goal, words):
    with pytest.raises(RecipeError, match=words):
        Goal.checked(**goal, parts=1)


def test_the_time_is_shared_by_all_parts():
    assert Goal.checked(precision=None, seconds=30.0, parts=3).seconds == 10.0
