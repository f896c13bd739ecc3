"""One-dimensional k-means: the few values that stand best for many."""

from typing import Any, Literal

import numpy as np
from scipy.cluster.vq import kmeans2

Initial = Literal["linear", "density", "kmeans++"]

_MOST_ROUNDS = 300


def centroids(values: np.ndarray[Any, Any], count: int, *, initial: Initial = "linear", seed: int = 0) -> np.ndarray:
    """Returns the centroids that Lloyd's algorithm ends with.

    Args:
      values: any shape, float.
      count: how many centroids; no more than there are distinct values are returned.
      initial: where they start. `linear`: at equal distances from the least to the largest value, which serves the few
        large weights best; `density`: at equal shares of the sorted values; `kmeans++`: at values drawn far apart.
      seed: of kmeans++.

    Returns:
      [at most count] float32, rising.

    References:
      Han, Mao and Dally, Deep Compression, 2016 (arXiv:1510.00149), section 3. Arthur and Vassilvitskii, k-means++: The
      Advantages of Careful Seeding, 2007.
    """
    flat = np.sort(values.astype(np.float64), axis=None)
    distinct = np.unique(flat)
    if len(distinct) <= count:
        return distinct.astype(np.float32)
    found = _started(flat, count, initial, seed)
    sums = np.concatenate([[0.0], np.cumsum(flat)])
    for _ in range(_MOST_ROUNDS):
        # A cluster is a run of the sorted values, up to half-way to the next centroid.
        ends = np.concatenate([[0], np.searchsorted(flat, (found[1:] + found[:-1]) / 2), [len(flat)]])
        sizes = np.diff(ends)
        moved = np.where(sizes > 0, np.diff(sums[ends]) / np.maximum(sizes, 1), found)
        if np.array_equal(moved, found):
            break
        found = np.sort(moved)
    return found.astype(np.float32)


def _started(flat: np.ndarray[Any, Any], count: int, initial: Initial, seed: int) -> np.ndarray:
    if initial == "linear":
        return np.linspace(flat[0], flat[-1], count)
    if initial == "density":
        return np.quantile(flat, (np.arange(count) + 0.5) / count)
    drawn, _ = kmeans2(flat, count, iter=1, minit="++", rng=np.random.default_rng(seed))
    return np.sort(drawn)
