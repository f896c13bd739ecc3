import numpy as np
import pytest

from edgekd.data.augment import Augmentation, augment
from edgekd.data.batches import ordered_batches, steps_per_epoch, training_batches
from edgekd.data.dataset import Split
from edgekd.errors import DataError, RecipeError


def split(count, shape=(6, 6, 1)):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    return Split(images, np.arange(count) % 3)


def ids(batches):
    return [batch.sample_ids.tolist() for batch in batches]


def epoch_ids(data, *, batch_size=4, seed=0, epoch=0, first_step=0):
    return ids(
        training_batches(data, batch_size=batch_size, seed=seed, epoch=epoch, augmentation=None, first_step=first_step)
    )


def flat(batches):
    return [sample_id for batch in batches for sample_id in batch]


def test_an_epoch_holds_whole_batches_of_different_samples():
    batches = epoch_ids(split(11))
    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(flat(batches))) == 8


def test_the_order_depends_on_seed_and_epoch_alone():
    data = split(40)
    base = flat(epoch_ids(data))
    assert flat(epoch_ids(data)) == base
    assert flat(epoch_ids(data, batch_size=8)) == base
    assert flat(epoch_ids(data, seed=1)) != base
    assert flat(epoch_ids(data, epoch=1)) != base


def test_every_sample_is_left_out_of_few_epochs_only():
    data = split(11)
    seen = np.zeros(11)
    for epoch in range(200):
        seen[flat(epoch_ids(data, epoch=epoch))] += 1
    assert seen.min() > 100  # 8 of 11 samples per epoch: 145 times each on average


def test_batches_hold_the_samples_and_labels_of_their_ids():
    data = split(12)
    for batch in training_batches(data, batch_size=5, seed=3, epoch=2, augmentation=None):
        np.testing.assert_array_equal(batch.images, data.images[batch.sample_ids] / np.float32(255))
        np.testing.assert_array_equal(batch.labels, data.labels[batch.sample_ids])
        assert batch.images.dtype == np.float32
        assert batch.labels.dtype == np.int64


def test_a_resumed_epoch_goes_on_with_the_batches_it_would_have_had():
    data = split(40)
    assert epoch_ids(data, epoch=5, first_step=3) == epoch_ids(data, epoch=5)[3:]
    assert epoch_ids(data, epoch=5, first_step=10) == []


def test_training_batches_show_the_augmented_views_of_the_training_seed_and_epoch():
    data = split(12)
    options = {"shift": 2, "flip": True, "cutout": 3}
    for batch in training_batches(data, batch_size=4, seed=9, epoch=7, augmentation=Augmentation(**options)):
        images = data.images[batch.sample_ids] / np.float32(255)
        expected = augment(images, sample_ids=batch.sample_ids, seed=9, epoch=7, **options)
        np.testing.assert_array_equal(batch.images, expected)
        assert not np.array_equal(batch.images, images)


def test_a_split_smaller_than_a_batch_gives_one_batch_of_all_of_it():
    data = split(3)
    assert [sorted(batch) for batch in epoch_ids(data)] == [[0, 1, 2]]
    assert steps_per_epoch(data, batch_size=4) == 1


def test_steps_are_counted_as_batches_come():
    for count in (4, 11, 12):
        data = split(count)
        assert steps_per_epoch(data, batch_size=4) == len(epoch_ids(data))


def test_ordered_batches_hold_every_sample_once_in_order():
    data = split(11)
    batches = list(ordered_batches(data, batch_size=4))
    assert ids(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), data.images / np.float32(255))


def test_augmented_sensor_data_is_refused():
    data = Split(np.zeros((8, 16), np.float32), np.arange(8) % 2)
    assert len(epoch_ids(data)) == 2
    with pytest.raises(DataError, match="Remove `augment`"):
        next(training_batches(data, batch_size=4, seed=0, epoch=0, augmentation=Augmentation(flip=True)))


def test_an_empty_batch_is_refused():
    with pytest.raises(RecipeError, match="batch_size is 0"):
        next(ordered_batches(split(4), batch_size=0))
    with pytest.raises(RecipeError, match="batch_size is -1"):
        steps_per_epoch(split(4), batch_size=-1)
