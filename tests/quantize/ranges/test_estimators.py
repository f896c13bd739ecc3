"""Ranges from observations, against NumPy and SciPy by hand."""

import numpy as np
import pytest
import scipy.stats

from edgekd import registry
from edgekd.errors import RecipeError
from edgekd.quantize import ranges

NAMES = registry.discover("edgekd.quantize.ranges")


def observe(values: np.ndarray, *, batches: int = 8, bins: int = 2048) -> ranges.Observation:
    parts = np.array_split(values, batches)
    counts, edges = np.histogram(values, bins)
    return ranges.Observation(
        np.array([part.min() for part in parts]), np.array([part.max() for part in parts]), counts, edges
    )


@pytest.fixture(scope="module")
def normal() -> np.ndarray:
    return np.random.default_rng(0).normal(size=200_000)


def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale


def test_min_max_is_the_least_and_the_largest_value(normal):
    assert ranges.estimator("min_max", {})(observe(normal)) == (normal.min(), normal.max())


def test_a_moving_average_weighs_the_batches_by_their_age():
    observed = ranges.Observation(np.array([-1.0, -3.0, -2.0]), np.array([4.0, 2.0, 6.0]), np.ones(4), np.arange(5.0))
    low, high = ranges.estimator("moving_average", {"momentum": 0.75})(observed)
    assert low == pytest.approx(0.5625 * -1 + 0.1875 * -3 + 0.25 * -2)
    assert high == pytest.approx(0.5625 * 4 + 0.1875 * 2 + 0.25 * 6)


@pytest.mark.parametrize("percentile", [99.0, 99.9])
def test_a_percentile_leaves_out_as_many_values_as_it_says(normal, percentile):
    low, high = ranges.estimator("percentile", {"percentile": percentile})(observe(normal))
    outside = (100 - percentile) / 2
    assert [low, high] == pytest.approx(np.percentile(normal, [outside, 100 - outside]), abs=0.01)


def test_the_hundredth_percentile_is_min_max(normal):
    assert ranges.estimator("percentile", {"percentile": 100.0})(observe(normal)) == (normal.min(), normal.max())


def test_the_zeros_after_a_relu_stay_the_least_value(normal):
    low, _ = ranges.estimator("percentile", {"percentile": 99.0})(observe(np.maximum(normal, 0)))
    assert low == pytest.approx(0.0, abs=0.005)


def test_mse_finds_the_clipping_with_the_least_error_of_all_candidates():
    values = scipy.stats.laplace.rvs(size=100_000, random_state=1)
    low, high = ranges.estimator("mse", {"candidates": 50})(observe(values))
    errors = {
        share: np.mean((rounded(values, values.min() * share, values.max() * share) - values) ** 2)
        for share in np.arange(1, 51) / 50
    }
    best = min(errors, key=errors.__getitem__)
    assert (low, high) == pytest.approx((values.min() * best, values.max() * best), rel=0.03)
    assert best < 0.9, "a heavy tail should be clipped"


def test_mse_does_not_clip_what_is_evenly_spread():
    values = np.random.default_rng(2).uniform(0, 1, 100_000)
    low, high = ranges.estimator("mse", {})(observe(values))
    assert (low, high) == pytest.approx((0.0, 1.0), abs=0.011)


def test_entropy_clips_far_outliers_and_keeps_nearly_all_values(normal):
    values = np.concatenate([normal, [-30.0, 60.0]])
    low, high = ranges.estimator("entropy", {})(observe(values))
    assert high < 30
    assert low > -15
    assert np.mean((values >= low) & (values <= high)) > 0.99


@pytest.mark.parametrize("name", NAMES)
def test_every_range_lies_within_what_was_seen_and_holds_most_of_it(name, normal):
    low, high = ranges.estimator(name, {})(observe(normal * 3 + 1))
    values = normal * 3 + 1
    assert values.min() <= low < high <= values.max()
    assert np.mean((values >= low) & (values <= high)) > 0.98


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_that_is_always_zero_has_a_range(name):
    counts = np.zeros(2048, np.int64)
    counts[0] = 100
    observed = ranges.Observation(np.zeros(3), np.zeros(3), counts, np.linspace(0, 1e-12, 2049))
    low, high = ranges.estimator(name, {})(observed)
    assert low <= high
    assert np.isfinite([low, high]).all()


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("percentile", {"percentile": 30.0}, "above 50"),
        ("percentile", {"percentil": 99.0}, "percentile"),
        ("moving_average", {"momentum": 1.0}, "below 1"),
        ("mse", {"candidates": 1}, "2 or more"),
        ("entropy", {"step": 0}, "1 or more"),
        ("min_maxx", {}, "min_max"),
    ],
)
def test_an_unknown_or_impossible_setting_is_named(name, settings, words):
    with pytest.raises(RecipeError, match=words):
        ranges.estimator(name, settings)(observe(np.linspace(-1, 1, 5000)))
