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
    view: int,
    shift: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> np.ndarray:
    """Returns one random view of each image: shifted, then mirrored, then with a square cut out.

    View v of sample i is a function of (seed, v, i) alone: not of the batch it is in, of its place there, of the size
    of the dataset or of the views of other samples. Switching one kind on does not change what
    the others draw. A teacher that is asked for soft targets can so be shown exactly what the student sees.

    A shift moves the image by up to `shift` pixels along each axis, all (2·shift+1)² offsets being equally likely;
    what comes in at the border is zero. The centre of the square of `cutout` pixels is equally likely at every pixel,
    so part of it may lie outside (as in the paper).

    Args:
      images: [batch, height, width, channels] float32 or uint8; it is not changed. Pixels are only moved and set to
        zero, so it makes no difference whether uint8 images are scaled before or after, except that moving bytes is
        several times faster.
      sample_ids: [batch] integers, 0 or more: each image's position in its split.
      seed: the training seed.
      view: which of the sample's views, 0 or more: the epoch, where every epoch shows a new one.
      shift: largest shift in pixels, less than the height and the width.
      flip: whether to mirror half of the images left to right.
      cutout: side of the square in pixels, 0 for none.

    Returns:
      [batch, height, width, channels] of the images' dtype; `images` itself when nothing is asked for.

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
    if shift:
        bound = 2 * shift + 1
        rows, columns = (
            randomness.integers(sample_ids, key=randomness.key(f"augment.shift.{axis}", seed, view), bound=bound)
            for axis in ("rows", "columns")
        )
        views = _shifted(images, shift, rows, columns)
    else:
        views = images.copy()
    if flip:
        draws = randomness.bits(sample_ids, key=randomness.key("augment.flip", seed, view))
        _mirror(views, np.flatnonzero(draws >> np.uint64(63)))
    if cutout:
        _cut(views, cutout, sample_ids, seed, view)
    return views


def _check(images: np.ndarray, sample_ids: np.ndarray, shift: int) -> None:
    if images.ndim != 4 or images.dtype not in (np.float32, np.uint8):
        raise DataError(
            f"samples of dtype {images.dtype} and shape {list(images.shape[1:])} cannot be shifted, mirrored or cut: "
            "expected uint8 or float32 images [batch, height, width, channels]. Remove `augment` for other data."
        )
    if sample_ids.shape != (len(images),):
        raise DataError(f"{len(images)} images with sample ids of shape {list(sample_ids.shape)}: expected one each.")
    if shift >= min(images.shape[1:3]):
        raise DataError(
            f"augment.shift {shift} moves images of {images.shape[1]}x{images.shape[2]} pixels out of sight: "
            f"expected less than {min(images.shape[1:3])}."
        )


def _shifted(images: np.ndarray, shift: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns each image's window at (rows[i], columns[i]) of the image with `shift` zeros around it."""
    batch, height, width, channels = images.shape
    padded = np.zeros((batch, height + 2 * shift, width + 2 * shift, channels), images.dtype)
    padded[:, shift : shift + height, shift : shift + width] = images
    of_image, of_row, of_column, of_channel = padded.strides
    # A view [batch, row offset, column offset, height, width · channels], read-only, within `padded`: picking an offset
    # copies an image in whole rows.
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (batch, 2 * shift + 1, 2 * shift + 1, height, width * channels),
        (of_image, of_row, of_column, of_row, of_channel),
        writeable=False,
    )
    return windows[np.arange(batch), rows, columns].reshape(images.shape)


def _mirror(images: np.ndarray, chosen: np.ndarray) -> None:
    """Mirrors the images at the chosen positions left to right, in place."""
    straight = images[chosen]
    mirrored = np.empty_like(straight)
    for channel in range(images.shape[3]):  # one strided copy each is much faster than one of short pixels
        mirrored[..., channel] = straight[:, :, ::-1, channel]
    images[chosen] = mirrored


def _cut(images: np.ndarray, size: int, sample_ids: np.ndarray, seed: int, view: int) -> None:
    """Sets a square of each image to zero, in place."""
    bounds = []
    for axis, pixels in (("rows", images.shape[1]), ("columns", images.shape[2])):
        key = randomness.key(f"augment.cutout.{axis}", seed, view)
        first = randomness.integers(sample_ids, key=key, bound=pixels) - size // 2
        bounds += [np.maximum(first, 0).tolist(), (first + size).tolist()]
    for image, top, bottom, left, right in zip(images, *bounds, strict=True):
        image[top:bottom, left:right] = 0
