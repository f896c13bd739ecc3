"""The ranges that activations show on calibration samples."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.quantize import ranges
from edgekd.quantize.aware.layers import QuantizedKernel
from edgekd.quantize.aware.rounding import FakeQuantize

Range = tuple[float, float]

_BATCH = 64
_BINS = 2048
_LEAST_WIDTH = 1e-12  # of an activation that is constant


def set_ranges(
    network: keras.Model,
    sites: Mapping[FakeQuantize, list[Any]],
    samples: np.ndarray[Any, Any],
    *,
    estimator: str,
    settings: Mapping[str, Any],
) -> None:
    """Sets the ranges of a network's quantizers from what goes into them while nothing is rounded.

    Args:
      network: made by `quantize_aware`.
      sites: its quantizers, each with the tensors whose range it takes.
      samples: [samples, ...] float32.
      estimator: a plug-in of `edgekd.quantize.ranges`.
      settings: of the plug-in.

    Raises:
      RecipeError: an unknown estimator or setting.
    """
    tensors = [(layer, tensor) for layer, found in sites.items() if layer.fixed is None for tensor in found]
    found = observe(network, [tensor for _, tensor in tensors], samples, estimator=estimator, settings=settings)
    ranges_of: dict[FakeQuantize, list[Range]] = {}
    for (layer, _), each in zip(tensors, found, strict=True):
        ranges_of.setdefault(layer, []).append(each)
    for layer, each_range in ranges_of.items():
        layer.set_range(*joined(each_range))


def observe(
    network: keras.Model,
    tensors: Sequence[Any],
    samples: np.ndarray[Any, Any],
    *,
    estimator: str,
    settings: Mapping[str, Any],
) -> list[Range]:
    """Returns the range of each tensor of a network while nothing is rounded; arguments and errors as `set_ranges`."""
    estimate = ranges.estimator(estimator, settings)
    if not tensors:
        return []
    switched = [layer for layer in network._flatten_layers() if isinstance(layer, FakeQuantize | QuantizedKernel)]
    for layer in switched:
        layer.bypassed = True
    try:
        (images,) = network.inputs
        return [estimate(each) for each in _observe(keras.Model(images, list(tensors)), samples)]
    finally:
        for layer in switched:
            layer.bypassed = False


def joined(found: Iterable[Range]) -> Range:
    """Returns the range of arrays that share one."""
    lows, highs = zip(*found, strict=True)
    return min(lows), max(highs)


def _observe(network: keras.Model, samples: np.ndarray[Any, Any]) -> list[ranges.Observation]:
    run = tf.function(lambda images: network(images, training=False), autograph=False)

    def batches() -> Any:
        for start in range(0, len(samples), _BATCH):
            yield [np.asarray(each) for each in keras.tree.flatten(run(samples[start : start + _BATCH]))]

    lows, highs = [], []
    for arrays in batches():
        lows.append([float(array.min()) for array in arrays])
        highs.append([float(array.max()) for array in arrays])
    minima, maxima = np.array(lows), np.array(highs)
    ends = zip(minima.min(0), maxima.max(0), strict=True)
    edges = [np.linspace(low, high if high > low else low + _LEAST_WIDTH, _BINS + 1) for low, high in ends]
    counts = np.zeros((len(edges), _BINS), np.int64)
    for arrays in batches():
        for site, array in enumerate(arrays):
            counts[site] += np.histogram(array, edges[site])[0]
    return [
        ranges.Observation(minima[:, site], maxima[:, site], counts[site], edges[site]) for site in range(len(edges))
    ]
