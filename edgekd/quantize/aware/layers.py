"""The layers of a quantisation-aware network: they compute in float32 what the integer file will compute.

All serialise with the network and load in Keras' safe mode.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from edgekd.quantize.aware import integers
from edgekd.quantize.aware.neighbours import Neighbours, origin

PACKAGE = "edgekd"
BITS = 8
LEARNED, MOVING_AVERAGE, FIXED = "learned", "moving_average", "fixed"
# Layers whose kernel has one scale, and into which batch normalisation is therefore folded before rounding.
ONE_SCALE = (keras.layers.Dense, keras.layers.Conv2DTranspose)
_LEAST_WIDTH = 1e-6  # of a range, else it holds nothing; of a kernel: a scale must be positive
_NO_BIAS = 1e-30  # added to a sum it changes nothing, and in 32-bit integers it is zero


class _Counting(keras.layers.Layer):
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
class FakeQuantize(_Counting):
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
            if isinstance(maker, _InIntegers):
                norm = next((each for each in passed if isinstance(each, FreezingBatchNorm)), None)
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


class _InIntegers(keras.layers.Layer):
    """A layer that in inference computes what the file's integer kernel will compute, to the last step.

    For that it must know the scales of what it takes and gives: its neighbours in the graph. Without them, and while
    ranges are sought or the converter reads the network, it computes in real numbers.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.neighbours = Neighbours()

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the layer; where a graph is built, also looks which layers round what it takes."""
        tensors = keras.tree.flatten(inputs)
        outputs = super().__call__(inputs, *args, **kwargs)
        if all(isinstance(each, keras.KerasTensor) for each in tensors):
            found = [origin(each, through=self._comes_through)[0] for each in tensors]
            self.neighbours.take_from([each if isinstance(each, self._takes()) else None for each in found])
        return outputs

    def _takes(self) -> type:
        """Returns the class of the layers before it that it must know."""
        return FakeQuantize

    def _comes_through(self, operation: Any) -> bool:
        return not isinstance(operation, self._takes())

    def in_integers(self, training: Any) -> bool:
        """Returns whether it computes in integers now."""
        if training or not self.neighbours.complete:
            return False
        norm, quantizers = self.neighbours.norm, (*self.neighbours.inputs, self.neighbours.output)
        if any(each.bypassed or each.exporting for each in quantizers):
            return False
        return norm is None or norm.follows(self)


def _is_computed_along(operation: Any) -> bool:
    """Whether an operation is computed by the integer kernel of the one before it."""
    if isinstance(operation, FreezingBatchNorm):
        return not operation.standalone
    if isinstance(operation, keras.layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, keras.layers.ReLU)


@keras.saving.register_keras_serializable(package=PACKAGE)
class QuantizedKernel(_InIntegers):
    """A convolution or dense layer whose kernel is rounded to int8: symmetric, -127..127.

    Convolutions have one scale for each output channel. Dense layers and transposed convolutions have one for the whole
    kernel: the TFLite converter takes no other for them from a graph.
    """

    def __init__(
        self, layer: keras.layers.Layer, *, input_range: str | None = None, norm: str | None = None, **settings: Any
    ) -> None:
        """Wraps a layer without activation.

        Args:
          layer: a convolution or dense layer.
          input_range: the name of the FakeQuantize whose range its input is in; None where its calls have several.
          norm: the name of the batch normalisation that is folded into it, if there is one.
          **settings: of the layer.
        """
        super().__init__(**settings)
        self.layer = layer
        self.input_range, self.norm = input_range, norm
        self.bypassed = self.exporting = False

    def build(self, input_shape: Any) -> None:
        """Builds the wrapped layer."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.least = _least_weight(self, scales_shape(self.layer))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the wrapped layer gives with the rounded kernel; in inference, normalised and rounded too."""
        if self.bypassed:
            return self.layer(inputs)
        kernel = tf.convert_to_tensor(self.layer.kernel)
        if self.in_integers(training):
            return self._requantised(inputs, kernel)
        outputs = _applied(self.layer, inputs, rounded_kernel(self.layer, kernel, self.least))
        return outputs + tf.fill([outputs.shape[-1]], _NO_BIAS) if self._needs_a_bias() else outputs

    def _requantised(self, inputs: Any, kernel: Any) -> Any:
        """Returns the outputs after batch normalisation, in steps of the layer that rounds them."""
        layer, near = self.layer, self.neighbours
        input_scale = near.inputs[0].step()
        scales = kernel_scales(layer, kernel, self.least)
        steps = rounded_kernel(layer, kernel, self.least) / _along(layer, tf.cast(scales, "float32"), kernel.shape)
        sums = _applied(layer, integers.whole(inputs / input_scale), integers.whole(steps), biased=False)
        factor, shift = (1.0, 0.0) if near.norm is None else factor_and_shift(near.norm.layer)
        return integers.requantised(
            sums,
            input_scale=input_scale,
            kernel_scales=scales,
            output_scale=near.output.step(),
            bias=tf.convert_to_tensor(layer.bias) if layer.use_bias else 0.0,
            factor=factor,
            shift=shift,
        )

    def _needs_a_bias(self) -> bool:
        """Whether the converter must be shown a bias: without one it computes no ReLU along with this layer."""
        if not self.exporting or not isinstance(self.layer, keras.layers.Conv2DTranspose):
            return False
        with tf.init_scope():
            return not self.layer.use_bias or not np.any(keras.ops.convert_to_numpy(self.layer.bias))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the wrapped layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "input_range": self.input_range, "norm": self.norm}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "QuantizedKernel":
        """Makes the layer again."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})


def _applied(layer: Any, inputs: Any, kernel: Any, *, biased: bool = True) -> Any:
    """Returns what a convolution or dense layer gives with another kernel."""
    if isinstance(layer, keras.layers.Conv1D | keras.layers.DepthwiseConv1D):
        return _one_dimensional(layer, inputs, kernel, biased=biased)
    state = [(layer.kernel, kernel)]
    if layer.use_bias and not biased:
        state.append((layer.bias, tf.zeros_like(layer.bias)))
    with keras.StatelessScope(state_mapping=state):
        return layer(inputs)


def _one_dimensional(layer: Any, inputs: Any, kernel: Any, *, biased: bool) -> Any:
    """Computes a convolution over [batch, steps, channels] as one over images of one row, as the file will.

    Args:
      layer: the convolution.
      inputs: [batch, steps, channels].
      kernel: of images of one row: its own with a first axis of 1.
      biased: whether to add the layer's bias.
    """
    padding, strides, dilation = layer.padding.upper(), layer.strides[0], layer.dilation_rate[0]
    if padding == "CAUSAL":
        inputs = tf.pad(inputs, [[0, 0], [dilation * (layer.kernel_size[0] - 1), 0], [0, 0]])
        padding = "VALID"
    image = tf.expand_dims(inputs, 1)
    if isinstance(layer, keras.layers.DepthwiseConv1D):
        outputs = tf.nn.depthwise_conv2d(
            image, kernel, (1, strides, strides, 1), padding, dilations=(dilation, dilation)
        )
    else:
        outputs = tf.nn.conv2d(image, kernel, (1, strides), padding, dilations=(1, dilation))
    if layer.use_bias and biased:
        outputs = outputs + tf.convert_to_tensor(layer.bias)
    return tf.squeeze(outputs, 1)


def scales_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Returns the shape of a built layer's kernel scales: one for each output channel, or () for one in all."""
    shape = layer.kernel.shape
    if isinstance(layer, ONE_SCALE):
        return ()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    return (shape[-2] * shape[-1],) if depthwise else (shape[-1],)


