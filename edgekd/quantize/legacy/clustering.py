"""Clustering of tf_keras networks' weights while they are trained, by tensorflow-model-optimization."""

from collections.abc import Collection, Iterator
from typing import Any

from edgekd.errors import ModelError, RecipeError
from edgekd.quantize.legacy import _copying, _tfmot

# The classes whose kernels tfmot clusters, by the attribute that holds them. Depthwise kernels stay as they are: they
# are small and lose the most accuracy.
_KERNELS = {
    **dict.fromkeys(
        ("Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense"), "kernel"
    ),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), "pointwise_kernel"),
}


def cluster_weights(
    model: Any,
    *,
    clusters: int,
    per_channel: bool = False,
    preserve_sparsity: bool = False,
    exclude: Collection[str] = (),
) -> Any:
    """Returns a copy of a network each of whose kernels has a few distinct values, which training moves.

    The first centroids are found by k-means++. `strip` the network when it has been trained.

    Args:
      model: a trained `tf_keras.Model`, functional or sequential; it is not changed (tfmot's own function alters its
        argument).
      clusters: distinct values of each kernel.
      per_channel: whether Conv2D kernels have that many values in each output channel, not in all: what to choose
        before quantisation, which is per channel.
      preserve_sparsity: whether weights that are zero stay zero; one of the clusters is then zero.
      exclude: names of layers that are not clustered; for those of nested models, paths such as `outer/inner`.

    Returns:
      A `tf_keras.Model`, not compiled.

    Raises:
      RecipeError: too few clusters.
      ModelError: a kernel has no more weights than clusters (the message names all such layers), `exclude` names no
        layer, or nothing is left to cluster.

    References:
      Han et al., Deep Compression, 2015 (arXiv:1510.00149), section 3.
    """
    fewest = 3 if preserve_sparsity else 2
    if clusters < fewest:
        raise RecipeError(
            f"clusters must be at least {fewest}{' with preserve_sparsity' if preserve_sparsity else ''}, "
            f"received {clusters!r}."
        )
    _copying.require_plain(model, exclude)
    kernels = {path: found for path, found in _kernels(model, per_channel=per_channel) if path not in exclude}
    small = [f"{path} ({count})" for path, count in kernels.items() if count <= clusters]
    if small:
        raise ModelError(
            f"{len(small)} layer(s) of model {model.name!r} have too few weights for {clusters} clusters: "
            f"{', '.join(small)}. Give their names as exclude, or choose fewer clusters."
        )
    if not kernels:
        raise ModelError(f"model {model.name!r} has no layer to cluster (excluded: {', '.join(exclude) or 'none'}).")
    clustering = _tfmot.tfmot().clustering.keras
    wrapper = _tfmot.wrapper("clustering")

    def wrap(layer: Any) -> Any:
        # Not by tfmot's function, which counts the channels of a Conv2D without bias wrongly and leaves it as it is.
        initial = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
        return wrapper(layer, clusters, initial, preserve_sparsity, per_channel)

    return _copying.wrapped(model, wrap, kernels)


def _kernels(model: Any, *, per_channel: bool) -> Iterator[tuple[str, int]]:
    """Yields the path of each layer that can be clustered and how many weights are clustered together."""
    for path, layer in _copying.leaves(model):
        attribute = _KERNELS.get(type(layer).__name__)
        if attribute is not None:
            shape = getattr(layer, attribute).shape
            yield path, shape.num_elements() // (shape[-1] if per_channel and type(layer).__name__ == "Conv2D" else 1)
