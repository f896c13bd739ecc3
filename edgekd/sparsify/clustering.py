"""Weight clustering: each kernel holds few distinct values, which are trained."""

from collections.abc import Sequence
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.sparsify.cloning import Replacement, cloned, plain, require_graph
from edgekd.sparsify.kernels import kernel_of, layers_by_path, require_known, variable_of
from edgekd.sparsify.kmeans import Initial, centroids
from edgekd.sparsify.wrapping import PACKAGE, Wrapped, substituted


def cluster(
    model: keras.Model,
    *,
    clusters: int = 16,
    initial: Initial = "linear",
    exclude: Sequence[str] = (),
    seed: int = 0,
) -> keras.Model:
    """Returns a network with the same layers, each of whose kernels takes `clusters` distinct values at most.

    Every weight is replaced by its nearest centroid. Training moves both: the weight itself as if it had not been
    replaced (straight-through), so that it may change over to another centroid, and each centroid by the *mean* of the
    gradients of its weights, so that the learning rate of weights suits centroids too. The centroids start where
    k-means on the kernel ends.

    Weights that are exactly zero, such as those that pruning left, stay zero, and zero is then one of the values.

    Args:
      model: a built functional or sequential network; it stays as it is.
      clusters: distinct values of a kernel, 2 or more.
      initial: where k-means starts: `linear`, `density` or `kmeans++`.
      exclude: names of layers to leave as they are; the others with a kernel are clustered.
      seed: of kmeans++.

    Returns:
      A network to train, and then to `strip`.

    Raises:
      RecipeError: fewer than 2 clusters, or an unknown start.
      ModelError: a layer that does not exist, nothing to cluster, or a subclassed network.

    References:
      Han, Mao and Dally, Deep Compression, 2016 (arXiv:1510.00149), section 3, where centroids alone are trained, by
      the sum of the gradients. Bengio, Léonard and Courville, Estimating or Propagating Gradients Through Stochastic
      Neurons, 2013 (arXiv:1308.3432), for the straight-through gradient.
    """
    require_graph(model)
    if clusters < 2:
        raise RecipeError(f"clusters is {clusters}: expected 2 distinct values of a kernel or more.")
    if initial not in get_args(Initial):
        raise RecipeError(unknown_name("start of the clusters", initial, get_args(Initial)))
    known = layers_by_path(model)
    require_known(exclude, known, model=model.name)
    chosen = {id(layer) for path, layer in known.items() if path not in exclude and kernel_of(layer) is not None}
    if not chosen:
        raise ModelError(f"model {model.name!r} has nothing to cluster: no dense or convolutional layer is left.")

    def replace(layer: keras.layers.Layer) -> Replacement | None:
        if id(layer) not in chosen:
            return None
        kernel = variable_of(layer).numpy()
        kept = kernel != 0
        count = clusters if kept.all() else clusters - 1
        values = centroids(kernel[kept], count, initial=initial, seed=seed) if kept.any() else np.zeros(1, np.float32)
        new = ClusteredKernel(plain(layer), clusters=len(values))

        def set_weights() -> None:
            new.layer.set_weights(layer.get_weights())
            new.centroids.assign(values)
            new.kept.assign(kept)

        return new, set_weights

    return cloned(model, replace)


@keras.saving.register_keras_serializable(package=PACKAGE)
class ClusteredKernel(Wrapped):
    """A layer whose kernel's weights are replaced by their nearest centroids."""

    def __init__(self, layer: keras.layers.Layer, *, clusters: int, **settings: Any) -> None:
        """Wraps a layer.

        Args:
          layer: has a kernel.
          clusters: how many centroids, zero aside.
          **settings: of a layer.
        """
        super().__init__(layer, **settings)
        self.clusters = clusters

    def add_state(self) -> None:
        """Makes the centroids, and the mask of the weights that are not zero."""
        shape = variable_of(self.layer).shape
        self.centroids = self.add_weight(shape=(self.clusters,), initializer="zeros", name="centroids")
        self.kept = self.add_weight(shape=shape, dtype="bool", initializer="ones", trainable=False, name="kept")

    def call(self, inputs: Any) -> Any:
        """Returns what the wrapped layer gives with the clustered kernel."""
        variable = variable_of(self.layer)
        kernel = tf.convert_to_tensor(variable)
        values, places = self._nearest(kernel)
        ones = tf.ones_like(kernel)
        counts = tf.math.unsorted_segment_sum(tf.reshape(ones, [-1]), tf.reshape(places, [-1]), self.clusters)
        # Both differences are exactly zero: they are there for their gradients.
        averaged = tf.stop_gradient(values) + (values - tf.stop_gradient(values)) / tf.maximum(counts, 1.0)
        passed = kernel - tf.stop_gradient(kernel)
        mask = tf.cast(tf.convert_to_tensor(self.kept), kernel.dtype)
        with substituted(self.layer, [(variable, (tf.gather(averaged, places) + passed) * mask)]):
            return self.layer(inputs)

    def stripped_weights(self) -> list[np.ndarray[Any, Any]]:
        """Returns the wrapped layer's weights with the clustered kernel."""
        variable = variable_of(self.layer)
        values, places = self._nearest(tf.convert_to_tensor(variable))
        kernel = np.where(self.kept.numpy(), tf.gather(values, places).numpy(), np.float32(0))
        return [kernel if weight is variable else weight.numpy() for weight in self.layer.weights]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "clusters": self.clusters}

    def _nearest(self, kernel: Any) -> tuple[Any, Any]:
        """Returns the centroids in rising order, and for each weight the position of its nearest."""
        values = tf.sort(tf.convert_to_tensor(self.centroids))
        borders = tf.stop_gradient((values[1:] + values[:-1]) / 2.0)
        flat = tf.reshape(tf.stop_gradient(kernel), [-1])
        return values, tf.reshape(tf.searchsorted(borders, flat), kernel.shape)
