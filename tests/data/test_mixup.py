import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.data import mixup
from edgekd.errors import RecipeError

IDS = np.arange(20_000)


def draws(sample_ids, *, seed=0, view=0, count=1000, alpha=0.4):
    partners = mixup.partners(sample_ids, seed=seed, view=view, count=count)
    return partners, mixup.partner_weights(sample_ids, seed=seed, view=view, alpha=alpha)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(12)), size=st.integers(1, 12), seed=st.integers(0, 2**63), view=st.integers(0, 999))
def test_partner_and_weight_depend_on_seed_view_and_sample_alone(order, size, seed, view):
    whole = draws(np.arange(12) * 1000, seed=seed, view=view)
    chosen = np.array(order[:size])
    for alone, among_others in zip(draws(chosen * 1000, seed=seed, view=view), whole, strict=True):
        assert alone.tobytes() == among_others[chosen].tobytes()


def test_another_seed_and_another_view_give_other_partners_and_weights():
    base = draws(IDS)
    for other in (draws(IDS, seed=1), draws(IDS, view=1)):
        for one, another in zip(base, other, strict=True):
            assert np.mean(one != another) > 0.9


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 3.0])
def test_the_weight_follows_a_symmetric_beta_distribution(alpha):
    _, weights = draws(IDS, alpha=alpha)
    assert weights.dtype == np.float32
    assert 0 <= weights.min() <= weights.max() <= 1
    # The part strictly inside: float32 rounds what is next to 0 or 1.
    edges = scipy.stats.beta(alpha, alpha).ppf(np.linspace(0, 1, 21)[1:-1])
    counts = np.bincount(np.searchsorted(edges, 1 - weights.astype(np.float64)), minlength=20)
    counts = np.array([counts[:3].sum(), *counts[3:-3], counts[-3:].sum()])
    shares = np.array([3, *[1] * 14, 3]) / 20
    assert scipy.stats.chisquare(counts, shares * len(IDS)).pvalue > 1e-4


def test_partners_are_uniform_over_the_split_and_independent_of_the_weights():
    partners, weights = draws(IDS, count=10, alpha=1.0)
    assert scipy.stats.chisquare(np.bincount(partners, minlength=10)).pvalue > 1e-4
    table = np.histogram2d(partners, weights, bins=[np.arange(11) - 0.5, np.linspace(0, 1, 6)])[0]
    assert table.sum() == len(IDS)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


def test_draws_of_a_sample_never_change():
    # Golden values: were they to change, cached outputs of earlier runs would belong to other images.
    # Beta(1, 1) is uniform, so the weight is 1 - (bits / 2^64) of the sample's hash.
    partners, weights = draws(np.array([0, 1, 12345]), seed=7, view=3, alpha=1.0)
    assert partners.tolist() == [867, 327, 385]
    np.testing.assert_allclose(weights, [0.974877939, 0.043160634, 0.808288312], atol=1e-7)


@pytest.mark.parametrize("alpha", [1e-300, 1e-6, 1e6, 1e300])
def test_extreme_parameters_give_weights_between_zero_and_one(alpha):
    _, weights = draws(IDS[:500], alpha=alpha)
    assert np.all((weights >= 0) & (weights <= 1))
    assert np.all(np.minimum(weights, 1 - weights) < 1e-6) if alpha < 1 else np.all(abs(weights - 0.5) < 0.01)


def test_mixing_is_the_weighted_sum():
    samples = np.array([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]], np.float32)
    others = np.array([[[9.0, 6.0]], [[-1.0, 0.0]], [[7.0, 7.0]]], np.float32)
    mixed = mixup.mix(samples, others, np.array([0.25, 0.0, 1.0], np.float32))
    assert mixed.dtype == np.float32
    assert mixed.tolist() == [[[3.0, 3.0]], [[3.0, 4.0]], [[7.0, 7.0]]]
    assert samples[0, 0].tolist() == [1.0, 2.0]
    assert others[0, 0].tolist() == [9.0, 6.0]


@pytest.mark.parametrize("shape", [(7,), (30, 30, 3), (400, 300)])
def test_stored_bytes_are_mixed_as_their_scaled_values_are(shape):
    samples, others = np.random.default_rng(0).integers(0, 256, (2, 37, *shape)).astype(np.uint8)
    weight = np.linspace(0, 1, 37, dtype=np.float32)
    mixed = mixup.mix(samples, others, weight)
    scaled = mixup.mix(samples / np.float32(255), others / np.float32(255), weight)
    assert mixed.tobytes() == scaled.tobytes()
    share = weight.astype(np.float64).reshape(-1, *[1] * len(shape))
    np.testing.assert_allclose(mixed, ((1 - share) * samples + share * others) / 255, atol=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf, "0.2", True, None])
def test_what_is_no_parameter_of_a_beta_distribution_is_refused(alpha):
    with pytest.raises(RecipeError, match=r"mixup is .*: expected the α of Beta"):
        mixup.check_alpha(alpha)
    mixup.check_alpha(0)
    mixup.check_alpha(0.2)
