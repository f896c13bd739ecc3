"""Values that weights share, and go on sharing while they train on."""

import base64
import zlib
from typing import Any

import keras
import numpy as np
from keras import ops

from edgekd.errors import ModelError, RecipeError
from edgekd.sparsify.constraining import constrained
from edgekd.sparsify.kernels import kernel_of, layers_by_path, variable_of
from edgekd.sparsify.wrapping import PACKAGE


def keep_clusters(model: keras.Model, *, clusters: int) -> keras.Model:
    """Returns the network with weights that are equal now held equal in all training to come.

    After every update each cluster of a kernel gets the mean of its weights. So its value moves by the mean of what the
    optimizer did to them, as in training with `cluster`; only, no weight changes over to another cluster. Weights that
    are zero stay zero. Like `keep_zeros` this is a constraint of the layer: it goes into files and into every network
    that is made from this one's layers, quantisation-aware ones included. `strip` removes it.

    Args:
      model: a built functional or sequential network, such as a stripped one that `cluster` made; it stays as it is.
      clusters: kernels with more distinct values than this are left free.

    Raises:
      RecipeError: fewer than 2 clusters.
      ModelError: no kernel has so few values, a layer that has some has a constraint of its own, or a subclassed
        network.
    """
    if clusters < 2:
        raise RecipeError(f"clusters is {clusters}: expected 2 distinct values of a kernel or more.")
    found = {
        path: layer
        for path, layer in layers_by_path(model).items()
        if kernel_of(layer) is not None and len(np.unique(variable_of(layer).numpy())) <= clusters
    }
    if not found:
        raise ModelError(
            f"no kernel of model {model.name!r} has {clusters} values or fewer: cluster and strip it first."
        )
    return constrained(model, found, FixedClusters.of, kept="clusters")


@keras.saving.register_keras_serializable(package=PACKAGE)
class FixedClusters(keras.constraints.Constraint):
    """A constraint that gives all elements of a cluster their mean.

    Attributes:
      places: integers of the variable's shape: which cluster an element belongs to; -1 where it is zero.
    """

    def __init__(self, places: Any) -> None:
        """Takes the clusters: an array, or what `get_config` wrote of one."""
        self.places = np.asarray(_unpacked(places) if isinstance(places, dict) else places, np.int32)
        self._counts = np.bincount(self.places[self.places >= 0], minlength=1).astype(np.float32)

    @classmethod
    def of(cls, values: np.ndarray[Any, Any]) -> "FixedClusters":
        """Returns the constraint that keeps equal what is equal in an array."""
        kept = values != 0
        places = np.full(values.shape, -1)
        places[kept] = np.unique(values[kept], return_inverse=True)[1]
        return cls(places)

    def __call__(self, w: Any) -> Any:
        """Returns the variable's value with the mean of each cluster in all of its elements."""
        value = ops.convert_to_tensor(w)
        kept = self.places >= 0
        places = np.maximum(self.places, 0)
        # What an update did to a zero counts for nothing, infinities included.
        own = ops.reshape(ops.where(kept, value, ops.zeros_like(value)), [-1])
        means = ops.segment_sum(own, places.ravel(), num_segments=len(self._counts)) / np.maximum(self._counts, 1.0)
        return ops.where(kept, ops.take(means, places), ops.zeros_like(value))

    def get_config(self) -> dict[str, Any]:
        """Returns the clusters in a form that JSON holds."""
        content = base64.b64encode(zlib.compress(self.places.astype("<i4").tobytes(), 9)).decode()
        return {"places": {"shape": list(self.places.shape), "zlib": content}}


def _unpacked(packed: dict[str, Any]) -> np.ndarray[Any, Any]:
    content = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(content, "<i4").reshape(packed["shape"])
