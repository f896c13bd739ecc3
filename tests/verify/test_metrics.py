"""Metrics against numbers worked out by hand or published, and against emptiness."""

import math

import numpy as np
import pytest
import scipy.stats

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.verify import metrics

REFERENCE = np.array([[3.0, 0.0], [0.0, 4.0]])
CANDIDATE = np.array([[3.0, 0.0], [0.5, 4.0]])


def test_accuracy_and_agreement_are_fractions_of_equal_classes():
    assert metrics.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])) == 0.75
    assert metrics.agreement(np.array([0, 1, 2, 2]), np.array([0, 0, 0, 0])) == 0.25


def test_wilson_interval_of_a_published_example():
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3: 81 of 263.
    interval = metrics.wilson_interval(81, 263)
    assert interval.value == pytest.approx(81 / 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_wilson_interval_of_all_or_nothing_has_a_width_and_holds_the_value():
    # The same table: 0 of 20 has the upper bound 0.1611.
    none, every = metrics.wilson_interval(0, 20), metrics.wilson_interval(20, 20)
    assert none.low == 0
    assert none.high == pytest.approx(0.1611, abs=5e-5)
    assert every.low == pytest.approx(1 - 0.1611, abs=5e-5)
    assert every.high == every.value == 1


def test_accuracy_interval_is_wilsons_of_the_hits():
    predictions, labels = np.arange(50) % 2, np.zeros(50, np.int64)
    assert metrics.accuracy_interval(predictions, labels) == metrics.wilson_interval(25, 50)


def paired(*, both, only_reference, only_candidate, neither):
    """Returns predictions of two models, and labels, with these counts of right answers."""
    counts = [both, only_reference, only_candidate, neither]
    reference = np.repeat([1, 1, 0, 0], counts)
    candidate = np.repeat([1, 0, 1, 0], counts)
    return reference, candidate, np.ones(sum(counts), np.int64)


def test_paired_drop_interval_by_hand():
    # 30 lost, 10 gained of 200. With half a sample per cell: b = 30.5, c = 10.5, n = 202.
    interval = metrics.paired_drop_interval(*paired(both=140, only_reference=30, only_candidate=10, neither=20))
    centre = 20 / 202
    error = math.sqrt(41 - 400 / 202) / 202
    assert interval.value == pytest.approx(0.1)
    assert interval.low == pytest.approx(centre - 1.959964 * error, abs=1e-7)
    assert interval.high == pytest.approx(centre + 1.959964 * error, abs=1e-7)


def test_paired_drop_interval_changes_sign_with_the_models():
    reference, candidate, labels = paired(both=70, only_reference=12, only_candidate=5, neither=13)
    there = metrics.paired_drop_interval(reference, candidate, labels)
    back = metrics.paired_drop_interval(candidate, reference, labels)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_paired_drop_interval_of_equal_predictions_is_zero_with_a_width():
    reference, _, labels = paired(both=900, only_reference=0, only_candidate=0, neither=100)
    interval = metrics.paired_drop_interval(reference, reference, labels)
    assert interval.value == 0
    assert -0.005 < interval.low < 0 < interval.high < 0.005


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.01), (0.10, 0.05), (0.005, 0.005)])
def test_paired_drop_interval_covers_the_true_drop_as_often_as_it_says(lost, gained):
    rng = np.random.default_rng(7)
    covered, trials = 0, 600
    for counts in rng.multinomial(400, [0.8, lost, gained, 0.2 - lost - gained], size=trials):
        both, only_reference, only_candidate, neither = (int(count) for count in counts)
        interval = metrics.paired_drop_interval(
            *paired(both=both, only_reference=only_reference, only_candidate=only_candidate, neither=neither)
        )
        covered += interval.low <= lost - gained <= interval.high
    # At least 95 %, but for the chance of the simulation itself; not absurdly wide either.
    assert covered >= scipy.stats.binom.ppf(0.001, trials, 0.95)
    assert covered < trials


def test_errors_of_outputs_by_hand():
    # The difference is one element of 0.5, the reference's norm is 5, the candidate's sqrt(25.25).
    assert metrics.max_abs(REFERENCE, CANDIDATE) == 0.5
    assert metrics.relative_l2(REFERENCE, CANDIDATE) == pytest.approx(0.1)
    assert metrics.sqnr_db(REFERENCE, CANDIDATE) == pytest.approx(20)
    assert metrics.cosine(REFERENCE, CANDIDATE) == pytest.approx(25 / (5 * math.sqrt(25.25)))
    assert metrics.max_lsb(REFERENCE, CANDIDATE, scale=0.25) == 2


def test_equal_outputs_have_an_infinite_ratio():
    assert metrics.sqnr_db(REFERENCE, REFERENCE) == math.inf
    assert metrics.cosine(REFERENCE, 2 * REFERENCE) == pytest.approx(1)
    assert metrics.relative_l2(REFERENCE, 2 * REFERENCE) == pytest.approx(1)


