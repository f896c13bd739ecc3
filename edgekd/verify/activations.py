"""What an output that comes out of a steep function may be, where the number before it is a few steps off."""

import dataclasses
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used

Array = np.ndarray[Any, Any]

_LEAST = 1e-9  # a probability whose logit is still finite


@dataclasses.dataclass(frozen=True)
class Activation:
    """The function that an output comes out of.

    Attributes:
      function: logistic, tanh or softmax.
      step: the distance of neighbouring values of the numbers that it gets.
    """

    function: str
    step: float


def reach(values: Array, activation: Activation, *, step: float, steps: float) -> tuple[Array, Array]:
    """Returns the least and the largest value that outputs can have where what they are made of is some steps off.

    An output v was rounded, so it comes from numbers z with f(z) within half a step of v. From there

      f(f⁻¹(v − step / 2) − steps · s) − step / 2  to  f(f⁻¹(v + step / 2) + steps · s) + step / 2

    where s is the activation's step, twice that for a softmax: its own number may go one way and the others the other.

    Args:
      values: any shape, dequantised outputs of the function.
      activation: the function, and the step of what it gets.
      step: of the outputs.
      steps: how many steps the numbers before may be off.

    Returns:
      Two arrays of the shape of `values`.
    """
    half, moved = step / 2, steps * activation.step
    values = np.asarray(values, np.float64)
    if activation.function == "tanh":  # 2 · logistic(2 z) − 1
        low, high = _of_logits((values + 1) / 2, half / 2, 2 * moved)
        return 2 * low - 1 - half, 2 * high - 1 + half
    low, high = _of_logits(values, half, 2 * moved if activation.function == "softmax" else moved)
    return low - half, high + half


def _of_logits(values: Array, half: float, moved: float) -> tuple[Array, Array]:
    low, high = (
        scipy.special.expit(scipy.special.logit(np.clip(values + sign * half, _LEAST, 1 - _LEAST)) + sign * moved)
        for sign in (-1, 1)
    )
    return low, high
