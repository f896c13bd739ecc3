"""Layers that round activations to int8, and the mark for what stays in float.

They serialise with the network and load in Keras' safe mode.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from edgekd.quantize.aware.neighbours import origin

PACKAGE = "edgekd"
BITS = 8
LEARNED, MOVING_AVERAGE, FIXED = "learned", "moving_average", "fixed"
_LEAST_WIDTH = 1e-6  # below it a range holds nothing


class Counting(keras.layers.Layer):
    """A layer that knows how many training steps it has seen, and stops adapting after some."""

    def __init__(self, *, freeze_after: int | None = None, **settings: Any) -> None:
        super().__init__(dtype="float32", autocast=False, **settings)
        self.freeze_after = freeze_after
        self.steps = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="steps")

    def adapting(self) -> Any:
        """Returns whether this training step still adapts, as a tensor of bool, and counts the step."""
        steps = tf.convert_to_tensor(self.steps)
        self.steps.assign(steps + 1)
        return tf.constant(True) if self.freeze_after is None else steps < self.freeze_after

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "freeze_after": self.freeze_after}


@keras.saving.register_keras_serializable(package=PACKAGE)
class FakeQuantize(Counting):
    """Rounds an activation to the 256 values that int8 with one scale and zero point can hold.

    The gradient passes through the rounding (straight-through) and not through the clipping.

    Attributes:
      minimum, maximum: the range before it is nudged so that zero is one of the values.

    References:
      Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2017
      (arXiv:1712.05877), for moving averages. Esser et al., Learned Step Size Quantization, 2019 (arXiv:1902.08153),
      and Bhalgat et al., LSQ+, 2020 (arXiv:2004.09576), for learned ranges.
    """

    def __init__(
        self,
        *,
        ranges: str = MOVING_AVERAGE,
        fixed: tuple[float, float] | None = None,
        momentum: float = 0.99,
        freeze_after: int | None = None,
        **settings: Any,
    ) -> None:
        """Makes the layer.

        Args:
          ranges: `moving_average` follows the batches' least and largest value; `learned` trains scale and offset.
          fixed: a range that never changes, such as a sigmoid's; then `ranges` says nothing.
          momentum: of the moving average: the share of the old value.
          freeze_after: training steps after which a moving average stays.
          **settings: of the layer.
        """
        super().__init__(freeze_after=freeze_after, **settings)
        self.ranges = FIXED if fixed is not None else ranges
        self.fixed = None if fixed is None else (float(fixed[0]), float(fixed[1]))
        self.momentum = momentum
        self.bypassed = self.exporting = False
        low, high = self.fixed or (-1.0, 1.0)
        learned = self.ranges == LEARNED

        def weight(name: str, value: float) -> Any:
            initial = keras.initializers.Constant(value)
            return self.add_weight(shape=(), initializer=initial, trainable=learned, name=name)

        self.minimum, self.maximum = weight("minimum", low), weight("maximum", high)

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the layer; where a graph is built, also tells the layer whose results it rounds that it does."""
        outputs = super().__call__(inputs, *args, **kwargs)
        if isinstance(inputs, keras.KerasTensor):
            maker, passed = origin(inputs, through=_is_computed_along)
            if hasattr(maker, "neighbours"):
                norm = next((each for each in passed if hasattr(each, "neighbours")), None)
                maker.neighbours.give_to(self, norm)
        return outputs

    def call(
        self,
        inputs: Any,
        training: bool | None = None,
        observe: str = "follow",
        mean: bool = False,
        between: bool = False,
    ) -> Any:
        """Returns the rounded inputs.

        Args:
          inputs: of any shape.
          training: whether the range adapts.
          observe: how a moving average adapts to these inputs: `follow`; `widen` only, where other arrays share the
            range; or `ignore`.
          mean: whether to round as average pooling does: in int8, halves away from zero. Means of a few whole steps
            often end on a half.
          between: whether to round as bilinear resizing does: halves up, as XNNPACK's kernel.
        """
        if self.bypassed:  # a known range also does the clipping of its activation
            return inputs if self.fixed is None else ops.clip(inputs, *self.fixed)
        x = ops.cast(inputs, "float32")
        if training and self.ranges == LEARNED:
            return _learned(x, tf.convert_to_tensor(self.minimum), tf.convert_to_tensor(self.maximum))
        if training and observe != "ignore" and self.ranges == MOVING_AVERAGE:
            adapting = self.adapting()
            least, largest = _of_all_replicas(tf.reduce_min(x), tf.reduce_max(x))
            bounds = ((self.minimum, least, tf.minimum), (self.maximum, largest, tf.maximum))
            for bound, found, wider in bounds:
                old = tf.convert_to_tensor(bound)
                new = old * self.momentum + found * (1.0 - self.momentum)
                bound.assign(tf.where(adapting, wider(new, old) if observe == "widen" else new, old))
        low, high = including_zero(tf.convert_to_tensor(self.minimum), tf.convert_to_tensor(self.maximum))
        rounded = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=BITS)
        if (mean or between) and not training and not self.exporting:  # the converter knows the other rounding only
            scale = (high - low) / (2**BITS - 1)
            zero_point = tf.round(-low / scale) - 2.0 ** (BITS - 1)
            steps = (
                tf.round((x / scale + zero_point) * 1024) / 1024
            )  # halves are halves again, whatever float made them
            steps = tf.sign(steps) * tf.floor(tf.abs(steps) + 0.5) if mean else tf.floor(steps + 0.5)
            rounded = (tf.clip_by_value(steps, -(2.0 ** (BITS - 1)), 2.0 ** (BITS - 1) - 1) - zero_point) * scale
        return rounded

    def set_range(self, low: float, high: float) -> None:
        """Sets the range that training starts from; a fixed one stays."""
        if self.fixed is None:
            self.minimum.assign(low)
            self.maximum.assign(high)

    def step(self) -> Any:
        """Returns the distance of neighbouring values as the file holds it: a scalar tensor of float32."""
        low, high = including_zero(tf.convert_to_tensor(self.minimum), tf.convert_to_tensor(self.maximum))
        width = tf.cast(high, "float64") - tf.cast(low, "float64")
        return tf.cast(width / (2**BITS - 1), "float32")

    def scale(self) -> float:
        """Returns the distance of neighbouring values."""
        low, high = including_zero(float(self.minimum), float(self.maximum))
        return (float(high) - float(low)) / (2**BITS - 1)

    def integers(self, values: Any) -> Any:
        """Returns which of the 256 values, from 0, numbers are rounded to: an int64 array."""
        scale, zero = self.scale(), self._zero()
        return np.clip(np.rint(np.asarray(values, np.float64) / scale) + zero, 0, 2**BITS - 1).astype(np.int64)

    def real(self, integers: Any) -> Any:
        """Returns what the 256 values, from 0, stand for: a float64 array."""
        return (np.asarray(integers, np.float64) - self._zero()) * self.scale()

    def _zero(self) -> float:
        low, _ = including_zero(float(self.minimum), float(self.maximum))
        return float(np.rint(-float(low) / self.scale()))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "ranges": self.ranges, "fixed": self.fixed, "momentum": self.momentum}


