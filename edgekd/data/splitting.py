"""Stratified, seeded choices of samples: which ones are held out, and which ones a limit keeps."""

import numpy as np

from edgekd.data import randomness


def stratified_sample(labels: np.ndarray, count: int, *, seed: int, stream: str) -> np.ndarray:
    """Returns the positions of `count` samples whose class proportions are those of `labels`.

    Each class gets its exact share rounded down; what is left goes to the classes with the largest remainders (the
    lowest class first among equals). Within a class the seed decides.

    Args:
      labels: [n] int64.
      count: 0..n.
      seed: decides which samples of a class are taken.
      stream: what the choice is for: different streams choose independently.

    Returns:
      [count] int64, ascending.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    draws = randomness.bits(np.arange(len(labels)), key=randomness.key(stream, seed))
    chosen = []
    for label, quota in zip(classes, _quotas(sizes, count), strict=True):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(draws[members])[:quota]])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def stratified_halves(labels: np.ndarray, count: int, *, seed: int, stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (the rest, the `count` samples held out): two ascending arrays of positions that share none."""
    held_out = stratified_sample(labels, count, seed=seed, stream=stream)
    rest = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
    return rest, held_out


def _quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Hamilton's method in whole numbers, so that no rounding of floats can change a split."""
    total = int(sizes.sum())
    if not 0 <= count <= total:
        raise ValueError(f"cannot take {count} of {total} samples")
    quotas, remainders = np.divmod(sizes.astype(np.int64) * count, max(total, 1))
    missing = count - int(quotas.sum())
    quotas[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return quotas
