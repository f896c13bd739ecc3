import dataclasses
import re

import numpy as np
import pytest

from edgekd.data.dataset import UNLABELLED, Dataset, Split, integer_labels, numbered_classes
from edgekd.data.joined import Joined
from edgekd.errors import DataError

NAMES = ("cat", "dog", "owl")


def split(labels=(0, 1, 2, 0), shape=(2, 2, 1), dtype=np.uint8, fill=None):
    labels = np.array(labels, np.int64)
    values = (
        np.arange(len(labels) * int(np.prod(shape))) if fill is None else np.full(len(labels) * np.prod(shape), fill)
    )
    return Split(values.reshape(len(labels), *shape).astype(dtype), labels)


def dataset(**changes):
    splits = {"train": split(), "validation": split((1, 2)), "test": split((2, 0))}
    return Dataset(**{"name": "pets", "class_names": NAMES, **splits, **changes})


def test_uint8_reads_as_fractions_of_255_and_labels_come_along():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1, 1)
    samples, labels = Split(images, np.array([2, 1, 0])).read(np.array([2, 1]))
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples.ravel(), np.array([1.0, 0.2], np.float32))
    assert labels.tolist() == [0, 1]


def test_a_dataset_and_a_split_say_in_one_line_what_they_hold():
    told = "pets: 4 training, 2 validation, 2 test samples of 2 x 2 x 1, 3 classes"
    assert str(dataset()) == told
    assert repr(dataset()) == f"<Dataset {told}: cat, dog, owl>"
    assert repr(dataset(class_names=tuple(map(str, range(1200))))).endswith(
        "1,200 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...>"
    )
    assert repr(split(range(3), shape=(640,), dtype=np.float32)) == "<Split: 3 samples of 640, float32>"


def test_float32_reads_as_it_is():
    features = np.array([[-3.5, 1e6]], np.float32)
    samples, _ = Split(features, np.array([0])).read(np.array([0]))
    np.testing.assert_array_equal(samples, features)


def test_what_was_read_can_be_changed_without_changing_the_split():
    data = Split(np.ones((2, 3), np.float32), np.array([0, 1]))
    samples, labels = data.read(np.array([0, 1]))
    samples[:] = 0
    labels[:] = 5
    assert data.images.min() == 1
    assert data.labels.tolist() == [0, 1]


def test_shape_and_classes_are_told():
    pets = dataset()
    assert pets.input_shape == (2, 2, 1)
    assert pets.num_classes == 3


def test_the_record_counts_the_splits():
    record = dataset().record()
    assert (record.name, record.train, record.validation, record.test) == ("pets", 4, 2, 2)
    assert record.input_shape == (2, 2, 1)
    assert record.class_names == NAMES
    assert re.fullmatch("[0-9a-f]{64}", record.fingerprint)


def test_equal_data_has_equal_fingerprints_also_when_it_is_a_memory_map(tmp_path):
    plain = split()
    np.save(tmp_path / "images.npy", plain.images)
    mapped = Split(np.load(tmp_path / "images.npy", mmap_mode="r"), plain.labels)
    assert dataset(train=mapped).fingerprint == dataset().fingerprint
    assert dataset(name="other").fingerprint == dataset().fingerprint


def changed_sample(part):
    images = part.images.copy()
    images[-1, -1, -1, -1] += 1
    return Split(images, part.labels)


