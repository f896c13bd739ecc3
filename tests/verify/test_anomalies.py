"""Errors of what networks give back, their area under the ROC curve, and its intervals."""

import numpy as np
import pytest
from scipy import stats

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.verify import anomalies
from edgekd.verify.anomalies import Errors

SAMPLES = np.arange(24.0, dtype=np.float32).reshape(6, 2, 2)
ANOMALOUS = np.array([False, False, True, True, False, True])


def errors(normal, anomalous):
    return Errors(0.0, np.float64(normal), np.float64(anomalous))


def test_errors_are_means_over_a_samples_values_and_the_mean_is_of_what_is_normal():
    shift = np.float32([1, 2, 3, 4, 5, 6])
    outputs = SAMPLES + shift[:, None, None]
    outputs[0, 0, 0] = SAMPLES[0, 0, 0] + 3  # of four values one is off by 3, not by 1
    found = anomalies.squared_errors(SAMPLES, outputs, ANOMALOUS)
    assert found.normal == pytest.approx([(9 + 1 + 1 + 1) / 4, 4, 25])
    assert found.anomalous == pytest.approx([9, 16, 36])
    assert found.mse == pytest.approx((3 + 4 + 25) / 3)


def test_samples_of_one_group_are_judged_by_the_mean_of_their_errors():
    outputs = SAMPLES + np.float32([1, 2, 3, 4, 5, 6])[:, None, None]
    groups = np.array([7, 7, 2, 2, 9, 5])
    found = anomalies.squared_errors(SAMPLES, outputs, ANOMALOUS, groups)
    assert sorted(found.normal) == pytest.approx([(1 + 4) / 2, 25])
    assert sorted(found.anomalous) == pytest.approx([(9 + 16) / 2, 36])
    assert found.mse == pytest.approx((1 + 4 + 25) / 3)  # of samples, not of groups
    quality = found.quality()
    assert (quality.normal, quality.anomalous) == (2, 2)
    assert quality.auc.value == pytest.approx(3 / 4)  # of the pairs: 12.5 and 36 against 2.5 and 25


def test_without_anomalies_there_is_no_area():
    quality = anomalies.squared_errors(SAMPLES, SAMPLES + 2, np.zeros(6, bool)).quality()
    assert quality.auc is None
    assert (quality.mse, quality.normal, quality.anomalous) == (4.0, 6, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((SAMPLES, SAMPLES[:, 0], ANOMALOUS), ShapeError, r"samples of shape \[6, 2, 2\], outputs of \[6, 2\]"),
        ((SAMPLES, SAMPLES, ANOMALOUS[:5]), ShapeError, r"\[5\] flags"),
        ((SAMPLES, SAMPLES, np.ones(6, bool)), ShapeError, "none of the samples is normal"),
        ((SAMPLES, np.where(SAMPLES > 22, np.nan, SAMPLES), ANOMALOUS), NonFiniteError, "NaN or infinity"),
    ],
)
def test_errors_that_cannot_be_told_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        anomalies.squared_errors(*arguments)


@pytest.mark.parametrize(
    ("anomalous", "normal", "expected"),  # of intervals the roots of Newcombe's equation as a quartic
    [
        ([3, 4], [1, 2], (1, 0.3856357, 1)),  # nothing overlaps
        ([6, 7, 8, 9, 10], [1, 2, 3, 4, 5], (1, 0.6427028, 1)),
        ([1, 2, 3], [4, 5, 6, 7], (0, 0, 0.4603083)),
        ([3, 5, 7, 8, 9], [1, 2, 4, 6, 6.5], (0.8, 0.4290940, 0.9505471)),
        ([2, 4], [3, 4, 5], (0.25, 0.0400224, 0.7398732)),  # of six pairs one and a tie
    ],
)
def test_an_area_has_the_interval_of_newcombe_where_groups_do_not_overlap_too(anomalous, normal, expected):
    found = anomalies.area(np.float64(anomalous), np.float64(normal))
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_of_few_groups_intervals_hold_the_area_as_often_as_they_say():
    """Of 400 draws of five and five normal errors; a bootstrap's holds four of five, and has no width in some."""
    rng, area = np.random.default_rng(0), stats.norm.cdf(1.5 / np.sqrt(2))
    intervals = [anomalies.area(rng.normal(1.5, size=5), rng.normal(size=5)) for _ in range(400)]
    held = np.mean([each.low <= area <= each.high for each in intervals])
    assert held >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert all(each.low < each.high for each in intervals)


def delong(first, second):
    """Returns the difference of two areas and its standard deviation, pair by pair, as DeLong's paper writes them."""
    kernels = [
        (each.anomalous[:, None] > each.normal) + (each.anomalous[:, None] == each.normal) / 2
        for each in (first, second)
    ]
    difference = kernels[0] - kernels[1]
    by_anomaly, by_normal = difference.mean(axis=1), difference.mean(axis=0)
    m, n = difference.shape
    theta = difference.mean()
    variance = np.sum((by_anomaly - theta) ** 2) / (m - 1) / m + np.sum((by_normal - theta) ** 2) / (n - 1) / n
    return theta, np.sqrt(variance)


def test_a_drop_of_the_area_is_that_of_delong_with_ties():
    rng = np.random.default_rng(1)
    base = rng.integers(0, 12, 40) / 4
    first = errors(base[:25], base[25:] + 1)
    second = errors(base[:25] + rng.integers(0, 4, 25) / 4, base[25:] + 0.75)
    value, deviation = delong(first, second)
    found = anomalies.area_drop(first, second)
    z = stats.norm.ppf(0.975)
    assert (found.value, found.low, found.high) == pytest.approx((value, value - z * deviation, value + z * deviation))
    assert deviation > 0.01
    areas = [stats.mannwhitneyu(each.anomalous, each.normal).statistic / 375 for each in (first, second)]
    assert found.value == pytest.approx(areas[0] - areas[1])


def test_intervals_of_a_drop_hold_it_as_often_as_they_say():
    """Of 300 draws of two detectors that share most of what they see."""
    rng, held = np.random.default_rng(2), 0
    areas = [stats.norm.cdf(shift / np.sqrt(2 * 1.25)) for shift in (1.5, 1.2)]
    for _ in range(300):
        shared, own = rng.normal(size=80), rng.normal(0, 0.5, (2, 80))
        first, second = (
            errors((shared + own[at])[:40], (shared + own[at])[40:] + shift) for at, shift in enumerate((1.5, 1.2))
        )
        found = anomalies.area_drop(first, second)
        held += found.low <= areas[0] - areas[1] <= found.high
    assert abs(held / 300 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 300)


def test_detectors_that_order_all_alike_have_no_drop_and_of_too_few_groups_none_is_told():
    same = errors([1, 2, 5], [3, 4])
    found = anomalies.area_drop(same, errors([10, 20, 50], [30, 40]))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert anomalies.area_drop(errors([1, 2], [3]), errors([1, 2], [3])) is None
    assert anomalies.area_drop(errors([1, 2], []), errors([1, 2], [])) is None
