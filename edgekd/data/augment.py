"""Random views of training images that do not depend on how they were batched, shuffled or resumed."""

import dataclasses

import numpy as np

from edgekd.data import randomness
from edgekd.errors import DataError, RecipeError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image.

    Attributes:
      shift: the largest shift in pixels along each axis, in both directions.
      flip: whether half of the images are mirrored left to right.
      cutout: side in pixels of a square that is set to zero; 0 for none.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("shift", "cutout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise RecipeError(f"augment.{name} is {value!r}: expected a whole number of pixels, 0 or more.")
        if not isinstance(self.flip, bool):
            raise RecipeError(f"augment.flip is {self.flip!r}: expected true or false.")

    def __bool__(self) -> bool:
        return bool(self.shift or self.flip or self.cutout)


def augment(
    images: np.ndarray,
    *,
    sample_ids: np.ndarray,
    seed: int,
    epoch: int,
    shift: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> np.ndarray:
    """Returns one random view of each image: shifted, then mirrored, then with a square cut out.

    The view of sample i in epoch e is a function of (seed, e, i) alone: not of the batch it is in, of its place
    there, of the size of the dataset or of the views of other samples. Switching one kind on does not change what
    the others draw. A teacher that is asked for soft targets can so be shown exactly what the student sees.

    A shift moves the image by up to `shift` pixels along each axis, all (2·shift+1)² offsets being equally likely;
    what comes in at the border is zero. The centre of the square of `cutout` pixels is equally likely at every pixel,
    so part of it may lie outside (as in the paper).

    Args:
      images: [batch, height, width, channels] float32; it is not changed.
      sample_ids: [batch] integers, 0 or more: each image's position in its split.
      seed: the training seed.
      epoch: 0 or more.
      shift: largest shift in pixels, less than the height and the width.
      flip: whether to mirror half of the images left to right.
      cutout: side of the square in pixels, 0 for none.

    Returns:
      [batch, height, width, channels] float32; `images` itself when nothing is asked for.

    Raises:
      DataError: samples that are not images, of another dtype, of another number than the ids, or too small for
        the shift.
      RecipeError: a negative size.

    References:
      DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017 (arXiv:1708.04552).
    """
    if not Augmentation(shift=shift, flip=flip, cutout=cutout):
        return images
    _check(images, sample_ids, shift)
    views = images
    if shift:
        views = _shifted(views, shift, _offsets(sample_ids, seed, epoch, 2 * shift + 1))
    if flip:
        mirrored = randomness.bits(sample_ids, key=randomness.key("augment.flip", seed, epoch)) >> np.uint64(63) == 1
        views = np.where(mirrored[:, np.newaxis, np.newaxis, np.newaxis], views[:, :, ::-1], views)
    if cutout:
        views = _cut(views, cutout, sample_ids, seed, epoch)
    return views


def _check(images: np.ndarray, sample_ids: np.ndarray, shift: int) -> None:
    if images.ndim != 4 or images.dtype != np.float32:
        raise DataError(
            f"samples of dtype {images.dtype} and shape {list(images.shape[1:])} cannot be shifted, mirrored or cut: "
            "expected float32 images [batch, height, width, channels]. Remove `augment` for other data."
        )
    if sample_ids.shape != (len(images),):
        raise DataError(f"{len(images)} images with sample ids of shape {list(sample_ids.shape)}: expected one each.")
    if shift >= min(images.shape[1:3]):
        raise DataError(
            f"augment.shift {shift} moves images of {images.shape[1]}x{images.shape[2]} pixels out of sight: "
            f"expected less than {min(images.shape[1:3])}."
        )


def _offsets(sample_ids: np.ndarray, seed: int, epoch: int, bound: int) -> tuple[np.ndarray, np.ndarray]:
    rows = randomness.integers(sample_ids, key=randomness.key("augment.shift.rows", seed, epoch), bound=bound)
    columns = randomness.integers(sample_ids, key=randomness.key("augment.shift.columns", seed, epoch), bound=bound)
    return rows, columns


def _shifted(images: np.ndarray, shift: int, offsets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    batch, height, width, channels = images.shape
    padded = np.zeros((batch, height + 2 * shift, width + 2 * shift, channels), np.float32)
    padded[:, shift : shift + height, shift : shift + width] = images
    # [batch, row offset, column offset, channels, height, width], as a view: picking an offset copies one image.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3)[np.arange(batch), offsets[0], offsets[1]]


def _cut(images: np.ndarray, size: int, sample_ids: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    masks = []
    for axis, pixels in (("rows", images.shape[1]), ("columns", images.shape[2])):
        key = randomness.key(f"augment.cutout.{axis}", seed, epoch)
        first = randomness.integers(sample_ids, key=key, bound=pixels)[:, np.newaxis] - size // 2
        place = np.arange(pixels)
        masks.append((place >= first) & (place < first + size))
    inside = masks[0][:, :, np.newaxis] & masks[1][:, np.newaxis, :]
    return np.where(inside[..., np.newaxis], np.float32(0), images)
