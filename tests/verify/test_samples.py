"""Seeded samples match what inputs declare; files give each input its array."""

import numpy as np
import pytest
from PIL import Image

from edgekd.data.dataset import Split
from edgekd.errors import DataError, RecipeError, ShapeError
from edgekd.records import TensorSpec
from edgekd.verify.samples import folder_samples, npz_samples, seeded_samples, split_samples

IMAGE = TensorSpec(name="image", shape=(None, 4, 5, 3), dtype="float32")
QUANTISED = TensorSpec(name="q", shape=(1, 2), dtype="int8", scale=0.5, zero_point=-28)
TOKENS = TensorSpec(name="tokens", shape=(1, 9), dtype="int32")
PIXELS = TensorSpec(name="pixels", shape=(1, 9), dtype="uint8")
FLAG = TensorSpec(name="flag", shape=(1, 9), dtype="bool")


def test_seeded_samples_have_each_inputs_dtype_shape_and_range():
    inputs = (IMAGE, QUANTISED, TOKENS, PIXELS, FLAG)
    found = seeded_samples(inputs, samples=500, seed=3)
    assert [array.shape for array in found.arrays] == [(500, 4, 5, 3), (500, 2), (500, 9), (500, 9), (500, 9)]
    assert [array.dtype.name for array in found.arrays] == ["float32", "float32", "int32", "uint8", "bool"]
    # int8 from -128 to 127 with this scale and zero point: (-128 + 28) / 2 to (127 + 28) / 2.
    expected = [(0, 1), (-50, 77.5), (0, 1), (0, 255), (0, 1)]
    for array, (low, high), described in zip(found.arrays, expected, found.inputs, strict=True):
        assert low <= array.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < array.max() <= high
        assert (described.low, described.high) == (array.min(), array.max())
    assert found.seeded
    assert found.labels is None
    assert found.name == "500 seeded samples (seed 3)"
    assert [described.origin for described in found.inputs[:2]] == [
        "no file declares a range: 0 to 1",
        "all that its integers can hold",
    ]


def test_the_seed_decides_the_samples_and_inputs_differ():
    two = (QUANTISED, QUANTISED.model_copy(update={"name": "r"}))
    first, again = seeded_samples(two), seeded_samples(two)
    np.testing.assert_array_equal(first.arrays[0], again.arrays[0])
    assert not np.array_equal(first.arrays[0], first.arrays[1])
    assert not np.array_equal(first.arrays[0], seeded_samples(two, seed=1).arrays[0])


def test_a_given_range_is_kept_and_its_origin_told():
    found = seeded_samples([IMAGE], ranges={"image": (-1, 1, "as given")})
    assert -1 <= found.arrays[0].min() < -0.9
    assert found.inputs[0].origin == "as given"
    for bad in ((1, 1), (2, 1), (0, np.inf)):
        with pytest.raises(RecipeError, match="expected a least and a larger number"):
            seeded_samples([IMAGE], ranges={"image": (*bad, "as given")})
    with pytest.raises(RecipeError, match="unknown input in a range: 'imag'"):
        seeded_samples([IMAGE], ranges={"imag": (0, 1, "as given")})


def test_open_sizes_need_a_shape():
    frames = TensorSpec(name="frames", shape=(None, None, 40), dtype="float32")
    with pytest.raises(ShapeError, match=r"'frames' has the open shape \[None, None, 40\]: .*--shape frames=1x1x40"):
        seeded_samples([frames])
    assert seeded_samples([frames], shapes={"frames": (1, 7, 40)}).arrays[0].shape == (64, 7, 40)
    for bad in ((1, 7, 41), (7, 40), (1, 0, 40)):
        with pytest.raises(ShapeError, match="cannot be"):
            seeded_samples([frames], shapes={"frames": bad})
    with pytest.raises(ShapeError, match="is a single number"):
        seeded_samples([TensorSpec(name="rate", shape=(), dtype="float32")])


