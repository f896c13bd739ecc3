"""A Keras model as one frozen TensorFlow function whose names do not depend on what else the process has built."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgekd.errors import ModelError, NonFiniteError

_TERMINAL_STYLE = re.compile(r"\x1b\[\d*m")  # Keras prints parts of its messages in bold
_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*")


def input_shape(model: keras.Model) -> tuple[int, ...]:
    """Returns the shape of one sample.

    Raises:
      ModelError: this is not a Keras model with one float32 input of known sample shape and one float32 output.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or inputs is None or outputs is None:
        raise ModelError(
            f"only built Keras 3 functional and sequential models can be exported, received {type(model).__name__}: "
            "give it an Input, or wrap it in keras.Model(inputs, outputs)."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"the model {model.name!r} has {len(inputs)} inputs and {len(outputs)} outputs, export takes one of each: "
            "build keras.Model(input, output) from the tensors that the device needs."
        )
    for what, tensor in (("input", inputs[0]), ("output", outputs[0])):
        if str(tensor.dtype) != "float32":
            raise ModelError(f"the {what} of model {model.name!r} is {tensor.dtype}, expected float32.")
    shape = tuple(inputs[0].shape[1:])
    if None in shape:
        raise ModelError(f"the input of model {model.name!r} has shape {inputs[0].shape}: only the batch may vary.")
    return shape


def check_weights(model: keras.Model) -> None:
    """Raises NonFiniteError, naming the first weight, unless every weight is finite."""
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise NonFiniteError(
                f"weight {weight.path!r} of model {model.name!r} has NaN or infinity in "
                f"{int((~np.isfinite(values)).sum())} of {values.size} elements: train it again before exporting."
            )


def frozen_function(model: keras.Model, *, batch: int | None, output_name: str) -> Any:
    """Returns the model in inference mode as a TensorFlow ConcreteFunction without variables.

    The input keeps the Keras input's name, the output is called `output_name`, and operations are named after their
    layers. TensorFlow's own names carry the model's name and a counter, which vary from process to process.

    Args:
      model: as `input_shape` accepts it.
      batch: the batch size, or None for one that may vary.
      output_name: what the output tensor is called.

    Raises:
      ModelError: a name that TensorFlow's graphs cannot hold, one name for both, or a layer that cannot be traced.
    """
    input_name = model.inputs[0].name
    _check_names(input_name, output_name)
    signature = tf.TensorSpec((batch, *model.inputs[0].shape[1:]), tf.float32, name=input_name)
    traced = tf.function(lambda image: model(image, training=False), input_signature=[signature], autograph=False)
    try:
        concrete = traced.get_concrete_function()
    except (ValueError, TypeError, NotImplementedError, RuntimeError, tf.errors.OpError) as error:
        reason = " ".join(_TERMINAL_STYLE.sub("", str(error)).split())[:500]
        raise ModelError(f"model {model.name!r} cannot be traced as a TensorFlow graph: {reason}") from error
    frozen = convert_variables_to_constants_v2(concrete)
    graph = frozen.graph.as_graph_def()
    source, target = frozen.inputs[0].op.name, frozen.outputs[0].op.name
    names = _names(
        [node.name for node in graph.node],
        fixed={source: input_name, target: output_name},
        model_name=model.name,
        layers=set(_layer_names(model)),
    )
    for node in graph.node:
        node.name = names[node.name]
        node.input[:] = [_renamed(reference, names) for reference in node.input]
        node.attr.pop("_class", None)  # colocation hints that still hold the old names
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    return wrapped.prune(
        wrapped.graph.get_tensor_by_name(f"{input_name}:0"), wrapped.graph.get_tensor_by_name(f"{output_name}:0")
    )


def _check_names(input_name: str, output_name: str) -> None:
    for what, name in (("input", input_name), ("output", output_name)):
        if not _NODE_NAME.fullmatch(name):
            raise ModelError(
                f"the {what} cannot be called {name!r} in an exported file: use letters, digits and _ . - only, as the "
                f"{'name of the keras.Input' if what == 'input' else 'output_name'}."
            )
    if input_name == output_name:
        raise ModelError(f"input and output would both be called {input_name!r}: set another output_name.")


def _names(nodes: list[str], *, fixed: dict[str, str], model_name: str, layers: set[str]) -> dict[str, str]:
    """Returns new, distinct names: without the model's scope, and without the counter after each layer's name."""
    renamed = dict(fixed)
    taken = set(fixed.values())
    for node in nodes:
        if node in fixed:
            continue
        scopes = node.split("/")
        if len(scopes) > 1 and re.fullmatch(rf"{re.escape(model_name)}(_\d+)?", scopes[0]):
            scopes = scopes[1:]
        base = "/".join(_without_counter(scope, layers) for scope in scopes)
        name, number = base, 1
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        renamed[node] = name
        taken.add(name)
    return renamed


def _without_counter(scope: str, layers: set[str]) -> str:
    bare = re.sub(r"_\d+$", "", scope)
    return bare if bare in layers and scope not in layers else scope


def _layer_names(model: keras.Model) -> Iterator[str]:
    for layer in model.layers:
        yield layer.name
        if isinstance(layer, keras.Model):
            yield from _layer_names(layer)


def _renamed(reference: str, names: dict[str, str]) -> str:
    control, name, port = re.fullmatch(r"(\^?)([^:]+)((?::\d+)?)", reference).groups()  # type: ignore[union-attr]
    return f"{control}{names[name]}{port}"
