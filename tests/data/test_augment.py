import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.data.augment import Augmentation, augment
from edgekd.errors import DataError, RecipeError

EVERYTHING = {"shift": 2, "flip": True, "cutout": 3}


def photographs(count, height=9, width=7, channels=3):
    return np.random.default_rng(0).uniform(0.1, 1, (count, height, width, channels)).astype(np.float32)


def view(images, sample_ids, *, seed=0, epoch=0, **options):
    return augment(images, sample_ids=np.asarray(sample_ids), seed=seed, view=epoch, **options)


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(12)),
    size=st.integers(1, 12),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 10_000),
)
def test_a_view_depends_on_seed_epoch_and_sample_alone(order, size, seed, epoch):
    images, ids = photographs(12), np.arange(12) * 1000
    whole = view(images, ids, seed=seed, epoch=epoch, **EVERYTHING)
    chosen = np.array(order[:size])
    np.testing.assert_array_equal(
        view(images[chosen], ids[chosen], seed=seed, epoch=epoch, **EVERYTHING), whole[chosen]
    )


@pytest.mark.parametrize("options", [{"shift": 2}, {"flip": True}, {"cutout": 3}], ids=["shift", "flip", "cutout"])
def test_each_kind_of_change_varies_with_the_seed_the_epoch_and_the_sample(options):
    images = np.broadcast_to(photographs(1), (64, 9, 7, 3))
    base = view(images, np.arange(64), **options)
    for other in (
        view(images, np.arange(64), seed=1, **options),
        view(images, np.arange(64), epoch=1, **options),
        view(images, np.arange(64) + 64, **options),
    ):
        assert np.mean(np.any(base != other, axis=(1, 2, 3))) > 0.25  # a mirror image differs half of the time


def test_the_images_given_are_not_changed():
    images = photographs(8)
    before = images.copy()
    view(images, np.arange(8), **EVERYTHING)
    np.testing.assert_array_equal(images, before)


def test_nothing_asked_for_gives_the_images_themselves():
    images = photographs(2)
    assert view(images, [0, 1]) is images


def test_shifts_are_uniform_over_all_offsets_and_bring_in_zeros():
    image = np.zeros((5, 7, 1), np.float32)
    image[2, 3] = 1  # the one lit pixel tells the offset
    ids = np.arange(20_000)
    shifted = view(np.broadcast_to(image, (20_000, 5, 7, 1)), ids, shift=2)
    assert shifted.sum(axis=(1, 2, 3)).tolist() == [1.0] * 20_000
    rows, columns = np.unravel_index(shifted.reshape(20_000, -1).argmax(axis=1), (5, 7))
    table = np.histogram2d(rows - 2, columns - 3, bins=[np.arange(-2.5, 3), np.arange(-2.5, 3)])[0]
    assert table.sum() == 20_000
    assert scipy.stats.chisquare(table.ravel()).pvalue > 1e-4


def test_a_shifted_image_is_the_image_moved_with_zeros_behind_it():
    images = photographs(20)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for position, shifted in enumerate(view(images, np.arange(20), shift=2)):
        candidates = [padded[position, y : y + 9, x : x + 7] for y in range(5) for x in range(5)]
        assert sum(np.array_equal(shifted, candidate) for candidate in candidates) == 1


def test_half_of_the_images_are_mirrored_left_to_right():
    images = np.broadcast_to(photographs(1), (10_000, 9, 7, 3))
    views = view(images, np.arange(10_000), flip=True)
    mirrored = np.all(views == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(mirrored | np.all(views == images, axis=(1, 2, 3)))
    assert scipy.stats.binomtest(int(mirrored.sum()), 10_000).pvalue > 1e-4


def test_cutout_sets_one_square_to_zero_and_nothing_else():
    images = np.ones((4000, 9, 7, 2), np.float32)
    views = view(images, np.arange(4000), cutout=3)
    np.testing.assert_array_equal(views[..., 0], views[..., 1])
    holes = views[..., 0] == 0
    heights, widths = holes.any(axis=2).sum(axis=1), holes.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(holes.sum(axis=(1, 2)), heights * widths)  # a full rectangle
    assert set(heights) == set(widths) == {2, 3}  # 2 where its centre lies on the border
    # Its centre is uniform: on the first or last of 9 rows in 2 of 9 images.
    assert scipy.stats.binomtest(int((heights == 2).sum()), 4000, 2 / 9).pvalue > 1e-4


def test_kinds_of_change_draw_independently_of_each_other():
    images = np.broadcast_to(photographs(1), (2000, 9, 7, 3))
    ids = np.arange(2000)
    alone = view(images, ids, shift=1)
    both = view(images, ids, shift=1, flip=True)
    mirrored = np.any(alone != both, axis=(1, 2, 3))
    np.testing.assert_array_equal(both[mirrored], alone[mirrored][:, :, ::-1])
    table = np.zeros((2, 3))
    lit = np.zeros((2000, 3, 3, 1), np.float32)
    lit[:, 1, 1] = 1
    rows = view(lit, ids, shift=1).sum(axis=(2, 3)).argmax(axis=1)
    np.add.at(table, (mirrored.astype(int), rows), 1)
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(2, 9), (2, 9, 7), (2, 3, 9, 7, 1)])
def test_samples_that_are_not_images_are_refused(shape):
    with pytest.raises(DataError, match="cannot be shifted, mirrored or cut: expected uint8 or float32 images"):
        view(np.zeros(shape, np.float32), [0, 1], flip=True)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float16])
def test_images_of_other_dtypes_than_a_split_has_are_refused(dtype):
    with pytest.raises(DataError, match=f"dtype {np.dtype(dtype)}"):
        view(np.zeros((1, 4, 4, 1), dtype), [0], flip=True)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "options", [{"shift": 2}, {"flip": True}, {"cutout": 3}, EVERYTHING], ids=["shift", "flip", "cutout", "all"]
)
def test_bytes_are_moved_as_their_scaled_values_are(options, channels):
    stored = np.random.default_rng(1).integers(0, 256, (40, 9, 7, channels)).astype(np.uint8)
    moved = view(stored, np.arange(40), seed=5, epoch=2, **options)
    assert moved.dtype == np.uint8
    scaled = stored / np.float32(255)
    np.testing.assert_array_equal(moved / np.float32(255), view(scaled, np.arange(40), seed=5, epoch=2, **options))


def test_a_shift_out_of_sight_and_ids_of_another_number_are_refused():
    with pytest.raises(DataError, match="shift 7 moves images of 9x7 pixels out of sight: expected less than 7"):
        view(photographs(1), [0], shift=7)
    with pytest.raises(DataError, match="2 images with sample ids of shape"):
        view(photographs(2), [0], flip=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, r"augment\.shift is -1: expected a whole number"),
        ({"shift": 1.5}, r"augment\.shift is 1\.5"),
        ({"cutout": True}, r"augment\.cutout is True"),
        ({"flip": 1}, r"augment\.flip is 1: expected true or false"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Augmentation(**options)


def test_an_augmentation_that_changes_nothing_is_false():
    assert not Augmentation()
    assert Augmentation(flip=True)
    assert Augmentation(shift=1)
    assert Augmentation(cutout=1)
