"""The range whose rounded histogram tells least apart from the observed one (Kullback-Leibler divergence)."""

import numpy as np

from edgekd.errors import RecipeError
from edgekd.quantize.ranges import Observation

_LEVELS = 256


def estimate(observed: Observation, *, step: int = 16) -> tuple[float, float]:
    """Returns the clipped range with the least divergence of the histogram from its rounded self.

    Clipped values count at the end where they are clipped. The end that is nearer to zero shrinks by the same factor
    as the other.

    Args:
      observed: what the activation showed, in at least 256 bins.
      step: by how many bins the range grows from try to try, 1 or more.

    Raises:
      RecipeError: step is out of its range.

    References:
      Migacz, 8-bit Inference with TensorRT, GPU Technology Conference 2017.
    """
    if step < 1:
        raise RecipeError(f"step is {step}: expected 1 or more.")
    counts, edges = observed.counts.astype(np.float64), observed.edges
    # Bins of one width on both sides of zero, so that both ends can shrink towards it.
    width = float(edges[1] - edges[0])
    below, above = max(-float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    best, least = (min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)), np.inf
    centres = (edges[:-1] + edges[1:]) / 2
    for bins in range(_LEVELS, len(counts) + 1, step):
        share = bins / len(counts)
        low, high = -below * share, above * share
        inside = (centres >= low) & (centres <= high)
        if not inside.any() or high - low < width:
            continue
        divergence = _divergence(counts, inside)
        if divergence < least:
            best, least = (low, high), divergence
    return best


def _divergence(counts: np.ndarray, inside: np.ndarray) -> float:
    """Returns how far the histogram, clipped to the bins inside, is from itself in 256 levels."""
    kept = counts[inside]
    clipped = kept.copy()
    first = int(np.argmax(inside))
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[first + len(kept) :].sum()
    level = np.arange(len(kept)) * _LEVELS // len(kept)
    occupied = kept > 0
    totals = np.bincount(level, weights=kept, minlength=_LEVELS)
    members = np.bincount(level, weights=occupied, minlength=_LEVELS)
    rounded = np.where(occupied, totals[level] / np.maximum(members[level], 1), 0.0)
    if not totals.any():
        return np.inf
    p, q = clipped / clipped.sum(), rounded / rounded.sum()
    told = p > 0
    if np.any(q[told] == 0):  # values were clipped into an empty bin
        q = np.where(told & (q == 0), 1e-9, q)
    return float(np.sum(p[told] * np.log(p[told] / q[told])))