def test_rounding_to_steps_has_the_ratio_that_theory_gives():
    # Uniform rounding noise has the variance step²/12; a standard normal signal has 1.
    signal = np.random.default_rng(0).standard_normal(200_000)
    step = 2.0**-5
    expected = 10 * math.log10(12 / step**2)
    assert metrics.sqnr_db(signal, np.round(signal / step) * step) == pytest.approx(expected, abs=0.05)


def test_float32_arrays_lose_nothing_on_the_way():
    reference = np.float32([1e8, 1.0])
    assert metrics.relative_l2(reference, reference + np.float32([0, 1e-7])) == pytest.approx(1.1920929e-15, rel=1e-6)


OUTPUT_METRICS = [metrics.max_abs, metrics.relative_l2, metrics.cosine, metrics.sqnr_db]


@pytest.mark.parametrize("metric", OUTPUT_METRICS)
def test_nothing_compared_is_an_error(metric):
    with pytest.raises(ShapeError, match="nothing was compared"):
        metric(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("metric", OUTPUT_METRICS)
def test_different_shapes_are_an_error(metric):
    with pytest.raises(ShapeError, match=r"\[2, 2\] and \[1, 2\]"):
        metric(REFERENCE, CANDIDATE[:1])


@pytest.mark.parametrize("metric", OUTPUT_METRICS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_an_error(metric, bad):
    with pytest.raises(NonFiniteError, match="1 of 4 outputs of the candidate"):
        metric(REFERENCE, np.array([[3.0, 0.0], [bad, 4.0]]))


@pytest.mark.parametrize("metric", [metrics.relative_l2, metrics.cosine, metrics.sqnr_db])
def test_an_error_relative_to_zeros_is_undefined(metric):
    with pytest.raises(NonFiniteError, match="every output of the reference is zero"):
        metric(np.zeros(3), np.ones(3))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_step_must_be_positive(scale):
    with pytest.raises(NonFiniteError, match="scale must be positive"):
        metrics.max_lsb(REFERENCE, CANDIDATE, scale=scale)


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (np.zeros(0, int), np.zeros(0, int), "nothing was compared"),
        (np.zeros(2, int), np.zeros(3, int), r"\[2\] and \[3\]"),
        (np.zeros((2, 1), int), np.zeros((2, 1), int), "two vectors"),
        (np.zeros(2), np.zeros(2, int), "must be integers, received float64"),
    ],
)
def test_classes_that_cannot_be_compared_are_an_error(predictions, labels, message):
    with pytest.raises(ShapeError, match=message):
        metrics.accuracy(predictions, labels)


def test_a_proportion_of_nothing_is_an_error():
    with pytest.raises(ShapeError, match="0 of 0"):
        metrics.wilson_interval(0, 0)


def test_outputs_beyond_one_step_are_counted_whole_steps_apart():
    reference = np.array([0.0, 1.0, 2.0, 3.0]) * 0.1
    candidate = np.array([0.0, 2.0, 4.0, 3.0]) * np.float32(0.1)
    assert metrics.beyond_lsb(reference, candidate, scale=0.1) == 0.25
    assert metrics.beyond_lsb(reference, candidate, scale=0.1, steps=0) == 0.5
    assert metrics.beyond_lsb(reference, candidate, scale=0.1, steps=2) == 0


def test_a_fraction_of_independent_elements_has_clopper_and_pearsons_interval():
    found = metrics.clustered_interval(np.full(10, 0.1), elements=10)
    exact = scipy.stats.binomtest(10, 100).proportion_ci(method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((0.1, exact.low, exact.high))


def test_elements_that_go_together_tell_less():
    fractions = np.zeros(40)
    fractions[:2] = 1
    found = metrics.clustered_interval(fractions, elements=10)
    # Korn and Graubard by hand: p (1 - p) / (s² / 40) = 39, times (t(399) / t(39))² = (1.965927 / 2.022691)².
    count = 39 * (1.965927 / 2.022691) ** 2
    low = scipy.stats.beta.ppf(0.025, 0.05 * count, 0.95 * count + 1)
    high = scipy.stats.beta.ppf(0.975, 0.05 * count + 1, 0.95 * count)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5)
    assert metrics.clustered_interval(np.repeat(fractions, 10), elements=1).low > found.low


@pytest.mark.parametrize(
    ("fractions", "low", "high"), [([0.0] * 5, 0, 0.0711), ([1.0] * 5, 0.4782, 1), ([1.0], 0.025, 1)]
)
def test_all_or_none_has_an_interval(fractions, low, high):
    # 1 - 0.025^(1/50) of 50 elements without; 0.025^(1/5) of 5 units with, of which one element of each counts.
    found = metrics.clustered_interval(np.array(fractions), elements=10)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_no_elements_have_no_fraction():
    with pytest.raises(ShapeError, match="nothing can be counted"):
        metrics.clustered_interval(np.zeros(0), elements=3)