def _least_weight(layer: keras.layers.Layer, shape: tuple[int, ...]) -> Any:
    """Adds the least magnitudes that kernels are taken to have, so that biases beside small ones fit 32 bits."""
    initial = keras.initializers.Constant(_LEAST_WIDTH)
    return layer.add_weight(shape=shape, initializer=initial, trainable=False, name="least")


def rounded_kernel(layer: keras.layers.Layer, kernel: Any, least: Any = _LEAST_WIDTH) -> Any:
    """Returns the layer's kernel rounded to int8, in float32, with the gradient of the kernel itself.

    That of a one-dimensional convolution gets a first axis of 1, as in the file.

    Args:
      layer: whose kernel it is.
      kernel: its value.
      least: magnitudes that the largest weights are taken to have at least: of shape `scales_shape`, or one for all.
    """
    if isinstance(layer, ONE_SCALE):
        largest = tf.maximum(tf.reduce_max(tf.abs(kernel)), tf.convert_to_tensor(least))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, -largest, largest, num_bits=BITS, narrow_range=True)
    if isinstance(layer, keras.layers.Conv1D | keras.layers.DepthwiseConv1D):
        kernel = tf.expand_dims(kernel, 0)
    shape = tuple(kernel.shape)
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        # [..., channels, multiplier]; the converter follows this shape, and no flatter one.
        merged = tf.reshape(kernel, (*shape[:-2], shape[-2] * shape[-1]))
        return tf.reshape(_per_last_axis(merged, least), shape)
    return _per_last_axis(kernel, least)


