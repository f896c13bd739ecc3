import numpy as np
import pytest

from edgekd import data
from edgekd.data import buffers
from edgekd.data.batches import training_batches
from edgekd.data.dataset import UNLABELLED
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
        ("synthetic", {"unlabelled": "npzz:x"}, r"unknown dataset source 'npzz'\. Did you mean 'npz'\?"),
        ("synthetic", {"unlabelled": "npz"}, "lacks its location"),
        ("synthetic", {"unlabelled": "synthetic", "unlabelled_arguments": {"sampels": 1}}, "unknown option"),
        ("synthetic", {"unlabelled_arguments": {"samples": 10}}, "options of unlabelled images are given and no"),
        ("synthetic", {"unlabelled_limit": 5}, "options of unlabelled images are given and no"),
        ("synthetic", {"unlabelled": "synthetic", "unlabelled_limit": 0}, "unlabelled_limit is 0: expected 1 or more"),
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


@pytest.fixture
def further(tmp_path):
    """Writes an npz of further samples, numbered from 50,000, with or without labels and other splits."""

    def write(count=30, dtype=np.float32, width=1, **arrays):
        samples = np.repeat((np.arange(count) + 50_000).reshape(-1, 1), width, axis=1).astype(dtype)
        np.savez(tmp_path / "further.npz", x_train=samples, **arrays)
        return f"npz:{tmp_path / 'further.npz'}"

    return write


def test_unlabelled_samples_come_after_the_training_samples(numbered, further):
    plain = data.load(numbered(train=200, test=40), train_limit=100)
    loaded = data.load(numbered(train=200, test=40), unlabelled=further(), train_limit=100)
    assert values_of(loaded.train) == values(plain.train) + list(range(50_000, 50_030))
    assert loaded.train.labels.tolist() == plain.train.labels.tolist() + [UNLABELLED] * 30
    assert values(loaded.validation) == values(plain.validation)
    assert values(loaded.test) == values(plain.test)
    assert values(loaded.labelled_train) == values(plain.train)
    assert loaded.class_names == plain.class_names
    assert loaded.name == "npz:numbered.npz and npz:further.npz unlabelled"


def values_of(split):
    return split.read(np.arange(len(split)))[0].ravel().tolist()


def test_labels_and_other_splits_of_unlabelled_samples_are_not_read(numbered, further):
    samples = np.zeros((7, 1), np.float32)
    labels = {"y_train": np.full(30, 77), "x_test": samples, "y_test": np.arange(7), "x_val": samples}
    loaded = data.load(numbered(train=200), unlabelled=further(**labels))
    assert np.count_nonzero(loaded.train.labels == UNLABELLED) == 30
    assert loaded.num_classes == 4
    assert loaded.fingerprint == data.load(numbered(train=200), unlabelled=further()).fingerprint


def test_any_source_can_give_unlabelled_samples(numbered, class_folders, save_image, tmp_path):
    folder, _ = class_folders
    for number in range(2):
        save_image(tmp_path / "plain" / f"{number}.png", seed=90 + number)
    for further, count in ((f"image_folder:{tmp_path / 'plain'}", 2), (f"image_folder:{folder}", 6)):
        loaded = data.load(f"image_folder:{folder}", validation_fraction=0.25, unlabelled=further)
        assert np.count_nonzero(loaded.train.labels == UNLABELLED) == count
    loaded = data.load("synthetic", unlabelled="synthetic", unlabelled_arguments={"seed": 5, "samples": 50})
    assert np.count_nonzero(loaded.train.labels == UNLABELLED) == 50


def test_unlabelled_samples_are_not_copied(class_folders, save_image, tmp_path, monkeypatch):
    folder, _ = class_folders
    for number in range(5):
        save_image(tmp_path / "plain" / f"{number}.png", seed=90 + number)
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", 100)  # everything is decoded into files
    written = []
    collect = buffers.collect
    monkeypatch.setattr(
        buffers, "collect", lambda *args, **options: written.append(args[1][0]) or collect(*args, **options)
    )
    loaded = data.load(
        f"image_folder:{folder}", validation_fraction=0.25, unlabelled=f"image_folder:{tmp_path / 'plain'}"
    )
    labelled = len(loaded.labelled_train)
    assert sorted(written) == sorted([6, 5, labelled, len(loaded.validation), len(loaded.test)])
    assert isinstance(loaded.train.images[:labelled], np.memmap)
    assert isinstance(loaded.train.images[labelled:], np.memmap)


def test_the_fingerprint_covers_unlabelled_samples(numbered, further):
    dataset = numbered(train=200)
    prints = {data.load(dataset).fingerprint}
    for count in (30, 31):
        prints.add(data.load(dataset, unlabelled=further(count=count)).fingerprint)
    assert len(prints) == 3


def test_a_limit_chooses_unlabelled_samples_by_the_split_seed(numbered, further):
    chosen = []
    for seed in (0, 0, 1):
        loaded = data.load(numbered(train=200), unlabelled=further(), unlabelled_limit=10, split_seed=seed)
        chosen.append(values_of(loaded.train)[-10:])
    assert chosen[0] == chosen[1] != chosen[2]
    assert set(chosen[0]) < set(range(50_000, 50_030))
    assert len(set(chosen[0])) == 10


