"""Activations that differ between Keras 3 and tf_keras: by name, or by what they compute under one name."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from edgekd.errors import ModelError

# By their names in Keras 3. Not `hard_sigmoid`: it is relu6(x + 3) / 6 in Keras 3 and clip(0.2 x + 0.5, 0, 1) in
# tf_keras.
_SAME = {
    **{
        name: name
        for name in (
            "elu", "exponential", "gelu", "linear", "mish", "relu", "selu", "sigmoid", "softmax", "softplus",
            "softsign", "tanh",
        )
    },
    "silu": "swish",
}  # fmt: skip

_registered = tf_keras.utils.register_keras_serializable(package="edgekd")


@_registered
def relu6(x: Any) -> Any:
    """Returns min(max(x, 0), 6)."""
    return tf.nn.relu6(x)


@_registered
def leaky_relu(x: Any) -> Any:
    """Returns max(0.2 x, x), as Keras 3 has it."""
    return tf.nn.leaky_relu(x, alpha=0.2)


@_registered
def hard_sigmoid(x: Any) -> Any:
    """Returns relu6(x + 3) / 6, as Keras 3 has it."""
    return tf.nn.relu6(x + 3.0) / 6.0


@_registered
def hard_silu(x: Any) -> Any:
    """Returns x · relu6(x + 3) / 6, as Keras 3 has it."""
    return x * hard_sigmoid(x)


_OURS = {function.__name__: function for function in (relu6, leaky_relu, hard_sigmoid, hard_silu)}


def to_tf_keras(activation: Any) -> Callable[..., Any]:
    """Returns the tf_keras function that computes what this one of Keras 3 computes.

    Raises:
      ModelError: there is none; the message is a clause, to follow the layer's name.
    """
    name = _name(activation, keras)
    if name in _SAME:
        return getattr(tf_keras.activations, _SAME[name])
    if name in _OURS:
        return _OURS[name]
    raise ModelError(f"its activation {_shown(activation)} has no counterpart in tf_keras")


def from_tf_keras(activation: Any) -> Callable[..., Any]:
    """Returns the Keras 3 function that computes what this one of tf_keras, or of this module, computes.

    Raises:
      ModelError: there is none; the message is a clause, to follow the layer's name.
    """
    if any(activation is function for function in _OURS.values()):
        return getattr(keras.activations, activation.__name__)
    name = _name(activation, tf_keras)
    found = next((new for new, old in _SAME.items() if old == name), None)
    if found is None:
        raise ModelError(f"its activation {_shown(activation)} has no counterpart in Keras 3")
    return getattr(keras.activations, found)


def _name(activation: Any, library: Any) -> str | None:
    """Returns the function's name where it is the library's own, else None."""
    name = getattr(activation, "__name__", None)
    return name if name is not None and getattr(library.activations, name, None) is activation else None


def _shown(activation: Any) -> str:
    return getattr(activation, "__name__", None) or type(activation).__name__
