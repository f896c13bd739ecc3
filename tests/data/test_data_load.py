import numpy as np
import pytest

from edgekd import data
from edgekd.data.batches import training_batches
from edgekd.errors import DataError, RecipeError


@pytest.fixture
def numbered(tmp_path):
    """Writes an npz whose sample i of each part holds a number that tells where it comes from."""

    def write(**parts):
        arrays = {}
        for offset, (part, count) in enumerate(parts.items()):
            arrays[f"x_{part}"] = (np.arange(count, dtype=np.float32) + 10_000 * offset).reshape(-1, 1)
            arrays[f"y_{part}"] = np.arange(count) % 4
        np.savez(tmp_path / "numbered.npz", **arrays)
        return f"npz:{tmp_path / 'numbered.npz'}"

    return write


def values(split):
    return split.images.ravel().tolist()


def test_validation_is_held_out_of_training_and_the_test_stays_whole(numbered):
    loaded = data.load(numbered(train=200, test=40))
    assert sorted(values(loaded.train) + values(loaded.validation)) == list(range(200))
    assert values(loaded.test) == list(range(10_000, 10_040))
    assert len(loaded.validation) == 20


def test_splits_are_stratified(numbered):
    loaded = data.load(numbered(train=400), validation_fraction=0.25, test_fraction=0.2)
    assert np.bincount(loaded.test.labels).tolist() == [20] * 4
    assert np.bincount(loaded.validation.labels).tolist() == [20] * 4
    assert np.bincount(loaded.train.labels).tolist() == [60] * 4


def test_a_missing_test_split_shares_no_sample_with_the_others(numbered):
    loaded = data.load(numbered(train=100))
    parts = [values(split) for split in loaded.splits.values()]
    assert sorted(sum(parts[1:], parts[0])) == list(range(100))
    assert [len(part) for part in parts] == [72, 8, 20]


def test_labels_follow_their_samples(numbered):
    loaded = data.load(numbered(train=100), train_limit=30, test_limit=7)
    for split in loaded.splits.values():
        assert [int(value) % 4 for value in values(split)] == split.labels.tolist()


def test_a_source_with_its_own_validation_split_keeps_it(numbered):
    loaded = data.load(numbered(train=100, val=12, test=8))
    assert values(loaded.train) == list(range(100))
    assert values(loaded.validation) == list(range(10_000, 10_012))


def test_the_test_split_does_not_move_with_the_validation_fraction(numbered):
    dataset = numbered(train=100)
    small, large = (data.load(dataset, validation_fraction=fraction) for fraction in (0.1, 0.4))
    assert values(small.test) == values(large.test)


def test_the_split_seed_moves_the_splits_and_the_same_one_repeats_them(numbered):
    dataset = numbered(train=100)
    first, again, other = (data.load(dataset, split_seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_limits_keep_a_stratified_part_of_each_split(numbered):
    loaded = data.load(numbered(train=400, test=40), train_limit=100, validation_limit=8, test_limit=20)
    assert [np.bincount(split.labels).tolist() for split in loaded.splits.values()] == [[25] * 4, [2] * 4, [5] * 4]


def test_limits_do_not_change_which_samples_are_held_out(numbered):
    dataset = numbered(train=400)
    whole, limited = data.load(dataset), data.load(dataset, train_limit=40)
    assert values(limited.validation) == values(whole.validation)
    assert values(limited.test) == values(whole.test)
    assert set(values(limited.train)) < set(values(whole.train))


def test_a_limit_above_the_size_keeps_everything(numbered):
    dataset = numbered(train=400)
    assert data.load(dataset, train_limit=10**6).fingerprint == data.load(dataset).fingerprint


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("embeded", {}, r"unknown dataset source 'embeded'\. Did you mean 'embedded'\?"),
        ("", {}, "unknown dataset source ''"),
        ("npz", {}, r"dataset 'npz' lacks its location: expected 'npz:FILE\.npz'"),
        ("npz:", {}, "lacks its location"),
        ("embedded:somewhere", {}, "embedded takes no location"),
        ("synthetic", {"arguments": {"sampels": 10}}, r"unknown option of dataset source 'synthetic' 'sampels'\. Did"),
        ("synthetic", {"arguments": {"samples": "10"}}, "option of dataset source 'synthetic' samples must be a whole"),
        ("synthetic", {"arguments": {"learnable": "no"}}, "learnable must be true or false, got 'no'"),
        ("synthetic", {"validation_fraction": 0.0}, r"validation_fraction is 0\.0: expected a number between"),
        ("synthetic", {"test_fraction": 1.0}, r"test_fraction is 1\.0"),
        ("synthetic", {"validation_fraction": float("nan")}, "validation_fraction is nan"),
        ("synthetic", {"train_limit": 0}, "train_limit is 0: expected 1 or more"),
        ("synthetic", {"test_limit": -3}, "test_limit is -3"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused(dataset, options, message):
    with pytest.raises(RecipeError, match=message):
        data.load(dataset, **options)


def test_too_few_samples_to_split_are_refused(numbered):
    with pytest.raises(DataError, match="1 samples are too few to hold out a test split"):
        data.load(numbered(train=1))


def test_loading_is_the_same_road_for_every_source(numbered, class_folders):
    folder, _ = class_folders
    for dataset, options in (
        ("embedded", {}),
        ("synthetic", {"arguments": {"samples": 60, "shape": [8, 8, 1]}}),
        (numbered(train=60), {}),
        (f"image_folder:{folder}", {"validation_fraction": 0.25}),
    ):
        runs = []
        for _ in range(2):
            loaded = data.load(dataset, train_limit=20, **options)
            batch = next(training_batches(loaded.train, batch_size=8, seed=1, epoch=2, augmentation=None))
            assert batch.images.dtype == np.float32
            assert batch.images.shape[1:] == loaded.input_shape
            runs.append(batch)
        np.testing.assert_array_equal(runs[0].images, runs[1].images)
        np.testing.assert_array_equal(runs[0].labels, runs[1].labels)
