import numpy as np
import pytest
import scipy.stats

from edgekd import data
from edgekd.data.sources import synthetic
from edgekd.errors import RecipeError


def accuracy_of_nearest_mean(**options):
    """Classifies the test samples by the nearest mean of the training samples of a class."""
    loaded = data.load("synthetic", arguments=options)
    flat = {name: split.images.reshape(len(split), -1).astype(float) for name, split in loaded.splits.items()}
    means = np.stack([flat["train"][loaded.train.labels == label].mean(axis=0) for label in range(loaded.num_classes)])
    distances = ((flat["test"][:, np.newaxis] - means) ** 2).sum(axis=2)
    return np.mean(distances.argmin(axis=1) == loaded.test.labels), len(loaded.test)


def test_classes_can_be_told_apart():
    assert accuracy_of_nearest_mean(samples=500, shape=[8, 8, 1])[0] > 0.95


def test_data_that_is_not_learnable_gives_chance():
    accuracy, count = accuracy_of_nearest_mean(samples=3000, shape=[8, 8, 1], learnable=False)
    assert scipy.stats.binomtest(round(accuracy * count), count, 0.1).pvalue > 1e-4


def test_samples_of_rank_three_are_images_and_others_floats():
    image, window = (synthetic.load("", samples=20, shape=shape).train for shape in ((9, 5, 3), (49, 10)))
    assert (image.images.shape, image.images.dtype) == ((20, 9, 5, 3), np.uint8)
    assert (window.images.shape, window.images.dtype) == ((20, 49, 10), np.float32)
    assert synthetic.load("", samples=20, shape=(7,)).train.images.shape == (20, 7)


def test_the_seed_decides_the_data():
    first, again, other = (synthetic.load("", samples=20, seed=seed).train.images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first != other) > 0.9


def test_every_class_has_its_share():
    assert np.bincount(synthetic.load("", samples=30, classes=3).train.labels).tolist() == [10, 10, 10]


@pytest.mark.parametrize("options", [{"classes": 1}, {"samples": 5}, {"shape": []}, {"shape": [28, 0, 1]}], ids=str)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(RecipeError, match="expected"):
        synthetic.load("", **options)
