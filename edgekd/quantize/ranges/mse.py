"""The range with the least mean squared error, of rounding inside and of clipping outside."""

import numpy as np

from edgekd.errors import RecipeError
from edgekd.quantize.ranges import Observation

_LEVELS = 255


def estimate(observed: Observation, *, candidates: int = 100) -> tuple[float, float]:
    """Returns the range whose 256 values are nearest to the observed ones, in the mean square.

    Candidates are the full range (widened to hold zero) times 1/n, 2/n, ... 1, both ends alike. The error is that of
    rounding every bin's centre to the candidate's values.

    Args:
      observed: what the activation showed.
      candidates: how many ranges are tried, 2 or more.

    Raises:
      RecipeError: too few candidates.

    References:
      Sakr et al., Optimal Clipping and Magnitude-aware Differentiation for Improved Quantization-aware Training, 2022
      (arXiv:2206.06501), whose optimum (OCTAV) this finds by search. Banner et al., Post-training 4-bit quantization of
      convolution networks for rapid-deployment, 2018 (arXiv:1810.05723).
    """
    if candidates < 2:
        raise RecipeError(f"candidates is {candidates}: expected 2 or more.")
    centres = (observed.edges[:-1] + observed.edges[1:]) / 2
    low, high = min(float(observed.edges[0]), 0.0), max(float(observed.edges[-1]), 0.0)
    best, least = (low, high), np.inf
    for share in np.arange(candidates, 0, -1) / candidates:
        scale = share * (high - low) / _LEVELS
        zero = np.round(-low * share / scale)
        rounded = (np.clip(np.round(centres / scale) + zero, 0, _LEVELS) - zero) * scale
        error = float(np.sum(observed.counts * (rounded - centres) ** 2))
        if error < least:
            best, least = (low * float(share), high * float(share)), error
    return best
