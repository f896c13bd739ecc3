"""Networks of standard layers from Keras 3 to tf_keras (Keras 2) and back, with their weights and names.

tensorflow-model-optimization takes tf_keras networks only; edgekd's own road takes Keras 3 networks only.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from edgekd.errors import ModelError
from edgekd.quantize.legacy import _layers
from edgekd.quantize.legacy._layers import FROM_TF_KERAS, TO_TF_KERAS, Direction


def to_tf_keras(model: keras.Model) -> Any:
    """Returns a tf_keras network that computes what a Keras 3 network computes.

    Layers keep their names, arguments, weights, regularizers, constraints and `trainable`, nested models stay nested
    and shared layers shared. Initialisers and the compiled state are not carried. In inference the outputs are the
    same but for the order of a few float32 operations (tf_keras has fused kernels of batch and layer normalisation);
    in training tf_keras' fused batch normalisation also corrects the moving variance for the batch's size.

    Args:
      model: functional or sequential, built, of standard float32 layers; its inputs may have any dtype.

    Returns:
      A `tf_keras.Model`, `tf_keras.Sequential` for a sequential model, that shares nothing with the argument.

    Raises:
      ModelError: it is no such network; the message names every layer that has no counterpart.
    """
    return _translated(model, TO_TF_KERAS)


def from_tf_keras(model: Any) -> keras.Model:
    """Returns a Keras 3 network that computes what a tf_keras network computes; the way back of `to_tf_keras`.

    Args:
      model: `tf_keras.Model` or `tf_keras.Sequential`, built, of standard float32 layers, without wrappers of
        tensorflow-model-optimization (see `strip`).

    Returns:
      A Keras 3 network that shares nothing with the argument.

    Raises:
      ModelError: it is no such network; the message names every layer that has no counterpart.
    """
    return _translated(model, FROM_TF_KERAS)


@dataclasses.dataclass(frozen=True)
class _Call:
    """One use of a layer in a network's graph."""

    layer: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    outputs: list[Any]


def _translated(model: Any, direction: Direction) -> Any:
    _require_graph(model, direction)
    problems: list[str] = []
    layers: dict[int, Any] = {}
    for path, layer in _leaves(model, direction):
        if id(layer) in layers:
            continue
        try:
            layers[id(layer)] = _layers.translated(layer, direction)
        except ModelError as error:
            problems.append(f"{path} ({type(layer).__name__}): {error}")
    if problems:
        raise ModelError(
            f"model {model.name!r} cannot be carried to {direction.title}: {'; '.join(problems)}. Rebuild it with "
            "other layers."
        )
    built = _built(model, layers, direction)
    for path, layer in _leaves(model, direction):
        try:
            _layers.copy_weights(layer, layers[id(layer)])
        except ModelError as error:
            raise ModelError(
                f"model {model.name!r} cannot be carried to {direction.title}: {path}: {error}."
            ) from error
    return built


def _require_graph(model: Any, direction: Direction) -> None:
    library = direction.source.__name__
    if not isinstance(model, direction.source.Model):
        raise ModelError(f"expected a {library}.Model, received {type(model).__module__}.{type(model).__name__}.")
    if not _is_graph(model, direction):
        raise ModelError(
            f"model {model.name!r} ({type(model).__name__}) has no graph of layers: give it an Input, or build it with "
            "the functional API."
        )


def _is_graph(model: Any, direction: Direction) -> bool:
    own_code = not type(model).call.__module__.startswith(f"{direction.source.__name__}.")
    return not own_code and getattr(model, "inputs", None) is not None


def _leaves(model: Any, direction: Direction, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every operation that is not an input or a network of layers, with its path."""
    for layer in _operations(model, direction):
        if isinstance(layer, direction.source.layers.InputLayer):
            continue
        if isinstance(layer, direction.source.Model) and _is_graph(layer, direction):
            yield from _leaves(layer, direction, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def _operations(model: Any, direction: Direction) -> list[Any]:
    # Keras 3 lists operators such as x / 2 apart from layers.
    graph = getattr(model, "_functional", None) or model
    return list(graph.operations if direction.source is keras else graph.layers)


def _built(model: Any, layers: dict[int, Any], direction: Direction) -> Any:
    """Returns the network of the target library; `layers` is by the id of the layer that each stands for."""

    def counterpart(layer: Any) -> Any:
        if id(layer) not in layers:
            layers[id(layer)] = _built(layer, layers, direction)
        return layers[id(layer)]

    if isinstance(model, direction.source.Sequential):
        parts = [counterpart(layer) for layer in model.layers]
        return direction.target.Sequential([_input_layer(model.inputs[0], direction), *parts], name=model.name)
    inputs, outputs, calls = _graph(model, direction)
    made = {id(tensor): _input(tensor, direction) for tensor in tf.nest.flatten(inputs)}

    def mapped(structure: Any) -> Any:
        return tf.nest.map_structure(lambda each: made.get(id(each), each), structure)

    for call in calls:
        results = counterpart(call.layer)(*mapped(call.arguments), **mapped(call.options))
        made.update({id(old): new for old, new in zip(call.outputs, tf.nest.flatten(results), strict=True)})
    return direction.target.Model(mapped(inputs), mapped(outputs), name=model.name)


def _graph(model: Any, direction: Direction) -> tuple[Any, Any, list[_Call]]:
    """Returns the structures of a functional network's inputs and outputs, and its calls in an order that works."""
    nodes = [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]
    nodes = [node for node in nodes if not node.is_input]
    if direction.source is keras:
        calls = [
            _Call(node.operation, node.arguments.args, _given(node.arguments.kwargs), list(node.outputs))
            for node in nodes
        ]
        return model._inputs_struct, model._outputs_struct, calls
    calls = [
        _Call(node.layer, tuple(node.call_args), _given(node.call_kwargs), tf.nest.flatten(node.outputs))
        for node in nodes
    ]
    return model._nested_inputs, model._nested_outputs, calls


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _input(tensor: Any, direction: Direction) -> Any:
    return direction.target.Input(batch_shape=tuple(tensor.shape), dtype=_dtype(tensor), name=_name(tensor, direction))


def _input_layer(tensor: Any, direction: Direction) -> Any:
    shape = {"batch_shape" if direction.target is keras else "batch_input_shape": tuple(tensor.shape)}
    return direction.target.layers.InputLayer(**shape, dtype=_dtype(tensor), name=_name(tensor, direction))


def _dtype(tensor: Any) -> str:
    return tf.as_dtype(tensor.dtype).name


def _name(tensor: Any, direction: Direction) -> str:
    history = tensor._keras_history
    name: str = (history.operation if direction.source is keras else history.layer).name
    return name
