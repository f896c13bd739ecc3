import numpy as np
import pytest

from edgekd.data.calibration import calibration_samples
from edgekd.data.dataset import Split
from edgekd.errors import DataError


def split(images=None):
    labels = np.repeat(np.arange(5), 20)
    images = np.arange(100 * 4).reshape(100, 2, 2, 1).astype(np.uint8) if images is None else images
    return Split(images, labels)


def test_samples_are_stratified_plain_and_come_with_their_positions():
    data = split()
    positions, images = calibration_samples(data, samples=25, seed=0)
    assert np.bincount(data.labels[positions]).tolist() == [5] * 5
    np.testing.assert_array_equal(images, data.images[positions] / np.float32(255))
    assert images.dtype == np.float32


def test_the_seed_decides_which_samples():
    chosen = [calibration_samples(split(), samples=10, seed=seed)[0].tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(
    ("data", "samples", "message"),
    [
        (split(), 0, "0 calibration samples were asked for"),
        (split(), 101, "101 calibration samples were asked for and the training split has 100"),
        (split(np.full((100, 3), 7, np.float32)), 10, r"all 10 calibration samples hold only the value 7\.0"),
        (split(np.full((100, 3), np.nan, np.float32)), 10, "NaN or infinity"),
    ],
)
def test_samples_that_cannot_calibrate_are_refused(data, samples, message):
    with pytest.raises(DataError, match=message):
        calibration_samples(data, samples=samples, seed=0)
