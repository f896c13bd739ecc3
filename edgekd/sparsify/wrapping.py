"""What the layers around other layers share: their state, their file format, and how they put other weights in."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.sparsify.schedule import PolynomialSchedule

PACKAGE = "edgekd"


class Wrapped(keras.layers.Layer):
    """A layer that runs another one with weights changed on the way; it has the other's name.

    It computes its changes in float32 in mixed precision too; the wrapped layer follows its own policy.
    """

    def __init__(self, layer: keras.layers.Layer, **settings: Any) -> None:
        """Wraps a layer.

        Args:
          layer: the layer.
          **settings: of a layer.
        """
        super().__init__(**{"name": layer.name, "dtype": "float32", **settings}, autocast=False)
        self.layer = layer
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any) -> None:
        """Builds the wrapped layer, and this one's own state."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.add_state()

    def add_state(self) -> None:
        """Makes the variables that this layer needs, when the wrapped one has its own."""

    def stripped_weights(self) -> list[np.ndarray[Any, Any]]:
        """Returns the wrapped layer's weights, in its order, as they are when this layer has gone."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the wrapped layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Wrapped":
        """Makes the layer again."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})


class Scheduled(Wrapped):
    """A wrapped layer that knows which training step it is in, by counting its calls in training mode.

    The count is a variable of the network, so that it is in checkpoints and files.
    """

    def __init__(
        self, layer: keras.layers.Layer, *, schedule: Mapping[str, Any], calls_per_step: int = 1, **settings: Any
    ) -> None:
        """Wraps a layer.

        Args:
          layer: the layer.
          schedule: the arguments of a PolynomialSchedule.
          calls_per_step: how often the network calls the layer in one forward pass.
          **settings: of a layer.
        """
        super().__init__(layer, **settings)
        self.schedule = PolynomialSchedule(**schedule)
        self.calls_per_step = calls_per_step

    def add_state(self) -> None:
        """Makes the count of calls."""
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="calls")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        schedule = dataclasses.asdict(self.schedule)
        return {**super().get_config(), "schedule": schedule, "calls_per_step": self.calls_per_step}

    def step(self) -> tuple[Any, Any]:
        """Returns this training step's number, and whether this is the layer's first call in it; counts the call."""
        calls = tf.convert_to_tensor(self.calls)
        self.calls.assign(calls + 1)
        return calls // self.calls_per_step, calls % self.calls_per_step == 0

    def is_change(self, step: Any) -> Any:
        """Returns whether the schedule changes something in a step."""
        since = step - self.schedule.begin_step
        regular = (since % self.schedule.frequency == 0) & (step <= self.schedule.end_step)
        return (since >= 0) & (regular | (step == self.schedule.end_step))

    def is_over(self) -> Any:
        """Returns whether the last change has been made."""
        return tf.convert_to_tensor(self.calls) > self.schedule.end_step * self.calls_per_step

    def removed(self, step: Any, final: float, sizes: Any) -> Any:
        """Returns how many of each `sizes` are removed in a step: the nearest whole number, halves upwards."""
        begin, end, every = self.schedule.begin_step, self.schedule.end_step, self.schedule.frequency
        last_change = tf.cast((step - begin) // every * every, tf.float64)
        left = 1.0 - last_change / max(1, end - begin)
        sparsity = final + (self.schedule.initial - final) * (left * left * left)
        sparsity = tf.where(step >= end, tf.constant(final, tf.float64), sparsity)
        sparsity = tf.where(step < begin, tf.zeros_like(sparsity), sparsity)
        return tf.cast(tf.floor(sparsity * tf.cast(sizes, tf.float64) + 0.5), tf.int32)


@contextlib.contextmanager
def substituted(layer: keras.layers.Layer, values: list[tuple[keras.Variable, Any]]) -> Iterator[None]:
    """Lets a layer see other values of some of its variables; what it assigns to the others, and its losses, stay.

    Args:
      layer: the layer that is called in the block.
      values: pairs of a variable and the tensor that stands in for it.
    """
    replaced = {id(variable) for variable, _ in values}
    others = [variable for variable in layer.variables if id(variable) not in replaced]
    # Keras looks into the innermost scope only, and there may be an outer one: its values go with this one.
    read = [(variable, tf.convert_to_tensor(variable)) for variable in others]
    with keras.StatelessScope(state_mapping=[*values, *read], collect_losses=True) as scope:
        before = dict(scope.state_mapping)
        yield
    for variable in others:
        value = scope.get_current_value(variable)
        if value is not before[id(variable)]:
            variable.assign(value)
    for loss in scope.losses:
        layer.add_loss(loss)
