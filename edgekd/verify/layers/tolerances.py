"""How much one operator may differ, derived from how its numbers are stored. Pure functions of arrays."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekd.verify.tolerances import FLOAT_MULTIPLE

Array = np.ndarray[Any, Any]

ROUNDING_MULTIPLE = 2.0
"""How many times the expected root mean square of roundings is allowed. Rounding to a step gives step / √12 = 0.289
steps where values are spread over the steps; kernels of integers round more than once on the way."""
WEIGHTS_MULTIPLE = 5.0
"""Likewise for weights. What rounded weights add to an output channel is one draw for all samples, not one for each, so
that it does not average out: of two million channels one is beyond five standard deviations by chance, and a
MobileNet has 17,000."""
MAX_SATURATED = 0.02
"""The fraction of values that may lie beyond what a tensor can hold: samples that calibration has not seen. It is
exceeded where the 95 % interval of the measured fraction lies above it."""


@dataclasses.dataclass(frozen=True)
class Product:
    """A kernel that took part.

    Attributes:
      norms: [made] ‖w‖₂ of each output channel.
      steps: [made] distance of neighbouring values of its weights.
      read: weights of one output channel.
      mean_square: mean of the squared inputs, () or, where each output channel reads inputs of its own, [made].
      input_step: the step to which the operator rounds its input while it runs, 0 where it does not.
    """

    norms: Array
    steps: Array
    read: int
    mean_square: Array
    input_step: float = 0.0


def rounding_rms(step: float) -> float:
    """Returns the root mean square of rounding to a step: step / √12."""
    return step / math.sqrt(12)


def local_limit(
    *,
    steps: Sequence[float],
    products: Sequence[Product] = (),
    magnitude: float,
    eps: float,
    halves: int = 0,
    constants: float = 0.0,
) -> Array:
    """Returns the largest root mean square error of one operator that rounding explains.

    √((2·r)² + (5·w)²) + (64·eps + halves·2⁻¹⁰)·magnitude + constants, with r² = Σ step²/12 and w² = Σ (weight step² ·
    read · mean x² + input step² · ‖w‖²) / 12: roundings of the outputs, and those of the weights and, where the
    operator rounds its input itself, of the input.

    Args:
      steps: of the two outputs, as far as they are quantised, and of quantised tensors between operators that are
        compared together, times what an error there grows to.
      products: the kernels that took part.
      magnitude: the largest magnitude on the way.
      eps: of the coarsest float format on the way.
      halves: how many operators read constants that are stored as float16, each within half of 2⁻¹⁰ of itself.
      constants: the most that rounding of other constants makes of the output.

    Returns:
      [made] where all products make as many channels, else of shape ().
    """
    rounded = sum(rounding_rms(step) ** 2 for step in steps)
    weights: Array = np.zeros(())
    for each in products:
        of_weights = np.square(each.steps) * each.read * each.mean_square
        variance = (of_weights + np.square(each.input_step * each.norms)) / 12
        if weights.shape in ((), variance.shape):
            weights = weights + variance
        else:
            weights = np.asarray(np.max(weights) + np.max(variance))
    floats = (FLOAT_MULTIPLE * eps + halves * float(np.finfo(np.float16).eps)) * magnitude
    return np.sqrt(ROUNDING_MULTIPLE**2 * rounded + WEIGHTS_MULTIPLE**2 * weights) + floats + constants