@pytest.mark.parametrize(
    "change",
    [
        {"train": changed_sample(split())},
        {"test": changed_sample(split((2, 0)))},
        {"validation": split((2, 1))},
        {"class_names": ("cat", "dog", "eel")},
        {"class_names": ("cat", "dog", "owl", "eel")},
        {part: split(labels, shape=(4, 1, 1)) for part, labels in
         {"train": (0, 1, 2, 0), "validation": (1, 2), "test": (2, 0)}.items()},
        {part: split(labels, dtype=np.float32) for part, labels in
         {"train": (0, 1, 2, 0), "validation": (1, 2), "test": (2, 0)}.items()},
    ],
    ids=["sample", "test sample", "label", "class name", "number of classes", "shape", "dtype"],
)  # fmt: skip
def test_any_change_of_the_data_changes_the_fingerprint(change):
    assert dataset(**change).fingerprint != dataset().fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": split((0, 1, 3))}, r"train sample 2 has label 3: expected 0\.\.2 for 3 classes"),
        ({"test": split((0, -1))}, r"test sample 1 has label -1: expected 0\.\.2"),
        ({"validation": split((1, 2), shape=(2, 3, 1))}, r"validation samples are uint8 \[2, 3, 1\] and training"),
        ({"test": split((1, 2), dtype=np.float32)}, r"test samples are float32 \[2, 2, 1\] and training samples uint8"),
        ({"train": split((0, -2, 1))}, r"train sample 1 has label -2: expected 0\.\.2 for 3 classes\. Correct"),
        ({"validation": split((1, -1))}, r"sample 1 has label -1: .* \(-1, no label, is for training samples only\)"),
        ({"class_names": ("cat",)}, r"expected at least two classes\. Where only one .* class_names, such as \[normal"),
        ({"class_names": ("cat", "dog", "cat")}, "more than once: cat"),
        ({"test": split((), fill=0)}, "the test split is empty"),
    ],
)
def test_inconsistent_data_is_refused_and_named(change, message):
    with pytest.raises(DataError, match=message):
        dataset(**change)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_with_their_position(value):
    parts = {"train": split(shape=(5,), dtype=np.float32), "validation": split((1, 2), shape=(5,), dtype=np.float32)}
    images = np.zeros((3, 5), np.float32)
    images[1, 4] = value
    with pytest.raises(DataError, match="test sample 1 holds NaN or infinity"):
        dataset(**parts, test=Split(images, np.array([0, 1, 2])))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3), np.float64), np.zeros(2, np.int64), "dtype float64 and shape"),
        (np.zeros(2, np.uint8), np.zeros(2, np.int64), r"shape \[2\]: expected uint8 or float32"),
        (np.zeros((2, 3), np.uint8), np.zeros(2, np.float32), "labels of dtype float32"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 10), np.int64), r"shape \[2, 10\].*argmax"),
        (np.zeros((2, 3), np.uint8), np.zeros(3, np.int64), "2 samples with 3 labels"),
        (np.zeros((2, 0), np.uint8), np.zeros(2, np.int64), "hold no value"),
    ],
)
def test_arrays_that_are_no_split_are_refused(images, labels, message):
    with pytest.raises(DataError, match=message):
        Split(images, labels)


def test_records_of_data_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset().name = "other"


def test_labels_without_names_are_numbered_up_to_the_highest():
    assert numbered_classes(np.array([2, 0])) == ("0", "1", "2")
    with pytest.raises(DataError, match="training label 1000000000 is not a class number"):
        numbered_classes(np.array([10**9]))


def test_integer_labels_of_any_width_become_int64():
    labels = integer_labels(np.array([[3], [1]], np.uint8), what="y")
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 1]
    with pytest.raises(DataError, match="y: labels of dtype float64"):
        integer_labels(np.array([1.0]), what="y")


def joined_train(labels=(0, 1, 2, 0), unlabelled=3):
    parts = [split(labels).images, split((0,) * unlabelled, fill=9).images]
    return Split(Joined(parts), np.array([*labels, *[UNLABELLED] * unlabelled]))


def test_training_samples_may_have_no_label():
    pets = dataset(train=split((0, -1, 2, -1)))
    assert pets.num_classes == 3
    assert (pets.record().train, pets.record().unlabelled) == (4, 2)
    assert dataset().record().unlabelled == 0


def test_labelled_training_samples_are_those_with_a_label_in_order():
    pets = dataset(train=split((0, -1, 2, -1, 1)))
    assert pets.labelled_train.labels.tolist() == [0, 2, 1]
    np.testing.assert_array_equal(pets.labelled_train.images, pets.train.images[[0, 2, 4]])


def test_where_all_training_samples_have_labels_nothing_is_copied():
    pets = dataset()
    assert pets.labelled_train is pets.train


def test_labelled_samples_that_come_first_share_their_memory():
    pets = dataset(train=joined_train())
    assert pets.labelled_train.labels.tolist() == [0, 1, 2, 0]
    assert np.shares_memory(pets.labelled_train.images, pets.train.images[:4])


def test_training_without_any_label_is_possible_until_labels_are_asked_for():
    pets = dataset(train=split((-1, -1, -1)))
    assert len(pets.train) == 3
    with pytest.raises(DataError, match="none of the 3 training samples has a label"):
        _ = pets.labelled_train


