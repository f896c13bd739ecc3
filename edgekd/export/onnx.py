"""ONNX files for ONNX Runtime and the many tools that read the format; images stay in NHWC layout."""

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tf2onnx.convert
import tf2onnx.utils

from edgekd import flatbuffer, quantize
from edgekd.errors import MissingOperator, ModelError, OperatorError, RecipeError
from edgekd.export import _outcome, _reopen
from edgekd.export._graph import frozen_function
from edgekd.export._onnx_order import canonical
from edgekd.export._onnx_rounding import rounded_as_tflite
from edgekd.export._onnx_transposes import without_stray_transposes
from edgekd.export._tflite_converter import convert
from edgekd.export._tidying import with_single_names
from edgekd.runtime import litert
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.onnxruntime import QUANTISATION_KEY

SUFFIX = ".onnx"
_LOWEST_OPSET = 13  # the first with per-channel QuantizeLinear and DequantizeLinear
_HIGHEST_OPSET = 18  # the highest that tf2onnx writes


def export(
    model: Any,
    path: Path,
    calibration: np.ndarray[Any, Any] | None,
    *,
    scheme: str = "float32",
    batch: int | None = 1,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    output_name: str = "logits",
    opset: int = 17,
    allow_float_operators: bool = False,
) -> tuple[str, ...]:
    """Writes the model to `path`, and returns the operators that int8 left in float32.

    `edgekd.export.export_model` is the checked way here.

    float32 goes from the TensorFlow graph to ONNX. int8 goes through the int8 TFLite file, whose integers and scales
    it keeps (QuantizeLinear and DequantizeLinear around float operators): both files then round alike.

    Args:
      model: see `edgekd.export.export_model`; inputs and outputs keep its order.
      path: the file to write.
      calibration: [samples, ...] float32 for a scheme that needs it, else None.
      scheme: a scheme's name or alias.
      batch: the batch size, or None for one that may vary.
      input_dtype: float32, or int8 or uint8 with integer activations.
      output_dtype: likewise.
      output_name: the name of a single output that has none of its own.
      opset: version of the ONNX operator set, 13 to 18.
      allow_float_operators: for int8, as for TFLite.

    Raises:
      RecipeError: the opset is out of range.
      ModelError: an operator cannot be converted or quantised.
    """
    if not _LOWEST_OPSET <= opset <= _HIGHEST_OPSET:
        raise RecipeError(f"opset {opset!r} cannot be written: choose {_LOWEST_OPSET} to {_HIGHEST_OPSET}.")
    chosen = quantize.scheme(scheme)
    function = frozen_function(model, batch=batch, output_name=output_name)
    left_in_float: tuple[str, ...] = ()
    if chosen.weight_bits == 32:
        proto = _from_graph(function, opset=opset)
    else:
        content = convert(
            function,
            scheme=chosen,
            calibration=calibration,
            input_dtype=input_dtype,
            output_dtype=output_dtype,
            allow_select_tf_ops=False,
            allow_float_operators=allow_float_operators,
        )
        proto = _from_tflite(content, opset=opset)
        left_in_float = _outcome.float_operators(flatbuffer.read(content), chosen)
    _name_batch(proto)
    _check(proto)
    proto = without_stray_transposes(proto)
    if chosen.arithmetic == "integer":
        proto = rounded_as_tflite(proto)
    path.write_bytes(canonical(proto).SerializeToString(deterministic=True))
    return left_in_float


def embed(path: Path, key: str, text: str) -> None:
    """Puts a text into the file's `metadata_props`."""
    proto = onnx.load_model(path)
    properties = {entry.key: entry.value for entry in proto.metadata_props} | {key: text}
    onnx.helper.set_model_props(proto, dict(sorted(properties.items())))
    path.write_bytes(proto.SerializeToString(deterministic=True))


def reopen(path: Path, sample: _reopen.Samples) -> _reopen.Specs:
    """Returns the file's input and output specs after ONNX Runtime has run one sample."""
    return _reopen.run_one(path, sample)


def _from_graph(function: Any, *, opset: int) -> onnx.ModelProto:
    inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    with _tf2onnx():
        proto, _ = tf2onnx.convert.from_graph_def(
            function.graph.as_graph_def(),
            name="edgekd",
            input_names=inputs,
            output_names=outputs,
            opset=opset,
            tensors_to_rename={name: name.removesuffix(":0") for name in (*inputs, *outputs)},
        )
    return proto


def _from_tflite(content: bytes, *, opset: int) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "edgekd.tflite"
        # ONNX names an array wherever it is read, so that long names would be much of a small file.
        path.write_bytes(flatbuffer.pack(with_single_names(flatbuffer.read(content))))
        with _tf2onnx():
            proto, _ = tf2onnx.convert.from_tflite(str(path), opset=opset)
        inputs, outputs = litert.read_specs(path)
    scales = {spec.name: [spec.scale, spec.zero_point] for spec in (*inputs, *outputs) if spec.scale is not None}
    if scales:
        onnx.helper.set_model_props(proto, {QUANTISATION_KEY: json.dumps(scales, sort_keys=True)})
    return proto


@contextlib.contextmanager
def _tf2onnx() -> Iterator[None]:
    """Makes tf2onnx quiet and its names reproducible for the block: they carry a counter of the process."""
    counter = tf2onnx.utils.INTERNAL_NAME
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    tf2onnx.utils.INTERNAL_NAME = 1
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with captured_stderr():
            yield
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ModelError(f"tf2onnx could not convert the model: {' '.join(str(error).split())}") from error
    finally:
        tf2onnx.utils.INTERNAL_NAME = counter
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_batch(proto: onnx.ModelProto) -> None:
    """Names the batch dimension that may vary `batch`; tf2onnx calls it unk__ and a number."""
    for value in (*proto.graph.input, *proto.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        if first.HasField("dim_param"):
            first.dim_param = "batch"


def _check(proto: onnx.ModelProto) -> None:
    versions = {each.domain: each.version for each in proto.opset_import}
    unknown = [node for node in proto.graph.node if not onnx.defs.has(node.op_type, versions[node.domain], node.domain)]
    if unknown:
        names = sorted({node.op_type for node in unknown})
        raise OperatorError(
            f"ONNX has no operator for {', '.join(names)}: rebuild the model with other layers, or export TFLite.",
            operators=[MissingOperator(node.op_type, node.name, "onnx") for node in unknown],
        )
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"tf2onnx wrote an invalid model: {' '.join(str(error).split())}") from error