def _is_computed_along(operation: Any) -> bool:
    """Whether an operation is computed by the integer kernel of the one before it."""
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, keras.layers.ReLU) or getattr(operation, "is_folded", False)


def _of_all_replicas(least: Any, largest: Any) -> tuple[Any, Any]:
    """Returns the extremes of the whole batch, of which this replica has seen a share."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return least, largest
    own = tf.stop_gradient(tf.stack([-least, largest]))
    # Replicas can exchange sums only: each has a row of its own, which is zero in the others.
    row = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=own.dtype)
    rows = context.all_reduce(tf.distribute.ReduceOp.SUM, row[:, None] * own)
    extremes = tf.reduce_max(rows, axis=0)
    return -extremes[0], extremes[1]


def _size_of_batch(x: Any) -> Any:
    """Returns the number of elements over all replicas."""
    context = tf.distribute.get_replica_context()
    return tf.size(x) * (1 if context is None else context.num_replicas_in_sync)


def including_zero(low: Any, high: Any) -> tuple[Any, Any]:
    """Returns the range widened to hold zero, which padding needs, and to have a width.

    Where all values are zero, as behind a ReLU that never lets anything pass, it ends at 1: kernels refuse steps far
    smaller than those of their inputs.
    """
    low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
    return low, tf.where(high - low < _LEAST_WIDTH, low + 1.0, high)


def _learned(x: Any, minimum: Any, maximum: Any) -> Any:
    """Rounds with gradients to the range that count what rounding does too (LSQ), scaled to the size of the array."""
    low, high = including_zero(minimum, maximum)
    levels = 2**BITS - 1
    share = 1.0 / tf.sqrt(tf.cast(_size_of_batch(x), "float32") * levels)
    low, high = _scaled_gradient(low, share), _scaled_gradient(high, share)
    scale = (high - low) / levels
    zero_point = _straight_through(tf.clip_by_value(-low / scale, 0.0, float(levels)))
    steps = tf.clip_by_value(x / scale + zero_point, 0.0, float(levels))
    return (_straight_through(steps) - zero_point) * scale


def _straight_through(x: Any) -> Any:
    return x + tf.stop_gradient(tf.floor(x + 0.5) - x)


def _scaled_gradient(x: Any, factor: Any) -> Any:
    return x * factor + tf.stop_gradient(x - x * factor)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FloatBoundary(keras.layers.Layer):
    """Passes its input on. For the converter it marks where arithmetic that is to stay in float begins and ends.

    The mark is a cast to float64 and back, which `export` takes out of the file again.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(dtype="float32", **settings)
        self.exporting = False

    def call(self, inputs: Any) -> Any:
        """Returns the inputs."""
        return tf.cast(tf.cast(inputs, "float64"), "float32") if self.exporting else inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        return config
