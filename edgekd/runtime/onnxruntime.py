"""ONNX Runtime on the CPU, for `.onnx` files."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from edgekd import provenance
from edgekd.errors import ModelError, said
from edgekd.records import TensorSpec
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.preprocessing import from_metadata
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = (".onnx",)
NATIVE_PARSER = True  # a malformed file may crash the process: open_runner tries it in a child process first
VARIANTS = {"onnxruntime": {}, "onnxruntime_unoptimised": {"optimise": False}}
QUANTISATION_KEY = "edgekd.quantisation"
"""Key of the file's metadata under which edgekd keeps the scale and zero point of integer inputs and outputs, which
ONNX has no field for: a JSON object {tensor name: [scale, zero_point]}."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
_ERRORS = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)


class OnnxRuntimeRunner(ClosingRunner):
    """An ONNX model in an inference session."""

    def __init__(self, session: onnxruntime.InferenceSession, name: str) -> None:
        self._session = session
        self.name = name
        quantisation = _quantisation(session, name)
        properties = session.get_modelmeta().custom_metadata_map
        self.preprocessing = from_metadata(properties.get(provenance.KEY), name=name)
        self.inputs = tuple(_spec(value, quantisation, name) for value in session.get_inputs())
        self.outputs = tuple(_spec(value, quantisation, name) for value in session.get_outputs())
        if not self.inputs or not self.outputs:
            raise ModelError(
                f"{name!r} has {len(self.inputs)} inputs and {len(self.outputs)} outputs: nothing can be run."
            )

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._session is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        feeds = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        try:
            return tuple(self._session.run([spec.name for spec in self.outputs], feeds))
        except _ERRORS as error:
            raise ModelError(f"ONNX Runtime could not run {self.name!r}: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        self._session = None


def open_runner(path: Path, *, num_threads: int = 1, optimise: bool = True) -> OnnxRuntimeRunner:
    """Returns a runner for an ONNX file.

    Args:
      path: the file.
      num_threads: threads within an operator; operators run one after another.
      optimise: whether ONNX Runtime rewrites the graph first (its own default), such as fusing QDQ operators into
        integer kernels, or runs every operator as it stands in the file.

    Raises:
      ModelError: it is not an ONNX model, is damaged, or has operators that ONNX Runtime lacks.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        with captured_stderr():
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return OnnxRuntimeRunner(session, path.name)  # may find names that are no text
    except _ERRORS as error:
        raise ModelError(
            f"{str(path)!r} is damaged or not an ONNX model that ONNX Runtime can run{said(error)}: copy, download or "
            "export it again."
        ) from error


def _quantisation(session: onnxruntime.InferenceSession, name: str) -> dict[str, tuple[float, int]]:
    text = session.get_modelmeta().custom_metadata_map.get(QUANTISATION_KEY, "{}")
    try:
        found = {tensor: (float(scale), int(zero_point)) for tensor, (scale, zero_point) in json.loads(text).items()}
        if not all(math.isfinite(scale) and scale > 0 for scale, _ in found.values()):
            raise ValueError("a scale is not positive and finite")
        return found
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"{name!r} has damaged {QUANTISATION_KEY!r} metadata {text!r}: export it again.") from error


def _spec(value: Any, quantisation: Mapping[str, tuple[float, int]], name: str) -> TensorSpec:
    if value.type not in _DTYPES:
        raise ModelError(f"tensor {value.name!r} of {name!r} is a {value.type}: only tensors of numbers can be run.")
    scale, zero_point = quantisation.get(value.name, (None, None))
    return TensorSpec(
        name=value.name,
        shape=tuple(size if isinstance(size, int) else None for size in value.shape),
        dtype=_DTYPES[value.type],
        scale=scale,
        zero_point=zero_point,
    )