@pytest.mark.parametrize("change", [{"dtype": np.uint8}, {"width": 2}], ids=["dtype", "shape"])
def test_unlabelled_samples_of_another_form_are_refused_with_both_named(numbered, further, change):
    with pytest.raises(DataError, match=r"npz:further\.npz: its unlabelled samples are .* of npz:numbered\.npz are"):
        data.load(numbered(train=200), unlabelled=further(**change))


def test_samples_without_labels_are_never_held_out(tmp_path):
    labels = np.where(np.arange(200) % 2, np.arange(200) % 4, UNLABELLED)
    np.savez(tmp_path / "half.npz", x=np.arange(200, dtype=np.float32).reshape(-1, 1), y=labels)
    loaded = data.load(f"npz:{tmp_path / 'half.npz'}")
    assert [len(split) for split in loaded.splits.values()] == [100 + 72, 8, 20]
    assert loaded.validation.labels.min() >= 0
    assert loaded.test.labels.min() >= 0
    parts = [values(split) for split in loaded.splits.values()]
    assert sorted(sum(parts[1:], parts[0])) == list(range(200))


def test_a_dataset_of_unlabelled_samples_alone_is_refused(further):
    with pytest.raises(DataError, match=r"0 labelled samples of 30 are too few to hold out a test split"):
        data.load(further(), arguments={"labelled": False})


def test_the_clips_of_test_samples_come_along_whatever_limit_there_is(tmp_path):
    labels = np.repeat([0, 1], 20)
    clips = np.array([f"clip {number // 4}" for number in range(40)])
    arrays = {"x_train": np.zeros((10, 3)), "y_train": np.zeros(10, int), "x_test": np.arange(120.0).reshape(40, 3)}
    np.savez(tmp_path / "sounds.npz", **arrays, y_test=labels, clip_test=clips, class_names=["normal", "anomalous"])
    name = f"npz:{tmp_path / 'sounds.npz'}"
    whole = data.load(name, task="reconstruction").test
    assert [np.unique(whole.labels[whole.groups == group]).size for group in np.unique(whole.groups)] == [1] * 10
    assert (whole.groups == np.unique(clips, return_inverse=True)[1]).all()
    few = data.load(name, task="reconstruction", test_limit=11).test  # whole clips of four, of both kinds
    at = (few.images[:, 0] / 3).astype(int)
    assert len(few) == 8
    assert sorted(np.unique(few.labels)) == [0, 1]
    np.testing.assert_array_equal(few.groups, whole.groups[at])
    assert all((whole.groups == group).sum() == (few.groups == group).sum() for group in np.unique(few.groups))
    with pytest.raises(DataError, match="test_limit is 3, and no clip has so few samples: expected 4 or more"):
        data.load(name, task="reconstruction", test_limit=3)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.arange(3), r"clip_test has dtype int64 and shape \[3\]: expected .* each of the 4 test samples"),
        (np.zeros(4, bool), r"clip_test has dtype bool"),
        (
            np.array(["a", "b", "b", "c"]),
            r"sounds\.npz: the test samples of clip 'b' have the labels 0, 1: expected one",
        ),
    ],
)
def test_clips_that_do_not_fit_are_refused(tmp_path, clips, message):
    arrays = {"x_train": np.zeros((10, 3)), "y_train": np.zeros(10, int), "x_test": np.zeros((4, 3))}
    np.savez(tmp_path / "sounds.npz", **arrays, y_test=[0, 0, 1, 1], clip_test=clips, class_names=["normal", "odd"])
    with pytest.raises(DataError, match=message):
        data.load(f"npz:{tmp_path / 'sounds.npz'}", task="reconstruction")


def test_clips_are_of_no_account_where_classes_are_told(tmp_path):
    arrays = {"x_train": np.zeros((10, 3)), "y_train": np.arange(10) % 2, "x_test": np.zeros((4, 3))}
    prints = set()
    for clips in ({}, {"clip_test": [1, 1, 1, 1]}, {"clip_test": [0.5]}):
        np.savez(tmp_path / "windows.npz", **arrays, y_test=[0, 0, 1, 1], **clips)
        found = data.load(f"npz:{tmp_path / 'windows.npz'}")
        assert found.test.groups is None
        prints.add(found.fingerprint)
    assert len(prints) == 1


def test_clips_need_a_test_split_of_their_own(tmp_path):
    np.savez(tmp_path / "sounds.npz", x=np.zeros((9, 3)), y=np.zeros(9, int), clip_test=[1], class_names=["a", "b"])
    with pytest.raises(DataError, match="clips of test samples are given, and no test split"):
        data.load(f"npz:{tmp_path / 'sounds.npz'}", task="reconstruction")


def test_samples_without_labels_are_held_out_too_where_inputs_are_given_back(tmp_path):
    labels = np.r_[np.zeros(10, int), np.full(90, -1)]
    arrays = {"x_train": np.zeros((100, 3)), "y_train": labels, "x_test": np.zeros((4, 3)), "y_test": [0, 0, 1, 1]}
    np.savez(tmp_path / "sounds.npz", **arrays, class_names=["normal", "odd"])
    found = data.load(f"npz:{tmp_path / 'sounds.npz'}", task="reconstruction")
    assert (len(found.train), len(found.validation), len(found.labelled_train)) == (90, 10, 90)
    assert (len(data.load(f"npz:{tmp_path / 'sounds.npz'}").validation)) == 1


def test_an_unknown_task_is_named():
    with pytest.raises(RecipeError, match=r"unknown task 'reconstuction'.*reconstruction"):
        data.load("embedded", task="reconstuction")
