"""Made-up data for tests and benchmarks: a pattern per class with noise on it, or noise alone."""

import math
from collections.abc import Sequence

import numpy as np

from edgekd.data import randomness
from edgekd.data.dataset import Loaded, Split
from edgekd.errors import RecipeError

LOCATION = None
_CELL = 4


def load(
    location: str,
    *,
    samples: int = 1000,
    classes: int = 10,
    shape: Sequence[int] = (28, 28, 1),
    seed: int = 0,
    learnable: bool = True,
) -> Loaded:
    """Returns samples whose class can be told from a coarse pattern, or cannot be told at all.

    Every class has a pattern of cells of four values per axis; a sample is the mean of its class's pattern and uniform
    noise. Samples of rank 3 are images (uint8); those of other ranks are float32 in 0..1. Labels go round the classes.

    Args:
      location: not used.
      samples: how many, all in the training split: validation and test are held out of them.
      classes: 2 or more.
      shape: of one sample.
      seed: decides patterns and noise.
      learnable: False leaves the pattern out, so that no model can do better than chance.

    Raises:
      RecipeError: a number out of range.
    """
    del location
    _check(samples, classes, shape)
    labels = np.arange(samples) % classes
    size = math.prod(shape)
    values = _uniform(samples * size, randomness.key("synthetic.noise", seed)).reshape(samples, *shape)
    if learnable:
        values = (_patterns(classes, tuple(shape), seed)[labels] + values) / 2
    images = np.floor(values * 256).astype(np.uint8) if len(shape) == 3 else values.astype(np.float32)
    return Loaded(
        name="synthetic",
        train=Split(images, labels),
        class_names=tuple(f"class {number}" for number in range(classes)),
    )


def _patterns(classes: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    cells = (*(math.ceil(side / _CELL) for side in shape[:-1]), shape[-1])
    draws = _uniform(classes * math.prod(cells), randomness.key("synthetic.pattern", seed))
    patterns = draws.reshape(classes, *cells)
    for axis, side in enumerate(shape[:-1], start=1):
        patterns = np.take(patterns, np.arange(side) // _CELL, axis=axis)
    return patterns


def _uniform(count: int, key: int) -> np.ndarray:
    """Draws of 24 bits in [0, 1): exact in float32."""
    return (randomness.bits(np.arange(count), key=key) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


def _check(samples: int, classes: int, shape: Sequence[int]) -> None:
    if classes < 2 or samples < classes:
        raise RecipeError(f"{samples} samples of {classes} classes: expected 2 or more classes and a sample of each.")
    if not shape or any(side < 1 for side in shape):
        raise RecipeError(f"shape is {list(shape)}: expected whole numbers above 0, such as [28, 28, 1].")
