"""From a network in training back to plain layers: what tensorflow-model-optimization's wrappers have made of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekd.errors import ModelError
from edgekd.quantize.legacy import _copying, _tfmot

# Variables that only the quantisers of preserving wrappers have.
_ONLY_TRAINING = ("cluster_centroids_tf", "ori_weights_vars_tf", "pulling_indices_tf")


def strip(model: Any) -> Any:
    """Returns a copy of a network without what only its training needs.

    Layers that were pruned are plain layers with zeros, layers that were clustered plain layers of few distinct
    weights, and layers that were quantised while something was preserved are quantised as without: with the same
    weights and ranges, and the same outputs.

    Args:
      model: from `prune_low_magnitude`, `prune_n_of_m`, `cluster_weights` or `quantize_aware`, trained; it is not
        changed.

    Returns:
      A `tf_keras.Model`, not compiled.

    Raises:
      ModelError: it is no such network.
    """
    _copying.require_network(model)
    if not any(isinstance(layer, _wrappers()) for _, layer in _copying.leaves(model)):
        raise ModelError(f"model {model.name!r} has no layer that is being pruned, clustered or quantised.")
    return _copying.copied(model, _stripped)


def in_training(model: Any) -> list[str]:
    """Returns the paths of the layers that `strip` changes."""
    pruning, clustering, quantization = _wrappers()
    return [
        path
        for path, layer in _copying.leaves(model)
        if isinstance(layer, pruning | clustering) or (isinstance(layer, quantization) and _preserves(layer))
    ]


def _wrappers() -> tuple[Any, Any, Any]:
    return _tfmot.wrapper("pruning"), _tfmot.wrapper("clustering"), _tfmot.wrapper("quantization")


def _stripped(layer: Any) -> tuple[Any, Sequence[Any]]:
    pruning, clustering, quantization = _wrappers()
    if isinstance(layer, pruning):
        return _plain(layer.layer), _pruned_weights(layer)
    if isinstance(layer, clustering):
        return _plain(layer.layer), _clustered_weights(layer)
    if isinstance(layer, quantization):
        # The configuration does not say what is preserved, so that the copy preserves nothing.
        return type(layer).from_config(layer.get_config()), [
            np.asarray(weight)
            for weight in layer.weights
            if weight.name.partition(":")[0].rpartition("/")[2] not in _ONLY_TRAINING
        ]
    return _copying.copied_layer(layer)


def _plain(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _pruned_weights(wrapper: Any) -> list[Any]:
    masks = {weight.ref(): mask for weight, mask, _ in wrapper.pruning_vars}
    return [
        np.asarray(weight) * (np.asarray(masks[weight.ref()]) if weight.ref() in masks else 1)
        for weight in wrapper.layer.weights
    ]


def _clustered_weights(wrapper: Any) -> list[Any]:
    wrapper.update_clustered_weights_associations()  # as every forward pass does
    weights = wrapper.layer.get_weights()  # those that are not clustered
    for position, name in sorted(wrapper.position_original_weights.items()):
        weights.insert(position, np.asarray(wrapper.get_weight_from_layer(name)))
    return weights


def _preserves(wrapper: Any) -> bool:
    return any("Preserve" in type(quantizer).__name__ for _, quantizer, _ in wrapper._weight_vars)
