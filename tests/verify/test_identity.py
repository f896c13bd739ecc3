"""Whether two files are one network: by what they record, or by their kernels."""

from collections import Counter

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
    assert found.why == "62.5 % of the kernels' channels are the same"
    assert likeness(of(kernel), of(kernels(1))).same is False
    assert likeness(of(kernel), of(kernels(0, channels=40))).same is False, "8 of 40 are too few"


def test_what_both_files_record_decides():
    kernel = kernels(0)
    channels = channels_of([(kernel, 0)])
    first = Identity("a", "c", channels)
    assert likeness(first, Identity("a", "c", channels_of([(kernels(1), 0)]))).same is True
    assert likeness(first, Identity("b", "c", channels)).same is False
    other = likeness(first, Identity("a", "d", channels))
    assert (other.same, other.why) == (
        False,
        "made from the same weights with another calibration, as both files record",
    )
    assert likeness(first, Identity(None, None, channels)).same is True, "one record alone decides nothing"


def test_without_integer_kernels_nothing_tells():
    floats = of(np.ones((2, 3), np.float32))
    assert floats.channels == Counter()
    assert likeness(floats, floats).same is None


@pytest.mark.parametrize("other", ["integers.tflite", "int8.onnx"])
def test_files_of_one_network_know_each_other_with_and_without_records(kinds, other):
    first, second = identity_of(kinds / "int8.tflite"), identity_of(kinds / other)
    assert first.weights is not None
    assert first.channels.total() == 8 + 4  # of the convolution and the dense layer
    assert likeness(first, second).same is True
    assert likeness(Identity(channels=first.channels), Identity(channels=second.channels)).same is True