def test_no_seeded_samples_are_an_error():
    with pytest.raises(ShapeError, match="nothing would be compared"):
        seeded_samples([IMAGE], samples=0)


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_an_archive_gives_each_input_the_array_of_its_name(tmp_path):
    path = npz(tmp_path, q=np.ones((3, 2)), tokens=np.ones((3, 9), np.int64), labels=np.array([0, 1, 1]))
    found = npz_samples(path, (TOKENS, QUANTISED))
    assert [array.dtype.name for array in found.arrays] == ["int64", "float32"]
    np.testing.assert_array_equal(found.labels, [0, 1, 1])
    assert not found.seeded


@pytest.mark.parametrize("name", ["image", "x_test", "x", "anything"])
def test_an_only_input_also_finds_its_array_by_the_usual_names(tmp_path, name):
    pixels = np.full((2, 4, 5, 3), 51, np.uint8)
    found = npz_samples(npz(tmp_path, **{name: pixels, "y": np.array([1, 0])}), [IMAGE])
    assert found.arrays[0].dtype == np.float32
    np.testing.assert_allclose(found.arrays[0], 0.2, rtol=1e-6)
    assert found.inputs[0].origin == "pixel / 255"


@pytest.mark.parametrize("names", [("y_test", "y"), ("y", "labels"), ("labels",)])
def test_labels_are_called_as_in_a_dataset(tmp_path, names):
    labels = {name: np.array([number, 1]) for number, name in enumerate(names)}
    found = npz_samples(npz(tmp_path, x=np.zeros((2, 4, 5, 3), np.uint8), **labels), [IMAGE])
    np.testing.assert_array_equal(found.labels, [0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"q": np.ones((3, 2))}, "has no array for input 'tokens': it holds q"),
        ({"q": np.ones((3, 2)), "tokens": np.ones((2, 9), int)}, r"different numbers of samples: \[2, 3\]"),
        ({"q": np.ones((0, 2)), "tokens": np.ones((0, 9), int)}, "are empty: nothing can be compared"),
        ({"q": np.full((3, 2), np.nan), "tokens": np.ones((3, 9), int)}, "holds NaN or infinity"),
        ({"q": np.ones((3, 2), int), "tokens": np.ones((3, 9), int)}, "holds int64: expected floats, or uint8"),
        ({"q": np.ones((3, 2)), "tokens": np.ones((3, 9), int), "y": np.ones(2, int)}, "different numbers"),
    ],
)
def test_an_archive_that_does_not_fit_is_an_error(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        npz_samples(npz(tmp_path, **arrays), (QUANTISED, TOKENS))


def test_a_folder_of_images_is_resized_to_the_input_and_has_no_labels(tmp_path):
    for name, grey in (("a", 0), ("b", 255)):
        Image.new("RGB", (20, 10), (grey,) * 3).save(tmp_path / f"{name}.png")
    found = folder_samples(tmp_path, [IMAGE])
    assert found.arrays[0].shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(found.arrays[0][:, 0, 0, 0], [0, 1])
    assert found.labels is None
    with pytest.raises(ShapeError, match="images need"):
        folder_samples(tmp_path, [QUANTISED])
    with pytest.raises(ShapeError, match="2 inputs"):
        folder_samples(tmp_path, (IMAGE, QUANTISED))


def test_a_split_comes_with_its_labels():
    split = Split(np.full((2, 4, 5, 3), 255, np.uint8), np.array([1, 0]))
    found = split_samples(split, [IMAGE], name="test")
    assert found.arrays[0].max() == 1
    np.testing.assert_array_equal(found.labels, [1, 0])
    unlabelled = Split(split.images, np.array([-1, -1]))
    assert split_samples(unlabelled, [IMAGE], name="test").labels is None
    partly = Split(split.images, np.array([1, -1]))
    np.testing.assert_array_equal(split_samples(partly, [IMAGE], name="test").labels, [1, -1], "for judging to refuse")
