"""Ranking layers and searching for those to leave in float, on numbers that are made up."""

import math

import pytest

from edgekd.errors import RecipeError
from edgekd.records import Comparison, Interval, Latency, Measurement, MixedFile, Rounding
from edgekd.verify import sensitivity
from edgekd.verify.sensitivity import Effects

WEIGHTS = {"stem": 10, "middle": 1000, "wide": 5000, "logits": 100}


def rounding(sqnr_db, drop=0.0):
    return Rounding(sqnr_db=sqnr_db, accuracy=0.9 - drop, accuracy_drop=Interval(value=drop, low=-1, high=1))


def effects(**found):
    return {name: Effects(alone=rounding(*alone), others=rounding(*others)) for name, (alone, others) in found.items()}


def test_the_noisiest_layer_comes_first_and_one_without_noise_last():
    found = effects(
        none=((None,), (20.0,)), quiet=((50.0,), (20.0,)), noisy=((12.0,), (20.0,)), middle=((30.0,), (20.0,))
    )
    assert sensitivity.order_by_sqnr(found) == ("noisy", "middle", "quiet", "none")


def test_among_equally_noisy_layers_the_one_comes_first_without_which_less_noise_is_left():
    found = effects(first=((20.0,), (10.0,)), second=((20.0,), (30.0,)), third=((20.0,), (None,)))
    assert sensitivity.order_by_sqnr(found) == ("third", "second", "first")


def test_by_accuracy_the_layer_comes_first_that_saves_most_and_then_the_one_that_costs_most():
    found = effects(
        neither=((30.0, 0.0), (20.0, 0.04)),
        costs=((40.0, 0.02), (20.0, 0.04)),
        saves=((50.0, 0.0), (20.0, 0.01)),
        noisy=((10.0, 0.0), (20.0, 0.04)),
    )
    assert sensitivity.order_by_accuracy(found) == ("saves", "costs", "noisy", "neither")


class Network:
    """A made-up network: each layer that is rounded costs its own share of accuracy."""

    def __init__(self, costs):
        self.costs, self.asked = costs, []

    def __call__(self, in_float):
        self.asked.append(in_float)
        return sum(cost for name, cost in self.costs.items() if name not in in_float)


def searched(network, order, *, budget):
    return sensitivity.search(order, network, max_accuracy_drop=budget, weights=WEIGHTS)


def test_nothing_is_left_in_float_where_all_of_int8_fits_and_the_budget_itself_still_fits():
    trials = searched(Network(dict.fromkeys(WEIGHTS, 0.001)), tuple(WEIGHTS), budget=0.004)
    assert [(trial.units, trial.fits) for trial in trials] == [((), True)]


def test_units_are_added_in_order_until_the_drop_fits():
    network = Network({"stem": 0.02, "middle": 0.01, "wide": 0.003, "logits": 0.001})
    trials = searched(network, ("stem", "middle", "wide", "logits"), budget=0.005)
    assert [(trial.units, trial.fits) for trial in trials] == [
        ((), False),
        (("stem",), False),
        (("stem", "middle"), True),
        (("middle",), False),  # the stem is needed too
    ]
    assert trials[2].accuracy_drop == pytest.approx(0.004)


def test_what_turns_out_not_to_be_needed_is_rounded_again_the_heaviest_first():
    network = Network({"stem": 0.001, "middle": 0.001, "wide": 0.001, "logits": 0.05})
    trials = searched(network, ("stem", "wide", "logits", "middle"), budget=0.002)
    assert [(trial.units, trial.fits) for trial in trials[3:]] == [
        (("stem", "wide", "logits"), True),
        (("stem", "logits"), True),
        (("logits",), False),
    ]
    assert trials[4].accuracy_drop == pytest.approx(0.002)


def test_no_set_is_measured_twice_and_one_unit_stays_rounded():
    network = Network(dict.fromkeys(WEIGHTS, 0.5))
    trials = searched(network, tuple(WEIGHTS), budget=0.1)
    assert not any(trial.fits for trial in trials)
    assert len(set(network.asked)) == len(network.asked) == 4
    assert max(len(trial.units) for trial in trials) == 3
    assert sensitivity.candidates(trials, weights=WEIGHTS) == ()


def test_candidates_are_the_sets_that_fit_with_the_fewest_weights_in_float_first():
    network = Network({"stem": 0.001, "middle": 0.001, "wide": 0.02, "logits": 0.0})
    trials = searched(network, ("middle", "stem", "wide", "logits"), budget=0.005)
    assert sensitivity.candidates(trials, weights=WEIGHTS) == (
        ("wide",),
        ("stem", "wide"),
        ("middle", "stem", "wide"),
    )


def file(name, *, size, latency, fits=True):
    lat = Latency(p50=latency, p90=1, p95=1, p99=None, minimum=0, mean=1, scaled_mad=0)
    return MixedFile(
        name=name,
        scheme="int8",
        exclude=(),
        path=None,
        size_bytes=size,
        sha256="",
        comparison=Comparison(reference="float", candidate=name, samples=1, dataset="made up", outputs=()),
        measurement=Measurement(
            artifact=name,
            target="local",
            runtime="",
            num_threads=1,
            latency_ms=lat,
            first_inference_ms=1,
            load_ms=1,
            peak_memory_bytes=1,
            size_bytes=size,
            sha256="",
            processes=1,
            num_runs=1,
            warmup_runs=1,
        ),
        fits=fits,
    )


def test_the_smallest_file_that_fits_is_the_cheapest_and_among_equals_the_fastest():
    int8 = file("int8", size=10, latency=1.0, fits=False)
    large, slow = file("large", size=30, latency=0.1), file("slow", size=20, latency=2.0)
    fast, wrong = file("fast", size=20, latency=1.5), file("wrong", size=15, latency=1.0, fits=False)
    assert sensitivity.cheapest(int8, [large, slow, fast, wrong], less_than_bytes=100) is fast
    assert sensitivity.cheapest(int8, [large, wrong], less_than_bytes=31) is large
    assert sensitivity.cheapest(int8, [large, wrong], less_than_bytes=30) is None  # the float file is as small
    assert sensitivity.cheapest(int8, [], less_than_bytes=100) is None


def test_full_int8_is_taken_wherever_it_fits():
    int8 = file("int8", size=50, latency=3.0)
    assert sensitivity.cheapest(int8, [file("mixed", size=20, latency=1.0)], less_than_bytes=30) is int8


@pytest.mark.parametrize("budget", [-0.001, 1.5, math.nan, True, "0.1", None])
def test_a_budget_that_is_no_fraction_is_refused(budget):
    with pytest.raises(RecipeError, match=r"max_accuracy_drop is .*expected a fraction from 0 to 1"):
        searched(Network({"stem": 0.0}), ("stem",), budget=budget)


@pytest.mark.parametrize("order", [(), ("stem", "stem")])
def test_units_must_be_given_once_each(order):
    with pytest.raises(RecipeError, match="each once"):
        searched(Network({"stem": 0.0}), order, budget=0.1)
