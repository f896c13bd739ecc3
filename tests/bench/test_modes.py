import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd.bench import modes


def test_two_groups_are_found_with_their_places():
    generator = np.random.default_rng(2)
    samples = np.concatenate([generator.normal(1.0, 0.01, 28), generator.normal(1.3, 0.01, 12)])
    found = modes.two_modes(generator.permutation(samples))
    assert found.low == pytest.approx(1.0, abs=0.01)
    assert found.high == pytest.approx(1.3, abs=0.01)
    assert found.share_high == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "uniform"])
def test_one_group_is_seldom_taken_for_two(kind):
    generator = np.random.default_rng(7)
    draw = {
        "normal": lambda: generator.normal(1, 0.08, 40),
        "lognormal": lambda: np.exp(generator.normal(0, 0.1, 40)),
        "uniform": lambda: generator.uniform(0.9, 1.2, 40),
    }[kind]
    wrong = sum(modes.two_modes(draw()) is not None for _ in range(20))
    assert wrong <= scipy_stats.binom.ppf(0.99, 20, 0.05)


def test_groups_that_hardly_differ_or_are_few_are_one():
    near = np.concatenate([np.full(20, 1.0), np.full(20, 1.04)]) * np.linspace(0.9999, 1.0001, 40)
    assert modes.two_modes(near) is None
    one_slow = np.concatenate([np.linspace(0.99, 1.01, 39), [2.0]])
    assert modes.two_modes(one_slow) is None
    assert modes.two_modes(np.linspace(1, 2, 19)) is None
