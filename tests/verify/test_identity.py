"""Whether two files are one network: by what they record, or by their kernels."""

import dataclasses

import numpy as np
import pytest

from edgekd.verify.identity import Identity, channels_of, identity_of, likeness


def kernels(seed, *, channels=8):
    return np.random.default_rng(seed).integers(-127, 128, (channels, 3, 3, 4)).astype(np.int8)


def of(kernel, axis=0):
    return Identity(channels=channels_of([(kernel, axis)]))


def test_neither_the_order_of_axes_nor_the_zero_point_makes_another_network():
    kernel = kernels(0)
    elsewhere = np.moveaxis(kernel, (0, 3), (3, 0)).astype(np.int16) + 128
    assert likeness(of(kernel), of(elsewhere.astype(np.uint8), axis=3)).same is True


def test_a_damaged_file_is_still_the_network_that_it_was_and_another_one_is_not():
    kernel, damaged = kernels(0), kernels(0)
    damaged[:3] = 0
    found = likeness(of(kernel), of(damaged))
    assert found.same is True
    assert found.why == "62.5 % of the kernels' channels are the same within a step"
    other = likeness(of(kernel), of(kernels(1)))
    assert (other.same, other.related) == (False, None)
    assert likeness(of(kernel), of(kernels(0, channels=40))).same is False, "8 of 40 are too few"


@pytest.mark.parametrize("shape", [(32, 3, 3, 1), (16, 3, 3, 64)])
def test_kernels_that_were_rounded_wrongly_everywhere_are_still_the_network(shape):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=shape)

    def rounded(by, weights):
        steps = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
        return of(np.clip(by(weights / steps), -127, 127).astype(np.int8))

    right = rounded(np.rint, weights)
    for wrong in (np.floor, np.ceil, np.trunc):
        found = likeness(right, rounded(wrong, weights))
        assert (found.same, found.why) == (True, "100 % of the kernels' channels are the same within a step")
    # Of the same distribution, as networks are that were trained apart.
    assert likeness(right, rounded(np.rint, rng.normal(size=shape))).same is False


def test_coarse_kernels_and_short_channels_are_alike_by_chance():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-7, 8, (64, 3, 3, 1)).astype(np.int8) for _ in range(2))
    assert likeness(of(first), of(second)).same is False
    assert likeness(of(first), of(first)).same is True
    short = of(np.int8([[1, 2, 3]]))
    assert likeness(short, short).same is None


def test_what_both_files_record_decides():
    kernel = kernels(0)
    first = Identity("a", "c", "int8", of(kernel).channels)

    def with_(**changes):
        found = likeness(first, dataclasses.replace(first, **changes))
        return found.same, found.related, found.why

    assert with_(channels=of(kernels(1)).channels)[:2] == (True, True)
    assert with_(weights="b") == (False, False, "made from other weights, as both files record")
    other = "made from the same weights with another calibration, as both files record"
    assert with_(calibration="d") == (False, True, other)
    assert with_(scheme="int8x4") == (
        False,
        True,
        "made from the same weights as int8 and int8x4, as both files record",
    )
    assert with_(weights=None)[:2] == (True, True), "one record alone decides nothing"


def test_without_integer_kernels_nothing_tells():
    floats = of(np.ones((2, 30), np.float32))
    assert floats.channels == {}
    assert likeness(floats, floats).same is None
    assert likeness(floats, of(kernels(0))).same is None


@pytest.mark.parametrize("other", ["integers.tflite", "int8.onnx"])
def test_files_of_one_network_know_each_other_with_and_without_records(kinds, other):
    first, second = identity_of(kinds / "int8.tflite"), identity_of(kinds / other)
    assert first.weights is not None
    assert {weights: len(rows) for weights, rows in first.channels.items()} == {9: 8, 8: 4}  # convolution and dense
    assert likeness(first, second).same is True
    assert likeness(Identity(channels=first.channels), Identity(channels=second.channels)).same is True
