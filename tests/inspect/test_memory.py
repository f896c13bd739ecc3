"""Memory of activations by their lifetimes, on graphs small enough to do on paper."""

import pytest

from edgekd.inspect import _memory


def test_a_chain_needs_two_neighbours_at_once():
    found = _memory.estimate(
        [(["a"], ["b"]), (["b"], ["c"])], {"a": 10, "b": 20, "c": 5}, inputs=["a"], variables=[], outputs=["c"]
    )
    assert (found.activations_bytes, found.peak_bytes) == (35, 30)


def test_a_shortcut_lives_until_it_is_added():
    steps = [(["a"], ["b"]), (["b"], ["c"]), (["a", "c"], ["d"])]
    found = _memory.estimate(steps, {"a": 10, "b": 100, "c": 1, "d": 10}, inputs=["a"], variables=[], outputs=["d"])
    assert found.peak_bytes == 10 + 100 + 1


def test_an_output_lives_to_the_end_and_constants_do_not_count():
    steps = [(["a", "kernel"], ["early"]), (["a"], ["late"])]
    found = _memory.estimate(
        steps, {"a": 1, "early": 50, "late": 7}, inputs=["a"], variables=[], outputs=["early", "late"]
    )
    assert found.peak_bytes == 58


def test_an_unknown_size_makes_no_estimate():
    assert _memory.estimate([(["a"], ["b"])], {"a": 1, "b": None}, inputs=["a"], variables=[], outputs=["b"]) is None


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((2, 3), "float32", 24),
        ((), "float16", 2),
        ((3,), "int4", 2),
        ((5,), "bool", 5),
        ((2,), "uint8", 2),
        ((4,), "bfloat16", 8),
        ((4,), "float8e5m2", 4),
        ((2,), "string", None),
    ],
)
def test_bytes_of_a_tensor(shape, dtype, expected):
    assert _memory.tensor_bytes(shape, dtype) == expected
