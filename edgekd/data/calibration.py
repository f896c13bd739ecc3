"""The samples that calibrate a quantised model's activation ranges."""

import numpy as np

from edgekd.data import splitting
from edgekd.data.dataset import UNLABELLED, Split
from edgekd.errors import DataError


def calibratable(split: Split) -> int:
    """Returns how many samples of a split may be chosen for calibration."""
    return len(_candidates(split))


def require_as_many(split: Split, samples: int) -> None:
    """Raises DataError where so many samples cannot be chosen: whoever asks for a number shall not get fewer."""
    if samples > calibratable(split):
        raise DataError(
            f"{samples} calibration samples were asked for and the training split has {calibratable(split)}: ask for "
            "fewer."
        )


def calibration_samples(split: Split, *, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a stratified choice of samples, un-augmented, and their positions in the split.

    Unlabelled samples, which may be of another source, are chosen only where no sample has a label. Give it the
    training split: ranges calibrated on test images would leak them into the model.

    Args:
      split: the training split.
      samples: how many, 1 or more.
      seed: decides which.

    Returns:
      (positions [samples] int64, ascending; samples [samples, ...] float32).

    Raises:
      DataError: none are asked for, the split has too few, they are all one constant, or some are not finite.
    """
    if samples < 1:
        raise DataError(f"{samples} calibration samples were asked for: expected 1 or more.")
    candidates = _candidates(split)
    require_as_many(split, samples)
    chosen = splitting.stratified_sample(split.labels[candidates], samples, seed=seed, stream="calibration")
    positions = candidates[chosen]
    images, _ = split.read(positions)
    if not np.isfinite(images).all():
        raise DataError("the calibration samples hold NaN or infinity: remove or repair such training samples.")
    if images.min() == images.max():
        raise DataError(
            f"all {samples} calibration samples hold only the value {images.flat[0]}: activation ranges cannot be "
            "calibrated on a constant. Check the training data."
        )
    return positions, images


def _candidates(split: Split) -> np.ndarray:
    labelled = np.flatnonzero(split.labels != UNLABELLED)
    return labelled if len(labelled) else np.arange(len(split))
