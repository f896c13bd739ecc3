"""Masks keep exactly as many weights as they are told, the largest ones."""

import numpy as np
import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.sparsity import n_of_m
from edgekd.sparsify.masks import largest, largest_of_groups


@pytest.mark.parametrize("removed", [0, 1, 17, 59, 60])
def test_the_smallest_weights_go_and_exactly_so_many(removed: int) -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    mask = largest(kernel, removed).numpy()
    expected = np.ones(60, bool)
    expected[np.argsort(np.abs(kernel).ravel())[:removed]] = False
    np.testing.assert_array_equal(mask.ravel(), expected)


def test_equal_magnitudes_do_not_change_the_count_and_the_first_stay() -> None:
    kernel = np.array([[1.0, -1.0, 1.0], [-1.0, 1.0, 2.0]], np.float32)
    np.testing.assert_array_equal(largest(kernel, 3).numpy(), [[True, True, False], [False, False, True]])
    assert largest(np.zeros((4, 4), np.float32), 5).numpy().sum() == 11


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (3, 8)])
def test_every_group_along_the_input_channels_keeps_its_n_largest(n: int, m: int) -> None:
    kernel = np.random.default_rng(2).normal(size=(3, 2, 16, 5)).astype(np.float32)
    mask = largest_of_groups(kernel, axis=-2, size=m, removed=m - n).numpy()
    for row in range(3):
        for column in range(2):
            for output in range(5):
                for start in range(0, 16, m):
                    group = np.abs(kernel[row, column, start : start + m, output])
                    kept = mask[row, column, start : start + m, output]
                    assert kept.sum() == n
                    assert group[kept].min() > group[~kept].max()


@pytest.mark.parametrize("pattern", ["4:2", "4:4", "0:4", "dense", "2/4", "2:4:8", ""])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(RecipeError, match=rf"pattern is {pattern!r}"):
        n_of_m(pattern)


def test_patterns_are_read() -> None:
    assert n_of_m("2:4") == (2, 4)
    assert n_of_m("unstructured") is None