def kernel_scales(layer: keras.layers.Layer, kernel: Any, least: Any = _LEAST_WIDTH) -> Any:
    """Returns the distance of neighbouring values of a rounded kernel, float64, of shape `scales_shape`.

    Args are those of `rounded_kernel`.
    """
    magnitudes, shape = tf.abs(kernel), scales_shape(layer)
    if shape:
        magnitudes = tf.reshape(magnitudes, (-1, *shape))
    largest = tf.reduce_max(magnitudes, axis=0 if shape else None)
    return _width_of_steps(tf.maximum(largest, tf.convert_to_tensor(least)))


def _width_of_steps(largest: Any) -> Any:
    """Returns the distance of neighbouring values of a kernel from -largest to largest, float64."""
    return tf.cast(largest, "float64") / (2 ** (BITS - 1) - 1)


def _along(layer: Any, scales: Any, shape: Any) -> Any:
    """Returns the scales so that they broadcast to the layer's kernel."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    return tf.reshape(scales, tuple(shape)[-2:]) if depthwise else scales


def _per_last_axis(kernel: Any, least: Any = _LEAST_WIDTH) -> Any:
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    largest = tf.maximum(largest, tf.convert_to_tensor(least))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -largest, largest, num_bits=BITS, narrow_range=True
    )


@keras.saving.register_keras_serializable(package=PACKAGE)
class FreezingBatchNorm(_InIntegers, _Counting):
    """A batch normalisation that, after some training steps, normalises with its moving averages as the file will.

    Where it follows a convolution, the converter folds it into the kernel, which is rounded before: with one scale for
    each output channel that is the same as rounding the folded kernel.
    """

    def __init__(
        self,
        layer: keras.layers.BatchNormalization,
        *,
        standalone: bool = False,
        input_range: str | None = None,
        **settings: Any,
    ) -> None:
        """Wraps a batch normalisation.

        Args:
          layer: the batch normalisation.
          standalone: whether it follows no convolution. It is then written as a depthwise convolution of 1x1, which
            computes with 32 bits inside, instead of a multiplication and an addition.
          input_range: as for QuantizedKernel, where it stands alone.
          **settings: `freeze_after`, and those of a layer.
        """
        super().__init__(**settings)
        self.layer = layer
        self.standalone, self.input_range = standalone, input_range

    def build(self, input_shape: Any) -> None:
        """Builds the wrapped layer."""
        if not self.layer.built:
            self.layer.build(input_shape)
        if self.standalone:
            self.least = _least_weight(self, (input_shape[-1],))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the normalised inputs."""
        if training and self.layer.trainable:
            if self.freeze_after is None:
                return self.layer(inputs, training=True)
            # Both ways, and then one of them: a layer in a branch of its own could not talk to other replicas.
            adapting = self.adapting()
            averages = (self.layer.moving_mean, self.layer.moving_variance)
            before = [tf.convert_to_tensor(each) for each in averages]
            frozen = self.layer(inputs, training=False)
            moving = self.layer(inputs, training=True)
            for average, old in zip(averages, before, strict=True):
                average.assign(tf.where(adapting, tf.convert_to_tensor(average), old))
            return tf.where(adapting, moving, frozen)
        if not self.standalone:
            return inputs if self._done_before(training) else self.layer(inputs, training=False)
        factor, shift = factor_and_shift(self.layer)
        if self.in_integers(training):
            return _affine_in_integers(inputs, factor, shift, self.neighbours, least=self.least)
        return per_channel_affine(inputs, factor, shift, least=self.least)

    def _takes(self) -> type:
        return FakeQuantize if self.standalone else QuantizedKernel

    def follows(self, kernel: Any) -> bool:
        """Returns whether a layer with a kernel is all that it follows."""
        return len(self.neighbours.before) == 1 and self.neighbours.before[0] is kernel

    def _done_before(self, training: Any) -> bool:
        """Whether the layer before it has normalised along already."""
        return any(each.in_integers(training) for each in self.neighbours.before)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        layer = keras.saving.serialize_keras_object(self.layer)
        own = {"layer": layer, "standalone": self.standalone, "input_range": self.input_range}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "FreezingBatchNorm":
        """Makes the layer again."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})


def factor_and_shift(norm: keras.layers.BatchNormalization) -> tuple[Any, Any]:
    """Returns what a batch normalisation multiplies by and adds in inference, [channels] each."""
    factor = ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        factor = factor * norm.gamma
    shift = -norm.moving_mean * factor
    return factor, shift + norm.beta if norm.center else shift


@keras.saving.register_keras_serializable(package=PACKAGE)
class Affine(_InIntegers):
    """Constant factors and shifts, one for each channel or one for all: what rescaling and normalisation come to."""

    def __init__(
        self,
        factor: Any,
        shift: Any,
        *,
        input_range: str | None = None,
        output_range: str | None = None,
        **settings: Any,
    ) -> None:
        """Makes the layer.

        Args:
          factor: a number, or one for each channel.
          shift: likewise.
          input_range: the name of the FakeQuantize whose range its input is in.
          output_range: the name of the one that rounds its output.
          **settings: of the layer.
        """
        super().__init__(dtype="float32", **settings)
        self.factor = np.asarray(factor, np.float32).tolist()
        self.shift = np.asarray(shift, np.float32).tolist()
        self.input_range, self.output_range = input_range, output_range

    def build(self, input_shape: Any) -> None:
        """Makes the factors and shifts, [channels] each."""
        for name, value in (("factors", self.factor), ("shifts", self.shift)):
            full = np.broadcast_to(np.asarray(value, np.float32), (input_shape[-1],))
            initial = keras.initializers.Constant(full.tolist())
            weight = self.add_weight(shape=full.shape, initializer=initial, trainable=False, name=name)
            setattr(self, name, weight)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns inputs · factor + shift."""
        inputs, factor = ops.cast(inputs, "float32"), ops.convert_to_tensor(self.factors)
        if self.in_integers(training):
            return _affine_in_integers(inputs, factor, self.shifts, self.neighbours)
        return per_channel_affine(inputs, factor, self.shifts)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        ranges = {"input_range": self.input_range, "output_range": self.output_range}
        return {**config, "factor": self.factor, "shift": self.shift, **ranges}


