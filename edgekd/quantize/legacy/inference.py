"""A tf_keras network as a TensorFlow function, which is what converters take."""

from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgekd.errors import ModelError
from edgekd.quantize.legacy import _copying


def inference_function(model: Any, *, batch: int | None = 1) -> Any:
    """Returns a network in inference mode as a ConcreteFunction without variables.

    The fake quantisation of a network from `quantize_aware` is in it, so that the TFLite converter makes an int8 file
    of the ranges that were learned, without calibration.

    Args:
      model: a `tf_keras.Model` with one input.
      batch: the batch size, or None for one that may vary.

    Raises:
      ModelError: it is no such network, or has a size other than the batch's open.
    """
    _copying.require_network(model)
    if len(model.inputs) != 1:
        raise ModelError(f"model {model.name!r} has {len(model.inputs)} inputs, expected one.")
    image = model.inputs[0]
    if None in image.shape[1:]:
        raise ModelError(f"the input of model {model.name!r} has shape {image.shape}: only the batch may vary.")
    signature = tf.TensorSpec((batch, *image.shape[1:]), image.dtype, name=image.name)
    traced = tf.function(lambda images: model(images, training=False), input_signature=[signature], autograph=False)
    return convert_variables_to_constants_v2(traced.get_concrete_function())
