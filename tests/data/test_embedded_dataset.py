import gzip
import importlib.util
import io
import struct
from pathlib import Path

import numpy as np
import pytest

from edgekd import data
from edgekd.data import dataset as dataset_module
from edgekd.data.idx_format import read_idx
from edgekd.errors import DataError

SHIPPED = Path(dataset_module.__file__).parent / "fashion_mnist_embedded.npz"


@pytest.fixture(scope="module")
def maker():
    path = Path(__file__).parents[2] / "tools" / "make_embedded_dataset.py"
    spec = importlib.util.spec_from_file_location("make_embedded_dataset", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_subset_has_the_promised_size_and_balance():
    embedded = data.load("embedded")
    counts = {name: np.bincount(split.labels).tolist() for name, split in embedded.splits.items()}
    assert counts == {"train": [1200] * 10, "validation": [200] * 10, "test": [200] * 10}
    assert embedded.input_shape == (28, 28, 1)
    assert embedded.class_names[0] == "T-shirt/top"
    assert embedded.class_names[9] == "Ankle boot"
    assert SHIPPED.stat().st_size <= 8_000_000


def test_no_image_is_in_two_splits():
    embedded = data.load("embedded")
    images = np.concatenate([split.images.reshape(len(split), -1) for split in embedded.splits.values()])
    # Fashion-MNIST itself holds a few identical images.
    assert len(np.unique(images, axis=0)) >= len(images) - 5


def test_the_licence_is_beside_the_file():
    text = (SHIPPED.parent / "FASHION_MNIST_LICENSE.txt").read_text()
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted, free of charge" in text


def test_archives_of_equal_arrays_are_equal_byte_for_byte(maker):
    arrays = {"x": np.arange(1000, dtype=np.uint8), "y": np.arange(10)}
    packed = maker.npz_bytes(arrays)
    assert packed == maker.npz_bytes({name: array.copy() for name, array in arrays.items()})
    with np.load(io.BytesIO(packed), allow_pickle=False) as unpacked:
        assert unpacked.files == ["x", "y"]
        np.testing.assert_array_equal(unpacked["x"], arrays["x"])


@pytest.mark.fashion_mnist
def test_the_shipped_file_is_what_the_script_makes_of_the_official_files(maker, fashion_mnist_files):
    made = maker.embedded_arrays(fashion_mnist_files)
    with np.load(SHIPPED, allow_pickle=False) as shipped:
        assert shipped.files == list(made)
        for name, array in made.items():
            assert shipped[name].dtype == array.dtype
            np.testing.assert_array_equal(shipped[name], array)


@pytest.mark.fashion_mnist
def test_every_split_comes_from_its_official_file(fashion_mnist_files):
    embedded = data.load("embedded")
    for official, names in (("train", ("train", "validation")), ("t10k", ("test",))):
        images = read_idx(fashion_mnist_files / f"{official}-images-idx3-ubyte.gz")
        labels = read_idx(fashion_mnist_files / f"{official}-labels-idx1-ubyte.gz")
        known = {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
        for name in names:
            split = embedded.splits[name]
            pairs = zip(split.images, split.labels, strict=True)
            assert all((image.tobytes(), int(label)) in known for image, label in pairs), name


def test_files_that_are_not_the_official_ones_are_refused(maker, tmp_path):
    content = struct.pack(">BBBBI", 0, 0, 8, 1, 10) + bytes(range(10))
    for name in maker.CONTENT_SHA256:
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"has contents with SHA-256 .* expected c59f468a"):
        maker.embedded_arrays(tmp_path)