def test_a_joined_split_has_the_fingerprint_of_the_same_samples_in_one_array():
    joined = joined_train()
    whole = Split(joined.images[:], joined.labels)
    assert dataset(train=joined).fingerprint == dataset(train=whole).fingerprint != dataset().fingerprint


def test_an_unlabelled_sample_counts_for_the_fingerprint():
    changed = joined_train()
    images = changed.images[:].copy()
    images[-1, 0, 0, 0] += 1
    assert dataset(train=Split(images, changed.labels)).fingerprint != dataset(train=joined_train()).fingerprint


def test_an_unlabelled_sample_that_is_not_finite_is_told_by_its_place_among_them():
    parts = {part: split(labels, shape=(5,), dtype=np.float32) for part, labels in
             {"validation": (1, 2), "test": (2, 0)}.items()}  # fmt: skip
    images = np.zeros((5, 5), np.float32)
    images[4, 0] = np.nan
    with pytest.raises(DataError, match=r"train sample 4 \(number 1 of the unlabelled ones\) holds NaN or infinity"):
        dataset(**parts, train=Split(images, np.array([0, 1, 2, -1, -1])))


@pytest.mark.parametrize("labels", [(1, 1), (1, -1, 1)])
def test_a_classifier_has_nothing_to_learn_of_one_class(labels):
    found = dataset(train=split(labels))  # files can be calibrated and inputs given back
    with pytest.raises(
        DataError, match=r"all 2 training labels are class 1 \('dog'\): .* at least two classes, or task"
    ):
        found.check_classes_can_be_told()
    dataset().check_classes_can_be_told()


def test_where_samples_are_reconstructed_the_anomalies_and_clips_are_told():
    one = {"train": split((1, 1)), "validation": split((1,)), "test": split((1, 2, 0))}
    found = dataset(**one, task="reconstruction")
    told = "pets: 2 training, 1 validation, 3 test samples (1 normal, 2 anomalous) of 2 x 2 x 1, to be reconstructed"
    assert str(found) == told
    clips = Split(split((1, 2, 2)).images, np.array([1, 2, 2]), np.array([0, 1, 1]))
    assert "3 test samples (1 normal, 2 anomalous, of 2 clips) of" in str(
        dataset(**{**one, "test": clips}, task="reconstruction")
    )
    assert found.output_shape == (2, 2, 1)
    assert dataset().output_shape == (3,)


def test_without_a_normal_test_sample_nothing_can_be_judged():
    with pytest.raises(DataError, match="pets: none of the 2 test samples is normal, of a class that training or"):
        dataset(train=split((1, 1)), validation=split((1,)), test=split((0, 2)), task="reconstruction")


def test_where_samples_are_reconstructed_labels_do_not_choose_what_is_learned():
    labels = {"train": split((1, -1, 1)), "validation": split((1, -1)), "test": split((1, 0))}
    found = dataset(**labels, task="reconstruction")
    assert found.labelled_train is found.train
    with pytest.raises(DataError, match="test sample 1 has label -1"):
        dataset(**{**labels, "test": split((1, -1))}, task="reconstruction")


@pytest.mark.parametrize(
    ("train", "validation", "expected"),
    [((1, 1), (1,), [True, False, True, False]), ((1, -1), (0,), [False, False, True, False])],
)
def test_anomalous_are_samples_of_classes_that_training_and_validation_lack(train, validation, expected):
    splits = {"train": split(train), "validation": split(validation), "test": split((0, 1, 2, 1))}
    found = dataset(**splits, task="reconstruction")
    assert found.anomalous(found.test).tolist() == expected


def test_groups_of_samples_are_one_integer_each_and_belong_to_the_fingerprint():
    images, labels = split((0, 0, 2, 2)).images, np.array([0, 0, 2, 2])
    grouped = Split(images, labels, np.array([5, 5, 1, 3]))
    plain, other = dataset(test=Split(images, labels)), dataset(test=Split(images, labels, np.array([5, 4, 1, 3])))
    assert len({dataset(test=grouped).fingerprint, plain.fingerprint, other.fingerprint}) == 3
    for groups in (np.array([1, 2, 3]), np.array([1.0, 2, 3, 4])):
        with pytest.raises(DataError, match=r"groups of dtype \w+ and shape \[\d\] for 4 samples"):
            Split(images, labels, groups)
