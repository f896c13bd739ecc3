"""From a network in training back to a plain one."""

import keras
import numpy as np

from edgekd.sparsify.cloning import Replacement, cloned, plain
from edgekd.sparsify.kernels import kernel_of
from edgekd.sparsify.shared_values import FixedClusters
from edgekd.sparsify.wrapping import Wrapped
from edgekd.sparsify.zeros import FixedZeros


def strip(model: keras.Model) -> keras.Model:
    """Returns the plain network that a sparse one stands for: the same outputs, and only Keras' own layers.

    Zeros and shared values are in the weights then; constraints that `keep_zeros` and `keep_clusters` added are gone.

    Args:
      model: what `prune`, `prune_channels`, `cluster`, `keep_zeros` or `keep_clusters` gave; it stays as it is.

    Raises:
      ModelError: the network is subclassed.
    """

    def replace(layer: keras.layers.Layer) -> Replacement | None:
        inner = layer.layer if isinstance(layer, Wrapped) else layer
        kernel = kernel_of(inner)
        freed = kernel is not None and isinstance(getattr(inner, kernel.constraint), (FixedZeros, FixedClusters))
        if inner is layer and not freed:
            return None
        new = plain(inner, **({kernel.constraint: None} if freed and kernel else {}))

        def weights() -> list[np.ndarray]:
            return layer.stripped_weights() if isinstance(layer, Wrapped) else layer.get_weights()

        return new, lambda: new.set_weights(weights())

    return cloned(model, replace)
