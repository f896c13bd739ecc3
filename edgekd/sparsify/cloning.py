"""A network built again with some of its layers replaced, the names and all other weights kept."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from edgekd.errors import ModelError

# A new layer, and what sets its weights once it is built.
Replacement = tuple[layers.Layer, Callable[[], None]]


def cloned(model: keras.Model, replace: Callable[[layers.Layer], Replacement | None]) -> keras.Model:
    """Returns the network with replaced layers; the given one is left as it is.

    Args:
      model: a built functional or sequential network; nested ones are cloned too.
      replace: gives a layer's replacement, or None for an exact copy, the state of its random numbers included.

    Raises:
      ModelError: the network is subclassed or not built.
    """
    require_graph(model)
    setters: list[Callable[[], None]] = []
    made: dict[int, keras.Operation] = {}

    def clone(operation: keras.Operation) -> keras.Operation:
        if id(operation) not in made:
            made[id(operation)] = _clone(operation)
        return made[id(operation)]

    def _clone(operation: keras.Operation) -> keras.Operation:
        if isinstance(operation, keras.Model):
            return _rebuilt(operation, clone)
        if not isinstance(operation, layers.Layer):
            return plain(operation)
        replacement = replace(operation)
        if replacement:
            setters.append(replacement[1])
            return replacement[0]
        new = plain(operation)
        setters.append(lambda: _copy_variables(operation, new))
        return new

    result = _rebuilt(model, clone)
    for set_weights in setters:
        set_weights()
    return result


def _rebuilt(model: keras.Model, clone: Callable[[keras.Operation], keras.Operation]) -> keras.Model:
    require_graph(model)
    if isinstance(model, keras.Sequential):
        result = keras.models.clone_model(model, clone_function=clone)
        if not result.built:
            result.build(model.input_shape)
        return result
    # Keras would call an input without a name after a tensor, whose number depends on what was built before.
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor._keras_history.operation.name
        ),
        model.input,
    )
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=clone, call_function=_call)


def _call(layer: keras.Operation, *arguments: Any, **options: Any) -> Any:
    # Keras records the mask that it passes to layers which take one; a replacement may take none.
    return layer(*arguments, **{name: value for name, value in options.items() if name != "mask" or value is not None})


def plain(layer: layers.Layer, **changes: object) -> layers.Layer:
    """Returns a new layer, not built, with a layer's configuration and some changes of it."""
    return type(layer).from_config({**layer.get_config(), **changes})


def require_graph(model: keras.Model) -> None:
    """Raises ModelError unless the layers' connections are known."""
    if not (isinstance(model, keras.Function) or (isinstance(model, keras.Sequential) and model.built)):
        raise ModelError(
            f"model {model.name!r} ({type(model).__name__}) is subclassed or not built, so that its layers cannot be "
            "replaced: build it with the functional API, around the same layers."
        )


def graph_of(model: keras.Model) -> keras.Function:
    """Returns the graph of a built functional or sequential network."""
    return model._functional if isinstance(model, keras.Sequential) else model


def call_counts(model: keras.Model) -> Counter[int]:
    """Returns how often one forward pass calls each layer, by the layer's id()."""
    counts: Counter[int] = Counter()
    for level in graph_of(model)._nodes_by_depth.values():
        for node in level:
            if node.is_input:
                continue
            if isinstance(node.operation, keras.Model):
                counts.update(call_counts(node.operation))
            else:
                counts[id(node.operation)] += 1
    return counts


def _copy_variables(old: layers.Layer, new: layers.Layer) -> None:
    for mine, theirs in zip(new.variables, old.variables, strict=True):
        mine.assign(theirs)
