"""Batch normalisation with TensorFlow's fused kernel, for the time in which a training step is traced.

Keras composes the training forward of its layer from elementwise operations; the fused kernel computes the same in two
passes over the data, and its gradient in two more. That is a third of the step of a small network on a processor.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from edgekd.errors import ModelError

# Older cuDNN refuses less in its batch normalisation.
_LEAST_EPSILON = 1.001e-5
_KERNEL_TYPES = ("float32", "float16", "bfloat16")


@contextlib.contextmanager
def fused_batch_norm(model: keras.Model, *, synchronized: bool = False) -> Iterator[None]:
    """Lets the model's batch-normalisation layers compute their training forward with the fused kernel.

    Trace the training step inside. The layers use their own variables and Keras' semantics: the moving averages take
    the biased variance (the kernel gives the unbiased one), a frozen layer and `training=False` use the moving averages
    and leave them alone. On the way out the model is as it was; what was traced stays.

    Only what the kernel can do is replaced: [batch, height, width, channels] in float32, float16 or bfloat16, without a
    mask. Everything else, such as another axis, `renorm`, `synchronized` layers and subclasses that
    compute something of their own, stays Keras'.

    Args:
      model: any model; its layers are found at any depth, in subclassed models too.
      synchronized: under tf.distribute with several replicas, whether to use the statistics of the global batch, so
        that any number of replicas computes what one would. This holds for inputs of any rank and axis. With one
        replica it changes nothing.

    Raises:
      ModelError: `synchronized` with a layer that cannot be, because of `renorm` or a mask.

    References:
      Ioffe and Szegedy, Batch Normalization, 2015 (arXiv:1502.03167). Chan, Golub and LeVeque, Updating Formulae and a
      Pairwise Algorithm for Computing Sample Variances, 1979, for the variance over replicas.
    """
    layers = [layer for layer in model._flatten_layers() if _computes_as_keras(layer)]
    if synchronized:
        for layer in layers:
            if layer.renorm:
                raise _cannot_synchronize(layer, "its renorm=True")
    layers = [layer for layer in layers if not layer.renorm]
    for layer in layers:
        # Past Layer.__setattr__, which would track the function as part of the layer.
        vars(layer)["call"] = functools.partial(_call, layer, synchronized)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["call"]


def _computes_as_keras(layer: keras.layers.Layer) -> bool:
    plain = keras.layers.BatchNormalization
    return (
        isinstance(layer, plain)
        and type(layer).call is plain.call
        and type(layer)._moments is plain._moments
        and "call" not in vars(layer)
        and not layer.synchronized
    )


def _call(
    layer: keras.layers.BatchNormalization,
    synchronized: bool,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    if not (training and layer.trainable):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    replicas = tf.distribute.get_replica_context()
    if synchronized and replicas is not None and replicas.num_replicas_in_sync > 1:
        if mask is not None:
            raise _cannot_synchronize(layer, "a mask on its input")
        return _over_replicas(layer, inputs, replicas)
    if mask is None and _fits_the_kernel(layer, inputs):
        return _fused(layer, inputs)
    return type(layer).call(layer, inputs, training=training, mask=mask)


def _fits_the_kernel(layer: keras.layers.BatchNormalization, inputs: Any) -> bool:
    return (
        len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and keras.backend.standardize_dtype(inputs.dtype) in _KERNEL_TYPES
        and layer.epsilon >= _LEAST_EPSILON
    )


def _fused(layer: keras.layers.BatchNormalization, inputs: Any) -> Any:
    shape = layer.moving_mean.shape
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=ops.cast(layer.gamma, "float32") if layer.scale else tf.ones(shape),
        offset=ops.cast(layer.beta, "float32") if layer.center else tf.zeros(shape),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
        is_training=True,
    )
    values = tf.cast(tf.size(inputs) // shape[0], "float32")
    _move_averages(layer, mean, variance * ((values - 1.0) / values))
    return ops.cast(outputs, layer.compute_dtype)


def _over_replicas(layer: keras.layers.BatchNormalization, inputs: Any, replicas: tf.distribute.ReplicaContext) -> Any:
    """Normalises with the mean and variance over all replicas' inputs; the gradient goes through them to all."""
    wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    axis = layer.axis % len(wide.shape)
    channels = layer.moving_mean.shape[0]
    mean, variance = tf.nn.moments(wide, axes=[other for other in range(len(wide.shape)) if other != axis])
    count = tf.reshape(tf.cast(tf.size(wide) // channels, wide.dtype), [1])
    # Each replica fills its own row, so one sum brings every replica's statistics to all, without cancellation.
    row = tf.one_hot(replicas.replica_id_in_sync_group, replicas.num_replicas_in_sync, dtype=wide.dtype)
    rows = replicas.all_reduce(tf.distribute.ReduceOp.SUM, row[:, None] * tf.concat([count, mean, variance], 0))
    share = rows[:, :1] / tf.reduce_sum(rows[:, :1])
    means, variances = rows[:, 1 : 1 + channels], rows[:, 1 + channels :]
    mean = tf.reduce_sum(share * means, 0)
    variance = tf.reduce_sum(share * (variances + tf.square(means - mean)), 0)
    _move_averages(layer, mean, variance)
    outputs = ops.batch_normalization(
        wide,
        mean,
        variance,
        axis=layer.axis,
        offset=ops.cast(layer.beta, wide.dtype) if layer.center else None,
        scale=ops.cast(layer.gamma, wide.dtype) if layer.scale else None,
        epsilon=layer.epsilon,
    )
    return ops.cast(outputs, layer.compute_dtype)


def _move_averages(layer: keras.layers.BatchNormalization, mean: Any, variance: Any) -> None:
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(ops.cast(average, value.dtype) * layer.momentum + value * (1.0 - layer.momentum))


def _cannot_synchronize(layer: keras.layers.BatchNormalization, reason: str) -> ModelError:
    return ModelError(
        f"batch normalisation {layer.name!r} cannot take its statistics over several workers, because of {reason}: "
        "remove it, or train in one process."
    )
