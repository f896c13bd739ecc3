"""TensorFlow's TFLite converter, quiet, with errors that people can read. Both formats build on it."""

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert_phase import ConverterError

from edgekd import flatbuffer
from edgekd.errors import MissingOperator, ModelError, NonFiniteError, OperatorError
from edgekd.export import _edge_quantizer, _float_parts, _layers, _outcome
from edgekd.export._tidying import tidied
from edgekd.quantize import Scheme
from edgekd.runtime.native_output import captured_stderr

_ERROR_NEEDS_FLEX_OPS = 1
_ERROR_NEEDS_CUSTOM_OPS = 2
_INTEGER_OPERATORS = {
    8: tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    16: tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}
_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
_TRIES = 8  # of which each goes wrong with a probability of about 0.2


def convert(
    function: Any,
    *,
    scheme: Scheme,
    calibration: np.ndarray[Any, Any] | None,
    input_dtype: str,
    output_dtype: str,
    allow_select_tf_ops: bool,
    allow_float_operators: bool = False,
    layers: Mapping[str, str] | None = None,
) -> bytes:
    """Returns the TFLite flatbuffer of a frozen function; the same function gives the same bytes.

    Args:
      function: from `frozen_function`.
      scheme: how numbers are stored.
      calibration: [samples, ...] float32, for a scheme that needs it.
      input_dtype: float32, or another one of the scheme's.
      output_dtype: likewise.
      allow_select_tf_ops: whether operators that TFLite lacks may become TensorFlow ("Flex") operators.
      allow_float_operators: whether operators without an integer kernel may compute with float32 in a scheme of integer
        arithmetic.
      layers: other schemes for some layers, see `edgekd.export._layers.schemes`.

    Raises:
      RecipeError: a pattern of `layers` that names no layer, or two that contradict each other.
      ModelError: an operator cannot be converted or quantised, or the scheme would quantise nothing.
      NonFiniteError: a weight is beyond float16's range.
    """
    converter = tf.lite.TFLiteConverter([function], None)
    converter.exclude_conversion_metadata = True
    batch = function.inputs[0].shape[0] or 1
    quantised_later = bool(layers) or _edge_quantizer.is_written_by_it(scheme)
    if _holds_ranges(function):
        if not scheme.aware:
            raise ModelError(
                f"the network is fake-quantised to int8, so it cannot become {scheme.name}: export it as int8."
            )
        # A fake-quantised network, see `quantize.aware`: the converter takes the ranges from it.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.as_dtype(input_dtype)
        converter.inference_output_type = tf.as_dtype(output_dtype)
    elif not quantised_later:
        _check_calibratable(function, scheme)
        _apply(converter, scheme, calibration, batch=batch, input_dtype=input_dtype, output_dtype=output_dtype)
    if allow_float_operators:
        converter.target_spec.supported_ops = {*converter.target_spec.supported_ops, tf.lite.OpsSet.TFLITE_BUILTINS}
    if allow_select_tf_ops:
        converter.target_spec.supported_ops = {*converter.target_spec.supported_ops, tf.lite.OpsSet.SELECT_TF_OPS}
    model = _converted(converter, scheme)
    if _holds_ranges(function):
        model = _float_parts.without_marks(model)
    content = flatbuffer.with_signature_names(flatbuffer.pack(_with_signature(model, function)))
    if quantised_later:
        chosen = _layers.schemes(model, layers or {})
        (graph, *_) = model.subgraphs
        needed = any(each.needs_calibration for each in (scheme, *chosen.values()))
        content = _edge_quantizer.quantise(
            content,
            scheme=scheme,
            calibration=_required(calibration, scheme) if needed else None,
            batch=batch,
            input_dtype=input_dtype,
            output_dtype=output_dtype,
            operators={_layers.scope(graph.operators[position], graph): own for position, own in chosen.items()},
        )
        if layers:
            made = flatbuffer.read(content)
            _layers.check(model, made, scheme, chosen, allow_float_operators=allow_float_operators)
            return flatbuffer.pack(tidied(made))
    model = tidied(flatbuffer.read(content))
    _outcome.check(model, scheme, allow_float_operators=allow_float_operators)
    if scheme.weight_bits == 16:
        _check_float16_range(model)
    return flatbuffer.pack(model)


def _converted(converter: Any, scheme: Scheme) -> Any:
    """Returns what the converter makes of the function, as a `ModelT`.

    Its quantiser goes through a graph in the order of memory addresses. Where an operator that takes a tensor apart
    has an output that nobody reads, such as the forget gate of an LSTM's first step, that order decides whether the
    operator gets its range or stays in float. So it is asked again.
    """
    for _ in range(_TRIES if converter.representative_dataset is not None else 1):
        with captured_stderr(), warnings.catch_warnings():
            # The calibrator supplies the statistics that this warning misses.
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs were expected")
            try:
                model = flatbuffer.read(converter.convert())
            except ConverterError as error:
                raise _explained(error, scheme) from error
            except (RuntimeError, ValueError) as error:
                raise _why_not(error, scheme) from error
        if not _outcome.left_in_float_by_chance(model):
            break
    return model


