import shutil
from collections import Counter

import numpy as np
import pytest

from edgekd import data
from edgekd.data.idx_format import read_idx
from edgekd.data.sources import tfds
from edgekd.errors import DataError


@pytest.fixture
def images(tiny_files):
    return np.frombuffer(tiny_files["shapes-images.bin"], np.uint8).reshape(30, 4, 5, 1)


def test_a_prepared_dataset_is_read_in_its_own_order_and_splits(prepared_tiny, no_network):
    # TFDS shuffles by a hash of its keys when it prepares; what it then gives is the same every time.
    first, again = (tfds.load("tiny_shapes", data_dir=str(prepared_tiny)) for _ in range(2))
    np.testing.assert_array_equal(first.train.images, again.train.images)
    assert (len(first.train), len(first.validation), len(first.test)) == (20, 4, 6)
    assert first.class_names == ("round", "flat", "long")
    assert first.name == "tfds:tiny_shapes/1.0.0"


def test_every_image_keeps_its_label(prepared_tiny, images):
    loaded = tfds.load("tiny_shapes", data_dir=str(prepared_tiny))
    known = {image.tobytes(): i for i, image in enumerate(images)}
    for split, expected in (
        (loaded.train, range(20)),
        (loaded.validation, range(20, 24)),
        (loaded.test, range(24, 30)),
    ):
        numbers = [known[image.tobytes()] for image in split.images]
        assert sorted(numbers) == list(expected)
        assert split.labels.tolist() == [number % 3 for number in numbers]


def test_splits_can_be_named_and_sliced(prepared_tiny):
    loaded = tfds.load("tiny_shapes", data_dir=str(prepared_tiny), train_split="train[:50%]", test_split="validation")
    assert (len(loaded.train), len(loaded.test), loaded.validation) == (10, 4, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_split": "train"}, "'train' for train and 'train' for test share samples"),
        ({"test_split": "train[50%:]", "train_split": "train[:60%]"}, r"'train\[:60%\]' for train and 'train\[50%:\]'"),
        ({"validation_split": "test", "test_split": "test[1:]"}, "'test' for validation and .* for test share"),
        ({"train_split": "train+test[:1]"}, r"'train\+test\[:1\]' for train and 'test' for test share"),
    ],
)
def test_splits_that_share_samples_are_refused(prepared_tiny, options, message):
    with pytest.raises(DataError, match=message):
        tfds.load("tiny_shapes", data_dir=str(prepared_tiny), **options)


def test_slices_that_touch_share_no_sample(prepared_tiny):
    slices = {"train_split": "train[:12]", "validation_split": "train[12:15]", "test_split": "train[15:]"}
    loaded = tfds.load("tiny_shapes", data_dir=str(prepared_tiny), **slices)
    parts = [{image.tobytes() for image in split.images} for split in (loaded.train, loaded.validation, loaded.test)]
    assert [len(part) for part in parts] == [12, 3, 5]
    assert len(set.union(*parts)) == 20


def test_images_of_several_sizes_are_resized_and_other_features_left_alone(prepared_tiny):
    loaded = tfds.load("tiny_photos", data_dir=str(prepared_tiny), image_size=7)
    assert loaded.train.images.shape == (12, 7, 7, 3)
    assert np.bincount(loaded.train.labels).tolist() == [4, 4, 4]
    assert loaded.test is None
    with pytest.raises(DataError, match=r"tiny_photos/train example .* --set data.image_size=PIXELS,"):
        tfds.load("tiny_photos", data_dir=str(prepared_tiny))


def test_an_unknown_name_suggests_the_nearest(tiny_builders, no_network):
    with pytest.raises(DataError, match=r"TFDS has no dataset 'fashon_mnist'\. Did you mean 'fashion_mnist'\?"):
        tfds.load("fashon_mnist")


@pytest.mark.parametrize("name", ["huggingface:mnist", "mnist/a=True", "../mnist", "kaggle:x/y", "mnist:latest"])
def test_names_that_would_leave_the_catalogue_are_refused(name, no_network):
    with pytest.raises(DataError, match="is not a TFDS name"):
        tfds.load(name)


