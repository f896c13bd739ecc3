"""Batches in an order that only the seed and the epoch decide, of views that only the seed, view and sample decide."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from edgekd.data import mixup as _mixup
from edgekd.data import randomness
from edgekd.data.augment import Augmentation, augment
from edgekd.data.dataset import Split, as_float32
from edgekd.errors import DataError, RecipeError


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of a split.

    Attributes:
      sample_ids: [batch] int64, positions in the split.
      images: [batch, ...] float32, augmented and mixed in training.
      labels: [batch] int64, UNLABELLED (-1) for samples without one.
      epoch: the epoch that the batch belongs to.
      view: which of each sample's views the images are; with the sample it decides them.
      partner_labels: [batch] int64, the label of the sample that each is mixed with; None without mixup.
      partner_weight: [batch] float32, the share 1 − λ of that other sample in image and target; None without mixup.
    """

    sample_ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    epoch: int = 0
    view: int = 0
    partner_labels: np.ndarray | None = None
    partner_weight: np.ndarray | None = None


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
    mixup: float = 0.0,
    views: int | None = None,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Yields one epoch's batches, shuffled by (seed, epoch) alone, augmented and mixed by (seed, view, sample) alone.

    An incomplete last batch is dropped, so that every step has the same shapes; the shuffle of the next epoch brings
    its samples back. A split smaller than a batch gives one batch of all its samples.

    Args:
      split: the training split.
      batch_size: 1 or more: of the whole step, over all workers.
      seed: the training seed.
      epoch: 0 or more.
      augmentation: what may happen to the images, or None.
      mixup: α of Beta(α, α) for mixing every sample with another one (see `mixup`), 0 for none.
      views: how many different views a sample has, 1 or more: epoch e shows view e % views. None: a new one in every
        epoch.
      first_step: how many steps to leave out: a resumed epoch goes on with the batches that it would have had.
      shard: (i, n): which of n workers' equal parts of every batch to give, in order; together they are the batches
        of one process.

    Raises:
      RecipeError: a number out of range, or batches that cannot be divided equally among the workers.
      DataError: augmentation of samples that are not images.
    """
    steps = steps_per_epoch(split, batch_size=batch_size)
    part = _part(min(batch_size, len(split)), shard)
    view = view_in_epoch(epoch, views)
    order = randomness.permutation(len(split), key=randomness.key("batches.shuffle", seed, epoch))
    for step in range(first_step, steps):
        sample_ids = order[step * batch_size : (step + 1) * batch_size][part]
        batch = view_of(split, sample_ids, seed=seed, view=view, augmentation=augmentation, mixup=mixup)
        yield dataclasses.replace(batch, epoch=epoch)


def view_of(
    split: Split,
    sample_ids: np.ndarray,
    *,
    seed: int,
    view: int,
    augmentation: Augmentation | None,
    mixup: float = 0.0,
) -> Batch:
    """Returns one view of any samples: bit for bit what `training_batches` shows of them, whatever batch they are in.

    Args:
      split: the training split.
      sample_ids: [batch] integers, positions in the split.
      seed: the training seed.
      view: 0 or more.
      augmentation: as in training.
      mixup: as in training.

    Returns:
      The samples in the given order; its `epoch` is the first one that shows this view.

    Raises:
      RecipeError: a mixup that is no α.
      DataError: positions outside the split, or augmentation of samples that are not images.
    """
    _mixup.check_alpha(mixup)
    if sample_ids.size and not 0 <= sample_ids.min() <= sample_ids.max() < len(split):
        raise DataError(
            f"sample ids {sample_ids.min()}..{sample_ids.max()} of a split of {len(split)} samples: expected "
            f"0..{len(split) - 1}. Use the split that the ids were made for."
        )
    stored = _augmented(split, sample_ids, seed, view, augmentation)
    labels = split.labels[sample_ids]
    if not mixup:
        return Batch(sample_ids, as_float32(stored), labels, epoch=view, view=view)
    partners = _mixup.partners(sample_ids, seed=seed, view=view, count=len(split))
    weight = _mixup.partner_weights(sample_ids, seed=seed, view=view, alpha=mixup)
    images = _mixup.mix(stored, _augmented(split, partners, seed, view, augmentation), weight)
    return Batch(sample_ids, images, labels, view, view, split.labels[partners], weight)


def view_in_epoch(epoch: int, views: int | None) -> int:
    """Returns which view of every sample an epoch shows.

    Raises:
      RecipeError: a number of views that is not a whole number above 0.
    """
    if views is None:
        return epoch
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        raise RecipeError(f"views is {views!r}: expected 1 or more, or nothing for a new view in every epoch.")
    return epoch % views


def ordered_batches(split: Split, *, batch_size: int) -> Iterator[Batch]:
    """Yields every sample once, in order and as it is; the last batch may be smaller.

    Raises:
      RecipeError: a batch size below 1.
    """
    _check_batch_size(batch_size)
    for start in range(0, len(split), batch_size):
        sample_ids = np.arange(start, min(start + batch_size, len(split)))
        yield Batch(sample_ids, *split.read(sample_ids))


def _augmented(
    split: Split, sample_ids: np.ndarray, seed: int, view: int, augmentation: Augmentation | None
) -> np.ndarray:
    """Returns a view of the samples in the dtype in which they are stored."""
    samples = split.images[sample_ids]
    if not augmentation:
        return samples
    return augment(samples, sample_ids=sample_ids, seed=seed, view=view, **dataclasses.asdict(augmentation))


def _part(size: int, shard: tuple[int, int]) -> slice:
    worker, workers = shard
    if not 0 <= worker < workers:
        raise RecipeError(f"shard {shard}: expected (i, n) with a worker i of 0..n-1.")
    if size % workers:
        raise RecipeError(
            f"batches of {size} samples cannot be divided equally among {workers} workers: expected a multiple of "
            f"{workers}. Choose another batch_size or number of workers."
        )
    return slice(worker * size // workers, (worker + 1) * size // workers)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise RecipeError(f"batch_size is {batch_size}: expected 1 or more.")
