"""Copies of tf_keras networks: tfmot wraps, and in part alters, the layers that it is given."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import tf_keras

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.quantize.legacy import _tfmot


def require_network(model: Any) -> None:
    """Raises ModelError unless this is a built functional or sequential tf_keras network."""
    if not isinstance(model, tf_keras.Model):
        raise ModelError(
            f"expected a tf_keras.Model, received {type(model).__module__}.{type(model).__name__}: carry a Keras 3 "
            "network over with edgekd.quantize.legacy.to_tf_keras."
        )
    if not model._is_graph_network or not model.built:
        raise ModelError(
            f"model {model.name!r} is a subclassed or unbuilt tf_keras network: give it an Input, or build it with the "
            "functional API."
        )


def require_plain(model: Any, exclude: Collection[str]) -> None:
    """Raises an error unless this is a network of ordinary layers, and each of the paths is one of them.

    Raises:
      ModelError: it is no network, tfmot has wrapped some of its layers already, or a path is not known.
      RecipeError: the paths are one string.
    """
    require_network(model)
    if isinstance(exclude, str):
        raise RecipeError(f"exclude is {exclude!r}: expected a list of layer names, such as [{exclude!r}].")
    kinds = tuple(_tfmot.wrapper(kind) for kind in ("pruning", "clustering", "quantization"))
    known = {path: isinstance(layer, kinds) for path, layer in leaves(model)}
    wrapped_already = [path for path, is_wrapped in known.items() if is_wrapped]
    if wrapped_already:
        raise ModelError(
            f"{len(wrapped_already)} layer(s) of model {model.name!r} are already being pruned, clustered or "
            f"quantised: {', '.join(wrapped_already)}. Strip the network first, and quantise it last."
        )
    for path in exclude:
        if path not in known:
            raise ModelError(unknown_name(f"layer of model {model.name!r} in exclude:", path, known))


def leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the layers of a network and of those nested in it, inputs excepted, with their paths `outer/inner`."""
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        elif not isinstance(layer, tf_keras.layers.InputLayer):
            yield prefix + layer.name, layer


def copied(model: Any, change: Callable[[Any], tuple[Any, Sequence[Any]]] | None = None) -> Any:
    """Returns a network of new layers with the same graph.

    Args:
      model: as `require_network` accepts it.
      change: from a layer to the new one that takes its place and the values of that one's weights; else each is
        copied.
    """
    values: list[tuple[Any, Sequence[Any]]] = []

    def clone(layer: Any) -> Any:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=clone)
        new, weights = (change or copied_layer)(layer)
        values.append((new, weights))
        return new

    with _tfmot.scope():
        result = tf_keras.models.clone_model(model, clone_function=clone)
    for layer, weights in values:
        layer.set_weights(weights)
    return result


def copied_layer(layer: Any) -> tuple[Any, Sequence[Any]]:
    """Returns a new layer and the values of its weights."""
    return type(layer).from_config(layer.get_config()), layer.get_weights()


def wrapped(model: Any, wrap: Callable[[Any], Any], paths: Collection[str]) -> Any:
    """Returns a copy in which some layers are wrapped.

    Args:
      model: as `require_network` accepts it.
      wrap: from a built layer, a copy that it may alter, to its wrapper.
      paths: of the layers to wrap.
    """
    copy = copied(model)
    chosen = {id(layer) for path, layer in leaves(copy) if path in paths}

    def clone(layer: Any) -> Any:
        if isinstance(layer, tf_keras.Model):
            return tf_keras.models.clone_model(layer, clone_function=clone)
        return wrap(layer) if id(layer) in chosen else layer

    return tf_keras.models.clone_model(copy, clone_function=clone)