def _holds_ranges(function: Any) -> bool:
    return any(operation.type.startswith("FakeQuant") for operation in function.graph.get_operations())


def _check_calibratable(function: Any, scheme: Scheme) -> None:
    """Raises where the calibrator would end the process: on lists of tensors, in which recurrent layers collect."""
    lists = [each for each in function.graph.get_operations() if each.type == "TensorListReserve"]
    if scheme.arithmetic == "integer" and lists:
        raise OperatorError(
            f"TensorFlow's calibrator cannot look into the loops of {', '.join(each.name for each in lists)}, which "
            f"scheme {scheme.name!r} needs: build recurrent layers with unroll=True, or choose a scheme without "
            "calibration such as dynamic_int8.",
            operators=[MissingOperator("WHILE", each.name, "integer") for each in lists],
        )


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
    if scheme.arithmetic == "integer":
        shown = _required(calibration, scheme)

        def samples() -> Iterator[list[np.ndarray[Any, Any]]]:
            # In the file's own batches, since reshapes may hold its size; the last one is filled up with the first
            # samples, which changes no range.
            for start in range(0, len(shown), batch):
                yield [np.take(shown, range(start, start + batch), axis=0, mode="wrap")]

        converter.representative_dataset = samples
        converter.target_spec.supported_ops = {_INTEGER_OPERATORS[scheme.activation_bits]}
        converter.inference_input_type = tf.as_dtype(input_dtype)
        converter.inference_output_type = tf.as_dtype(output_dtype)


def _required(calibration: np.ndarray[Any, Any] | None, scheme: Scheme) -> np.ndarray[Any, Any]:
    if calibration is None:
        raise ModelError(f"scheme {scheme.name!r} needs calibration samples.")
    return calibration


def _explained(error: ConverterError, scheme: Scheme) -> ModelError:
    flex = _operators(error, _ERROR_NEEDS_FLEX_OPS)
    custom = _operators(error, _ERROR_NEEDS_CUSTOM_OPS)
    missing = [
        *(MissingOperator(name, output, "tflite") for name, output in custom),
        *(MissingOperator(name, output, "flex") for name, output in flex),
    ]
    if custom:
        return OperatorError(
            f"TFLite has no operator for {_listed(custom)}, and TensorFlow's own cannot stand in: "
            "rebuild the model with other layers.",
            operators=missing,
        )
    if flex:
        return OperatorError(
            f"TFLite has no built-in operator for {_listed(flex)}: rebuild the model with other layers, or set "
            "allow_select_tf_ops: true where the device's runtime includes TensorFlow operators.",
            operators=missing,
        )
    return ModelError(f"the TFLite converter failed for scheme {scheme.name!r}: {_essential(str(error))}")


def _why_not(error: Exception, scheme: Scheme) -> ModelError:
    missing = re.search(r"not yet supported for op: '(\w+)'", str(error))
    if missing:
        return OperatorError(
            f"TFLite has no {missing.group(1)} for scheme {scheme.name!r}: rebuild the model without it, "
            "choose another scheme, or set allow_float_operators: true where the device has floating point.",
            operators=[MissingOperator(missing.group(1), "", "integer")],
        )
    return ModelError(f"the TFLite converter failed for scheme {scheme.name!r}: {_essential(str(error))}")


def _operators(error: ConverterError, code: int) -> list[tuple[str, str]]:
    """Returns the refused operators, each with its name in the graph, sorted."""
    found = set()
    for data in error.errors:
        if data.error_code == code:
            where = data.location.call[0].name if data.location.call else ""
            found.add((data.operator.name.removeprefix("tf."), where))
    return sorted(found)


def _listed(operators: list[tuple[str, str]]) -> str:
    return ", ".join(dict.fromkeys(name for name, _ in operators))


def _essential(message: str) -> str:
    """Returns the first compiler error of a converter's message, or else its first line."""
    found = re.search(r"error: (.+)", message)
    return found.group(1).strip() if found else message.strip().partition("\n")[0]


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


def _with_signature(model: Any, function: Any) -> Any:
    """Returns the model with the default signature, by which LiteRT's other languages find tensors by name.

    Names are those of the function's inputs and outputs, in its order. The converter itself calls an integer input or
    output of a fake-quantised network after the operations that it has joined.
    """
    graph = model.subgraphs[0]

    def tensors(indices: Any, named: Any) -> list[Any]:
        found = []
        for index, tensor in zip(indices, named, strict=True):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = tensor.op.name.encode(), index
            found.append(entry)
        return found

    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs = tensors(graph.inputs, function.inputs)
    signature.outputs = tensors(graph.outputs, function.outputs)
    model.signatureDefs = [signature]
    return model
