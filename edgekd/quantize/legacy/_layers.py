"""One layer from Keras 3 to tf_keras or back: the same class, name, arguments and, once it is built, weights."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tf_keras

from edgekd.errors import ModelError
from edgekd.quantize.legacy import _activations

# Classes that compute the same from the same arguments in both libraries.
_KNOWN = frozenset(
    {
        *(f"{kind}{rank}D" for rank in (1, 2, 3) for kind in (
            "AveragePooling", "Conv", "Cropping", "GlobalAveragePooling", "GlobalMaxPooling", "MaxPooling",
            "SpatialDropout", "UpSampling", "ZeroPadding",
        )),
        "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D",
        "SeparableConv1D", "SeparableConv2D", "Dense",
        "BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization", "Rescaling",
        "UnitNormalization",
        "Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax",
        "Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract",
        "Flatten", "Identity", "Permute", "RepeatVector", "Reshape",
        "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    }
)  # fmt: skip

# Arguments of Keras 3 that tf_keras calls otherwise.
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}

# Arguments that only one library has, with the value that means what the other does.
_NEUTRAL = {"data_format": "channels_last", "rms_scaling": False}

# What is no argument of the layer's arithmetic, or handled apart. Initialisers: the weights themselves are carried.
_APART = frozenset({"name", "trainable", "dtype", "batch_input_shape", "mean", "variance"})


@dataclasses.dataclass(frozen=True)
class Direction:
    """From which library to which.

    Attributes:
      source: `keras` or `tf_keras`.
      target: the other one.
      title: how messages call the target.
      activation: the target's function for one of the source's.
    """

    source: Any
    target: Any
    title: str
    activation: Callable[[Any], Any]

    def argument(self, kind: str, name: str) -> str:
        """Returns what the target calls an argument of a class."""
        renamed = _RENAMED.get(kind, {})
        if self.source is tf_keras:
            renamed = {new: old for old, new in renamed.items()}
        return renamed.get(name, name)


TO_TF_KERAS = Direction(keras, tf_keras, "tf_keras", _activations.to_tf_keras)
FROM_TF_KERAS = Direction(tf_keras, keras, "Keras 3", _activations.from_tf_keras)


def translated(layer: Any, direction: Direction) -> Any:
    """Returns a new layer of the target library; its weights come with `copy_weights`.

    Args:
      layer: built, not a model.
      direction: from the layer's library to the other.

    Raises:
      ModelError: there is no counterpart; the message is a clause, to follow the layer's name.
    """
    own: Any = type(layer)
    kind = own.__name__
    if kind not in _KNOWN or own is not getattr(direction.source.layers, kind):
        raise ModelError(f"there is no {direction.title} layer of the same arithmetic")
    policy = layer.dtype_policy.name if direction.source is keras else layer._dtype_policy.name
    if policy != "float32":
        raise ModelError(f"its dtype policy is {policy}, expected float32")
    target: Any = getattr(direction.target.layers, kind)
    arguments: dict[str, Any] = {"name": layer.name}
    for name, value in layer.get_config().items():
        if name in _APART or name.endswith("_initializer"):
            continue
        renamed = direction.argument(kind, name)
        if renamed in _parameters(target):
            arguments[renamed] = _value(layer, name, value, direction)
        elif value not in (_parameters(own).get(name), _NEUTRAL.get(name)):
            raise ModelError(f"its argument {name}={value!r} has no counterpart in {direction.title}")
    if kind == "Normalization":
        arguments.update(_moments(layer))
    made = target(**arguments)
    made.trainable = layer.trainable
    return made


def copy_weights(source: Any, target: Any) -> None:
    """Sets the weights of a layer's counterpart.

    Raises:
      ModelError: they do not fit; the message is a clause, to follow the layer's name.
    """
    if type(source).__name__ == "Normalization":
        return  # its mean and variance are arguments of the counterpart
    values = source.get_weights()
    wanted, given = [list(weight.shape) for weight in target.weights], [list(value.shape) for value in values]
    if wanted != given:
        raise ModelError(f"its weights have shapes {given}, those of its counterpart {wanted}")
    target.set_weights(values)


def _value(layer: Any, name: str, value: Any, direction: Direction) -> Any:
    if name == "activation":
        return direction.activation(layer.activation)
    if name == "axis" and type(layer).__name__ == "BatchNormalization" and not isinstance(value, int):
        if len(value) > 1:
            raise ModelError(f"it normalises the axes {list(value)}, of which Keras 3 takes one")
        return value[0]
    for suffix, place in (("_regularizer", "regularizers"), ("_constraint", "constraints")):
        if name.endswith(suffix):
            return _same_object(getattr(layer, name), name, getattr(direction.target, place), direction)
    return value


def _same_object(value: Any, name: str, known: Any, direction: Direction) -> Any:
    """Returns the target's regularizer or constraint of the same class and arguments."""
    if value is None:
        return None
    kind = type(value).__name__
    if not inspect.isclass(getattr(known, kind, None)):
        raise ModelError(f"its {name} {getattr(value, '__name__', kind)} has no counterpart in {direction.title}")
    return getattr(known, kind)(**value.get_config())


def _moments(layer: Any) -> Mapping[str, Any]:
    """Returns the mean and variance of a Normalization layer, over the axes that it keeps."""
    kept = layer._keep_axis
    shape = [size for axis, size in enumerate(layer._broadcast_shape) if axis in kept]
    return {
        "mean": np.asarray(layer.mean).reshape(shape),
        "variance": np.asarray(layer.variance).reshape(shape),
    }


@functools.cache
def _parameters(kind: Any) -> dict[str, Any]:
    """Returns the arguments that a layer's class takes, itself or for its bases, with their defaults."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found