@pytest.mark.parametrize("name", ["emnist/nope", "mnist:9.9.9"])
def test_an_unknown_configuration_or_version_is_refused_on_one_line(name, no_network, tmp_path):
    with pytest.raises(DataError, match=f"TFDS cannot give '{name}'") as caught:
        tfds.load(name, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_dataset_that_is_not_prepared_is_never_downloaded_silently(no_network, tmp_path):
    with pytest.raises(DataError, match=r"run `edgekd data import cifar10 --from FOLDER` .* download=true"):
        data.load("tfds:cifar10", arguments={"data_dir": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def direct(monkeypatch):
    """No proxy between the tests and their own server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_dataset_is_downloaded_when_asked_for(tiny_builders, tiny_files, file_server, direct, tmp_path, monkeypatch):
    for name, content in tiny_files.items():
        monkeypatch.setitem(file_server.files, name, content)
    loaded = tfds.load("tiny_shapes", data_dir=str(tmp_path), download=True)
    assert len(loaded.train) == 20


def test_a_download_that_fails_says_so_and_names_the_other_way(tiny_builders, direct, tmp_path):
    with pytest.raises(
        DataError, match=r"could not download 'tiny_shapes/1\.0\.0' .* run `edgekd data import tiny_shapes"
    ):
        tfds.load("tiny_shapes", data_dir=str(tmp_path), download=True)


def test_a_download_with_another_checksum_is_refused(
    tiny_builders, tiny_files, file_server, direct, tmp_path, monkeypatch
):
    for name, content in tiny_files.items():
        monkeypatch.setitem(file_server.files, name, content[::-1])
    with pytest.raises(DataError, match=r"could not download .* wrong checksum"):
        tfds.load("tiny_shapes", data_dir=str(tmp_path), download=True)


def test_a_dataset_that_is_not_one_of_image_classification_is_refused(tiny_builders, tmp_path):
    message = r"'tiny_numbers' is not one of image classification: its features are numbers \(Tensor\), label"
    with pytest.raises(DataError, match=message):
        tfds.load("tiny_numbers", data_dir=str(tmp_path))


@pytest.mark.parametrize("split", ["nope", "train[:x]", "train[200%:]"])
def test_a_split_that_does_not_exist_is_refused(prepared_tiny, split):
    with pytest.raises(DataError, match=r"has no split .*: it has"):
        tfds.load("tiny_shapes", data_dir=str(prepared_tiny), train_split=split)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "info"])
def test_a_prepared_dataset_that_is_damaged_says_so(prepared_tiny, tmp_path, damage):
    shutil.copytree(prepared_tiny / "tiny_shapes", tmp_path / "tiny_shapes")
    folder = tmp_path / "tiny_shapes" / "1.0.0"
    (records,) = folder.glob("tiny_shapes-train.tfrecord*")
    content = bytearray(records.read_bytes())
    if damage == "flipped":
        content[200] ^= 0xFF
        records.write_bytes(content)
    elif damage == "cut":
        records.write_bytes(content[:-10])
    elif damage == "gone":
        records.unlink()
    else:
        (folder / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"TFDS dataset 'tiny_shapes' .*is damaged .*prepare it again") as caught:
        tfds.load("tiny_shapes", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_empty_slice_is_refused(prepared_tiny):
    with pytest.raises(DataError, match=r"split 'train\[:0\]' is empty"):
        tfds.load("tiny_shapes", data_dir=str(prepared_tiny), train_split="train[:0]")


@pytest.mark.fashion_mnist
def test_the_real_dataset_through_tfds_is_the_official_one(prepared_fashion_mnist, fashion_mnist_files, no_network):
    # Some of the training split only: decoding all of its images teaches nothing more.
    loaded = tfds.load("fashion_mnist", data_dir=str(prepared_fashion_mnist), train_split="train[7000:9000]")
    assert loaded.class_names == data.load("embedded", train_limit=10).class_names
    for split, name in ((loaded.train, "train"), (loaded.test, "t10k")):
        images = read_idx(fashion_mnist_files / f"{name}-images-idx3-ubyte.gz")
        labels = read_idx(fashion_mnist_files / f"{name}-labels-idx1-ubyte.gz")
        official = Counter((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
        ours = Counter((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))
        assert ours.total() == {"train": 2000, "t10k": 10_000}[name]
        assert ours <= official  # in another order
