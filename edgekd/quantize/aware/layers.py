"""The layers of a quantisation-aware network: they compute in float32 what the integer file will compute.

All serialise with the network and load in Keras' safe mode.
"""

from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from edgekd.quantize.aware import integers
from edgekd.quantize.aware.kernels import (
    LEAST_WEIGHT,
    along,
    applied,
    kernel_scales,
    per_last_axis,
    rounded_kernel,
    scales_shape,
    width_of_steps,
)
from edgekd.quantize.aware.neighbours import Neighbours, origin
from edgekd.quantize.aware.rounding import PACKAGE, Counting, FakeQuantize

_NO_BIAS = 1e-30  # added to a sum it changes nothing, and in 32-bit integers it is zero


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

    def rounds_as(self) -> FakeQuantize | None:
        """Returns the layer in whose steps the outputs are in inference, None where they are real numbers."""
        if not self.in_integers(training=False) or self.neighbours.norm is not None:
            return None
        output: FakeQuantize = self.neighbours.output
        return output


class _Wrapping(_InIntegers):
    """One that does this for a layer of Keras, its first argument."""

    def __init__(self, layer: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.layer = layer

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the wrapped layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes the layer again."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})


@keras.saving.register_keras_serializable(package=PACKAGE)
class QuantizedKernel(_Wrapping):
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
        super().__init__(layer, **settings)
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
        outputs = applied(self.layer, inputs, rounded_kernel(self.layer, kernel, self.least))
        return outputs + tf.fill([outputs.shape[-1]], _NO_BIAS) if self._needs_a_bias() else outputs

    def _requantised(self, inputs: Any, kernel: Any) -> Any:
        """Returns the outputs after batch normalisation, in steps of the layer that rounds them."""
        layer, near = self.layer, self.neighbours
        input_scale = near.inputs[0].step()
        scales = kernel_scales(layer, kernel, self.least)
        steps = rounded_kernel(layer, kernel, self.least) / along(layer, tf.cast(scales, "float32"), kernel.shape)
        sums = applied(layer, integers.whole(inputs / input_scale), integers.whole(steps), biased=False)
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

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "input_range": self.input_range, "norm": self.norm}


def _least_weight(layer: keras.layers.Layer, shape: tuple[int, ...]) -> Any:
    """Adds the least magnitudes that kernels are taken to have, so that biases beside small ones fit 32 bits."""
    initial = keras.initializers.Constant(LEAST_WEIGHT)
    return layer.add_weight(shape=shape, initializer=initial, trainable=False, name="least")


@keras.saving.register_keras_serializable(package=PACKAGE)
class FreezingBatchNorm(_Wrapping, Counting):
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
        super().__init__(layer, **settings)
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

    @property
    def is_folded(self) -> bool:
        """Whether the kernel before it computes it along."""
        return not self.standalone

    def _takes(self) -> type:
        return FakeQuantize if self.standalone else QuantizedKernel

    def follows(self, kernel: Any) -> bool:
        """Returns whether a layer with a kernel is all that it follows."""
        return len(self.neighbours.before) == 1 and self.neighbours.before[0] is kernel

    def rounds_as(self) -> FakeQuantize | None:
        """Returns the layer in whose steps the outputs are in inference, also where the kernel before rounded them."""
        if self.standalone or not self._done_before(training=False):
            return super().rounds_as()
        (kernel,) = self.neighbours.before
        output: FakeQuantize = kernel.neighbours.output
        return output

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


def per_channel_affine(inputs: Any, factor: Any, shift: Any, *, least: Any = LEAST_WEIGHT) -> Any:
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
    kernel = tf.reshape(per_last_axis(tf.reshape(factor, (1, 1, -1)), least), (1, 1, -1, 1))
    outputs = tf.nn.depthwise_conv2d(image, kernel, strides=(1, 1, 1, 1), padding="VALID") + shift
    return outputs if len(inputs.shape) == 4 else ops.reshape(outputs, (shape[0], *inputs.shape[1:]))


def _affine_in_integers(
    inputs: Any, factor: Any, shift: Any, neighbours: Neighbours, *, least: Any = LEAST_WEIGHT
) -> Any:
    """Returns inputs · factor + shift, rounded to steps of the output as the depthwise convolution of 1x1 does it."""
    (before,) = neighbours.inputs
    input_scale = before.step()
    scales = width_of_steps(tf.maximum(tf.abs(factor), tf.convert_to_tensor(least)))
    rounded = per_last_axis(tf.reshape(factor, (1, 1, -1)), least)
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
class QuantizedMerge(_Wrapping):
    """A sum, difference or product of two arrays, each in steps of its own."""

    def __init__(self, layer: keras.layers.Layer, **settings: Any) -> None:
        """Wraps a layer.

        Args:
          layer: an Add, Subtract or Multiply, of two arrays.
          **settings: of the layer.
        """
        super().__init__(layer, dtype="float32", **settings)

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

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("dtype", None)
        return {**config, "layer": keras.saving.serialize_keras_object(self.layer)}
