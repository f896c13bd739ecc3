"""Mixup that does not depend on batches: whom a sample is mixed with, and how much, follow from the sample alone.

Elsewhere a batch is mixed with itself in another order, so that an image depends on the batch it is in and no teacher
output of it can be stored. Here the partner is drawn from the whole split: the same mixture in distribution, and a
function of (seed, view, sample).

References:
  Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond Empirical Risk Minimization, 2018 (arXiv:1710.09412).
"""

import math

import numpy as np

from edgekd.data import randomness
from edgekd.data.dataset import as_float32
from edgekd.errors import RecipeError

_UNIFORM_BITS = 52
_ROW_BLOCK = 1 << 16  # values: their float32 stay in the processor's cache


def check_alpha(alpha: float) -> None:
    """Raises RecipeError unless `alpha` is a finite number, 0 or more."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha) or alpha < 0:
        raise RecipeError(f"mixup is {alpha!r}: expected the α of Beta(α, α), such as 0.2, or 0 for no mixup.")


def partners(sample_ids: np.ndarray, *, seed: int, view: int, count: int) -> np.ndarray:
    """Returns the sample that each sample is mixed with in a view, uniform over the split; it may be itself.

    Args:
      sample_ids: [batch] integers, 0 or more.
      seed: the training seed.
      view: 0 or more.
      count: how many samples the split has.

    Returns:
      [batch] int64, positions in the split.
    """
    return randomness.integers(sample_ids, key=randomness.key("mixup.partner", seed, view), bound=count)


def partner_weights(sample_ids: np.ndarray, *, seed: int, view: int, alpha: float) -> np.ndarray:
    """Returns the partner's weight 1 − λ for each sample, λ ~ Beta(α, α).

    By the inverse of the distribution function at a uniform number that is a hash of (seed, view, sample); it is
    rounded to float32, so that the last bits of SciPy's inverse do not matter.

    Args:
      sample_ids: [batch] integers, 0 or more.
      seed: the training seed.
      view: 0 or more.
      alpha: above 0; small values leave most samples almost as they are or almost replaced, 1 is uniform.

    Returns:
      [batch] float32, from 0 to 1.
    """
    from scipy import special

    bits = randomness.bits(sample_ids, key=randomness.key("mixup.weight", seed, view))
    # The middles of 2⁵² equal intervals: never 0 or 1, and exact in float64.
    uniform = ((bits >> np.uint64(64 - _UNIFORM_BITS)).astype(np.float64) + 0.5) * 2.0**-_UNIFORM_BITS
    return np.float32(1) - special.betaincinv(alpha, alpha, uniform).astype(np.float32)


def mix(samples: np.ndarray, partner_samples: np.ndarray, partner_weight: np.ndarray) -> np.ndarray:
    """Returns λ·sample + (1 − λ)·partner, of samples as they are stored or as they were read.

    Args:
      samples: [batch, ...] uint8 (taken as x / 255) or float32.
      partner_samples: [batch, ...] of the same dtype.
      partner_weight: [batch] float32, 1 − λ.

    Returns:
      [batch, ...] float32.
    """
    weight = partner_weight.reshape(-1, *[1] * (samples.ndim - 1))
    mixed = np.empty(samples.shape, np.float32)
    # Some rows at a time: large temporaries cost more in fresh memory pages than in arithmetic.
    rows = max(1, _ROW_BLOCK // math.prod(samples.shape[1:]))
    for start in range(0, len(samples), rows):
        part = slice(start, start + rows)
        np.multiply(as_float32(samples[part]), np.float32(1) - weight[part], out=mixed[part])
        mixed[part] += as_float32(partner_samples[part]) * weight[part]
    return mixed
