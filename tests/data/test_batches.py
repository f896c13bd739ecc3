import numpy as np
import pytest

from edgekd.data import mixup as mixup_module
from edgekd.data.augment import Augmentation, augment
from edgekd.data.batches import ordered_batches, steps_per_epoch, training_batches, view_of
from edgekd.data.dataset import Split
from edgekd.errors import DataError, RecipeError

AUGMENTATION = Augmentation(shift=1, flip=True, cutout=2)


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
        expected = augment(images, sample_ids=batch.sample_ids, seed=9, view=7, **options)
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


def epoch_batches(data, **changes):
    options = {"batch_size": 6, "seed": 4, "epoch": 3, "augmentation": AUGMENTATION, "mixup": 0.3}
    return list(training_batches(data, **{**options, **changes}))


def arrays(batch):
    return [batch.sample_ids, batch.images, batch.labels, batch.partner_labels, batch.partner_weight]


def test_a_batch_tells_its_epoch_and_its_view():
    data = split(12)
    assert {(batch.epoch, batch.view) for batch in epoch_batches(data, epoch=7)} == {(7, 7)}
    assert {(batch.epoch, batch.view) for batch in epoch_batches(data, epoch=7, views=4)} == {(7, 3)}
    assert {(batch.epoch, batch.view) for batch in epoch_batches(data, epoch=7, views=1)} == {(7, 0)}


def images_by_id(batches):
    return {int(i): image for batch in batches for i, image in zip(batch.sample_ids, batch.images, strict=True)}


def test_views_come_round_again_in_another_order():
    data = split(24)
    first, again, between = (epoch_batches(data, epoch=epoch, views=2) for epoch in (1, 3, 2))
    assert ids(first) != ids(again)
    shown, shown_again, other = images_by_id(first), images_by_id(again), images_by_id(between)
    for sample_id, image in shown.items():
        np.testing.assert_array_equal(image, shown_again[sample_id])
    assert sum(not np.array_equal(image, other[sample_id]) for sample_id, image in shown.items()) > 20


def test_without_a_number_of_views_every_epoch_shows_new_ones():
    data = split(24)
    first, second = (images_by_id(epoch_batches(data, epoch=epoch)) for epoch in (0, 1))
    assert sum(not np.array_equal(image, second[sample_id]) for sample_id, image in first.items()) > 20


@pytest.mark.parametrize("mixup", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_view_taken_directly_is_bit_for_bit_the_one_of_training(mixup, dtype):
    data = Split(split(30).images.astype(dtype), split(30).labels)
    everything = view_of(data, np.arange(30), seed=4, view=3, augmentation=AUGMENTATION, mixup=mixup)
    for batch in epoch_batches(data, epoch=13, views=5, mixup=mixup):
        alone = view_of(data, batch.sample_ids[:1], seed=4, view=3, augmentation=AUGMENTATION, mixup=mixup)
        assert alone.images.tobytes() == batch.images[:1].tobytes()
        assert everything.images[batch.sample_ids].tobytes() == batch.images.tobytes()
        assert everything.labels[batch.sample_ids].tolist() == batch.labels.tolist()
        if mixup:
            assert everything.partner_labels[batch.sample_ids].tolist() == batch.partner_labels.tolist()
            assert everything.partner_weight[batch.sample_ids].tobytes() == batch.partner_weight.tobytes()


@pytest.mark.parametrize("sample_ids", [[-1, 0], [0, 12]])
def test_a_view_of_samples_that_the_split_has_not_is_refused(sample_ids):
    with pytest.raises(DataError, match=r"sample ids .* of a split of 12 samples: expected 0\.\.11"):
        view_of(split(12), np.array(sample_ids), seed=0, view=0, augmentation=None)


def test_mixed_images_are_the_weighted_sum_of_two_views():
    data = split(40)
    views = view_of(data, np.arange(40), seed=4, view=3, augmentation=AUGMENTATION).images
    mixed = view_of(data, np.arange(40), seed=4, view=3, augmentation=AUGMENTATION, mixup=1.0)
    partners = mixup_module.partners(np.arange(40), seed=4, view=3, count=40)
    share = mixed.partner_weight.astype(np.float64)[:, np.newaxis, np.newaxis, np.newaxis]
    expected = (1 - share) * views.astype(np.float64) + share * views[partners].astype(np.float64)
    np.testing.assert_allclose(mixed.images, expected, atol=1e-6)
    assert mixed.images.dtype == np.float32
    assert mixed.partner_labels.tolist() == data.labels[partners].tolist()
    assert mixed.labels.tolist() == data.labels.tolist()


def test_without_mixup_there_are_no_partners():
    for batch in epoch_batches(split(12), mixup=0.0):
        assert batch.partner_labels is None
        assert batch.partner_weight is None


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
def test_the_workers_parts_together_are_the_batches_of_one_process(workers):
    data = split(27)
    whole = epoch_batches(data, first_step=1)
    parts = [epoch_batches(data, first_step=1, shard=(worker, workers)) for worker in range(workers)]
    assert len(whole) == 3
    for step, batch in enumerate(whole):
        for together, expected in zip(
            zip(*(arrays(part[step]) for part in parts), strict=True), arrays(batch), strict=True
        ):
            np.testing.assert_array_equal(np.concatenate(together), expected)


def test_a_split_smaller_than_a_batch_is_divided_too():
    data = split(4)
    parts = [epoch_batches(data, shard=(worker, 2)) for worker in range(2)]
    assert [len(part) for part in parts] == [1, 1]
    assert sorted(ids(parts[0])[0] + ids(parts[1])[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"shard": (0, 4)},
            r"batches of 6 samples cannot be divided equally among 4 workers: expected a multiple of 4",
        ),
        ({"shard": (2, 2)}, r"shard \(2, 2\): expected \(i, n\) with a worker i of 0\.\.n-1"),
        ({"shard": (-1, 2)}, r"shard \(-1, 2\)"),
        ({"shard": (0, 0)}, r"shard \(0, 0\)"),
        ({"batch_size": 100, "shard": (0, 2), "samples": 5}, r"batches of 5 samples cannot be divided"),
        ({"views": 0}, r"views is 0: expected 1 or more"),
        ({"views": 1.5}, r"views is 1\.5"),
        ({"mixup": -0.1}, r"mixup is -0\.1: expected the α of Beta"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    change = dict(change)
    with pytest.raises(RecipeError, match=message):
        epoch_batches(split(change.pop("samples", 12)), **change)


def test_samples_of_any_rank_can_be_mixed():
    data = Split(np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32), np.arange(20) % 2)
    mixed = view_of(data, np.arange(20), seed=0, view=0, augmentation=None, mixup=1.0)
    assert mixed.images.shape == (20, 7)
    assert not np.array_equal(mixed.images, data.images)


def test_training_does_not_change_the_split():
    data = Split(np.random.default_rng(0).uniform(size=(12, 6, 6, 1)).astype(np.float32), np.arange(12) % 3)
    before = data.images.copy()
    for augmentation in (None, AUGMENTATION):
        for batch in epoch_batches(data, augmentation=augmentation):
            batch.images[:] = -1
    np.testing.assert_array_equal(data.images, before)