def per_channel_affine(inputs: Any, factor: Any, shift: Any, *, least: Any = _LEAST_WIDTH) -> Any:
    """Returns inputs · factor + shift as a depthwise convolution of 1x1, whose int8 form loses nothing of the factors.

    A kernel of one weight per channel, with a scale of its own, is exact in int8, and the shift has 32 bits.

    Args:
      inputs: [batch, ..., channels].
      factor: [channels].
      shift: [channels].
      least: as for `rounded_kernel`.
    """
    shape = ops.shape(inputs)
    image = inputs if len(inputs.shape) == 4 else ops.reshape(inputs, (shape[0], 1, -1, inputs.shape[-1]))
    kernel = tf.reshape(_per_last_axis(tf.reshape(factor, (1, 1, -1)), least), (1, 1, -1, 1))
    outputs = tf.nn.depthwise_conv2d(image, kernel, strides=(1, 1, 1, 1), padding="VALID") + shift
    return outputs if len(inputs.shape) == 4 else ops.reshape(outputs, (shape[0], *inputs.shape[1:]))


def _affine_in_integers(
    inputs: Any, factor: Any, shift: Any, neighbours: Neighbours, *, least: Any = _LEAST_WIDTH
) -> Any:
    """Returns inputs · factor + shift, rounded to steps of the output as the depthwise convolution of 1x1 does it."""
    (before,) = neighbours.inputs
    input_scale = before.step()
    scales = _width_of_steps(tf.maximum(tf.abs(factor), tf.convert_to_tensor(least)))
    rounded = _per_last_axis(tf.reshape(factor, (1, 1, -1)), least)
    steps = tf.reshape(rounded, (-1,)) / tf.cast(scales, "float32")
    return integers.requantised(
        integers.whole(inputs / input_scale) * integers.whole(steps),
        input_scale=input_scale,
        kernel_scales=scales,
        output_scale=neighbours.output.step(),
        bias=0.0,
        shift=shift,
    )


@keras.saving.register_keras_serializable(package=PACKAGE)
class QuantizedMerge(_InIntegers):
    """A sum, difference or product of two arrays, each in steps of its own."""

    def __init__(self, layer: keras.layers.Layer, **settings: Any) -> None:
        """Wraps a layer.

        Args:
          layer: an Add, Subtract or Multiply, of two arrays.
          **settings: of the layer.
        """
        super().__init__(dtype="float32", **settings)
        self.layer = layer

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the wrapped layer gives; in inference, in steps of the layer that rounds it."""
        if not self.in_integers(training):
            return self.layer(inputs)
        near = self.neighbours
        first, second = inputs
        before, after = near.inputs
        scales = {"scales": (before.step(), after.step()), "output_scale": near.output.step()}
        if isinstance(self.layer, keras.layers.Multiply):
            return integers.multiplied(first, second, **scales)
        return integers.added(
            first, second, **scales, sign=-1.0 if isinstance(self.layer, keras.layers.Subtract) else 1.0
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the wrapped layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "QuantizedMerge":
        """Makes the layer again."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})
