"""Batches in an order that only the seed and the epoch decide."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from edgekd.data import randomness
from edgekd.data.augment import Augmentation, augment
from edgekd.data.dataset import Split
from edgekd.errors import RecipeError


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of a split.

    Attributes:
      sample_ids: [batch] int64, positions in the split.
      images: [batch, ...] float32, augmented in training.
      labels: [batch] int64.
    """

    sample_ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray


def steps_per_epoch(split: Split, *, batch_size: int) -> int:
    """Returns how many training batches an epoch has: whole ones only, but at least one."""
    _check_batch_size(batch_size)
    return max(1, len(split) // batch_size)


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None,
    first_step: int = 0,
) -> Iterator[Batch]:
    """Yields one epoch's batches, shuffled by (seed, epoch) alone and augmented.

    An incomplete last batch is dropped, so that every step has the same shapes; the shuffle of the next epoch brings
    its samples back. A split smaller than a batch gives one batch of all its samples.

    Args:
      split: the training split.
      batch_size: 1 or more.
      seed: the training seed.
      epoch: 0 or more.
      augmentation: what may happen to the images, or None.
      first_step: how many steps to leave out: a resumed epoch goes on with the batches that it would have had.

    Raises:
      RecipeError: a batch size below 1.
      DataError: augmentation of samples that are not images.
    """
    steps = steps_per_epoch(split, batch_size=batch_size)
    order = randomness.permutation(len(split), key=randomness.key("batches.shuffle", seed, epoch))
    for step in range(first_step, steps):
        sample_ids = order[step * batch_size : (step + 1) * batch_size]
        images, labels = split.read(sample_ids)
        if augmentation:
            options = dataclasses.asdict(augmentation)
            images = augment(images, sample_ids=sample_ids, seed=seed, epoch=epoch, **options)
        yield Batch(sample_ids, images, labels)


def ordered_batches(split: Split, *, batch_size: int) -> Iterator[Batch]:
    """Yields every sample once, in order and as it is; the last batch may be smaller.

    Raises:
      RecipeError: a batch size below 1.
    """
    _check_batch_size(batch_size)
    for start in range(0, len(split), batch_size):
        sample_ids = np.arange(start, min(start + batch_size, len(split)))
        yield Batch(sample_ids, *split.read(sample_ids))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise RecipeError(f"batch_size is {batch_size}: expected 1 or more.")
