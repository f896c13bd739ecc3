"""How the range of an activation is found from what it showed: one file for each way.

A way is a file of this folder with a function `estimate(observed, *, ...) -> (low, high)`; its keyword arguments are
its settings. This package needs NumPy alone.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgekd import registry


@dataclasses.dataclass(frozen=True)
class Observation:
    """What one activation showed on the calibration samples.

    Attributes:
      minima: [batches] each batch's least value.
      maxima: [batches] each batch's largest.
      counts: [bins] how many values lay in each bin.
      edges: [bins + 1] the bins' edges, equally spaced from the least value to the largest.
    """

    minima: np.ndarray[Any, Any]
    maxima: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    edges: np.ndarray[Any, Any]


def estimator(name: str, settings: Mapping[str, Any]) -> Callable[[Observation], tuple[float, float]]:
    """Returns the way of that name as a function of an observation alone.

    Raises:
      RecipeError: an unknown name or setting, or a value of another type.
    """
    registry.require(__name__, name)
    plugin = registry.describe(__name__, name, entry="estimate")
    kind = f"setting of calibration {name!r}"
    registry.check_arguments(plugin, settings, kind=kind)
    registry.check_types(plugin, settings, kind=kind)
    estimate = registry.load(__name__, name).estimate
    return lambda observed: estimate(observed, **settings)
