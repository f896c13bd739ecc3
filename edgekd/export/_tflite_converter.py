"""TensorFlow's TFLite converter, quiet, with errors that people can read. Both formats build on it."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert_phase import ConverterError
from tensorflow.lite.tools import flatbuffer_utils

from edgekd.errors import ModelError, NonFiniteError
from edgekd.quantize import Scheme
from edgekd.runtime.native_output import captured_stderr

_ERROR_NEEDS_FLEX_OPS = 1
_ERROR_NEEDS_CUSTOM_OPS = 2
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


def convert(
    function: Any,
    *,
    scheme: Scheme,
    calibration: np.ndarray[Any, Any] | None,
    input_dtype: str,
    output_dtype: str,
    allow_select_tf_ops: bool,
) -> bytes:
    """Returns the TFLite flatbuffer of a frozen function; the same function gives the same bytes.

    Args:
      function: from `frozen_function`.
      scheme: how numbers are stored.
      calibration: [samples, ...] float32, for a scheme that needs it.
      input_dtype: float32, or int8 or uint8 with integer activations.
      output_dtype: likewise.
      allow_select_tf_ops: whether operators that TFLite lacks may become TensorFlow ("Flex") operators.

    Raises:
      ModelError: an operator cannot be converted or quantised.
      NonFiniteError: a weight is beyond float16's range.
    """
    converter = tf.lite.TFLiteConverter([function], None)
    converter.exclude_conversion_metadata = True
    batch = function.inputs[0].shape[0] or 1
    _apply(converter, scheme, calibration, batch=batch, input_dtype=input_dtype, output_dtype=output_dtype)
    if allow_select_tf_ops:
        converter.target_spec.supported_ops = {*converter.target_spec.supported_ops, tf.lite.OpsSet.SELECT_TF_OPS}
    with captured_stderr(), warnings.catch_warnings():
        # The calibrator supplies the statistics that this warning misses.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
        try:
            content = converter.convert()
        except ConverterError as error:
            raise ModelError(_explained(error, scheme)) from error
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the TFLite converter failed: {_essential(str(error))}") from error
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    if (scheme.weight_bits, scheme.activation_bits) == (8, 32) and not _has_int8_weights(model):
        raise ModelError(
            f"scheme {scheme.name!r} would quantise nothing: no weight of this model has the 1024 elements from which "
            "the converter stores weights as int8. Export it as float32 or int8."
        )
    if scheme.weight_bits == 16:
        _check_float16_range(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(_with_signature(model)))


def _apply(
    converter: Any,
    scheme: Scheme,
    calibration: np.ndarray[Any, Any] | None,
    *,
    batch: int,
    input_dtype: str,
    output_dtype: str,
) -> None:
    converter.target_spec.supported_ops = {tf.lite.OpsSet.TFLITE_BUILTINS}
    if scheme.weight_bits == 32:
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme.weight_bits == 16:
        converter.target_spec.supported_types = [tf.float16]
    if scheme.activation_bits == 8:
        if calibration is None:
            raise ModelError(f"scheme {scheme.name!r} needs calibration samples.")

        def samples() -> Iterator[list[np.ndarray[Any, Any]]]:
            # In the file's own batches, since reshapes may hold its size; the last one is filled up with the first
            # samples, which changes no range.
            for start in range(0, len(calibration), batch):
                yield [np.take(calibration, range(start, start + batch), axis=0, mode="wrap")]

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = {tf.lite.OpsSet.TFLITE_BUILTINS_INT8}
        converter.inference_input_type = tf.as_dtype(input_dtype)
        converter.inference_output_type = tf.as_dtype(output_dtype)


def _explained(error: ConverterError, scheme: Scheme) -> str:
    flex = _operators(error, _ERROR_NEEDS_FLEX_OPS)
    custom = _operators(error, _ERROR_NEEDS_CUSTOM_OPS)
    if custom:
        return (
            f"TFLite has no operator for {', '.join(custom)}, and TensorFlow's own cannot stand in: "
            "rebuild the model with other layers."
        )
    if flex:
        return (
            f"TFLite has no built-in operator for {', '.join(flex)}: rebuild the model with other layers, or set "
            "allow_select_tf_ops: true where the device's runtime includes TensorFlow operators."
        )
    return f"the TFLite converter failed for scheme {scheme.name!r}: {_essential(str(error))}"


def _operators(error: ConverterError, code: int) -> list[str]:
    return sorted({data.operator.name.removeprefix("tf.") for data in error.errors if data.error_code == code})


def _essential(message: str) -> str:
    """Returns the first compiler error of a converter's message, or else its first line."""
    found = re.search(r"error: (.+)", message)
    return found.group(1).strip() if found else message.strip().partition("\n")[0]


def _has_int8_weights(model: Any) -> bool:
    return any(
        tensor.type == schema.TensorType.INT8 and model.buffers[tensor.buffer].data is not None
        for graph in model.subgraphs
        for tensor in graph.tensors
    )


def _check_float16_range(model: Any) -> None:
    """Raises where the converter has saturated weights, which it does without a word."""
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT16 or data is None:
            continue
        largest = float(np.max(np.abs(np.frombuffer(bytes(data), np.float16)), initial=0))
        if not largest < _LARGEST_FLOAT16:
            raise NonFiniteError(
                f"weights of {tensor.name.decode()!r} exceed float16's range of {_LARGEST_FLOAT16:.0f} "
                "(batch normalisation is folded into them): export as float32."
            )


def _with_signature(model: Any) -> Any:
    """Returns the model with the default signature, by which LiteRT's other languages find tensors by name."""
    graph = model.subgraphs[0]

    def tensors(indices: Any) -> list[Any]:
        found = []
        for index in indices:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = graph.tensors[index].name, index
            found.append(entry)
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = tensors(graph.inputs), tensors(graph.outputs)
    model.signatureDefs = [signature]
    return model
