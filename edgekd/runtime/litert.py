"""LiteRT's interpreter, for `.tflite` files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd.errors import ModelError
from edgekd.records import TensorSpec
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = (".tflite",)
NATIVE_PARSER = True  # a malformed file may crash the process: open_runner tries it in a child process first
_FILE_IDENTIFIER = b"TFL3"


class LiteRTRunner(ClosingRunner):
    """A TFLite model on the CPU. Static inputs are allocated once, dynamic ones whenever their shape changes."""

    def __init__(self, interpreter: Interpreter, name: str) -> None:
        self._interpreter = interpreter
        self.name = name
        self.inputs, self.outputs = specs(interpreter, name)
        self._input_indices = [detail["index"] for detail in interpreter.get_input_details()]
        self._output_indices = [detail["index"] for detail in interpreter.get_output_details()]
        self._shapes: list[tuple[int, ...]] = []

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._interpreter is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        try:
            self._allocate([array.shape for array in arrays])
            for index, array in zip(self._input_indices, arrays, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return tuple(self._interpreter.get_tensor(index) for index in self._output_indices)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT could not run {self.name!r}: {one_line(error)}") from error

    def close(self) -> None:
        self._interpreter = None

    def _allocate(self, shapes: list[tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        with captured_stderr():  # the interpreter announces its XNNPACK delegate
            for index, spec, shape in zip(self._input_indices, self.inputs, shapes, strict=True):
                if None in spec.shape:
                    self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
        self._shapes = shapes


def open_runner(path: Path, *, num_threads: int = 1, xnnpack: bool = True) -> LiteRTRunner:
    """Returns a runner for a TFLite file.

    Args:
      path: the file.
      num_threads: threads that the kernels may use.
      xnnpack: whether LiteRT's XNNPACK delegate takes the operators it can (LiteRT's own default), or the built-in
        kernels run everything.

    Raises:
      ModelError: it is not a TFLite model, is damaged, or has operators that LiteRT's Python package lacks.
    """
    interpreter = _interpreter(path, num_threads=num_threads, xnnpack=xnnpack)
    runner = LiteRTRunner(interpreter, path.name)
    try:
        with captured_stderr():
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ModelError(_why_not(path, interpreter, error)) from error
    return runner


def read_specs(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs and outputs that a TFLite file declares, without preparing its operators."""
    return specs(_interpreter(path, num_threads=1, xnnpack=False), path.name)


def select_operators(path: Path) -> tuple[str, ...]:
    """Returns the names of the TensorFlow ("Flex") operators in a TFLite file, sorted."""
    return _select_operators(_interpreter(path, num_threads=1, xnnpack=False))


def specs(interpreter: Interpreter, name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs' and outputs' specs of an interpreter.

    Raises:
      ModelError: the file is damaged, or a tensor is a string or quantised per channel.
    """
    try:
        received, returned = interpreter.get_input_details(), interpreter.get_output_details()
    except ValueError as error:
        raise ModelError(f"{name!r} is damaged: {one_line(error)}") from error
    inputs = tuple(_spec(detail, name) for detail in received)
    outputs = tuple(_spec(detail, name) for detail in returned)
    if not inputs or not outputs:
        raise ModelError(f"{name!r} has {len(inputs)} inputs and {len(outputs)} outputs: nothing can be run.")
    return inputs, outputs


def one_line(error: BaseException) -> str:
    """Returns an engine's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _interpreter(path: Path, *, num_threads: int, xnnpack: bool) -> Interpreter:
    with path.open("rb") as file:
        if file.read(8)[4:] != _FILE_IDENTIFIER:
            raise ModelError(
                f"{str(path)!r} is not a TFLite model (its file identifier {_FILE_IDENTIFIER.decode()!r} is missing): "
                "export it again, or give the right file."
            )
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with captured_stderr():
            return Interpreter(model_path=str(path), num_threads=num_threads, experimental_op_resolver_type=resolver)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is damaged or not a TFLite model: {one_line(error)}") from error


def _select_operators(interpreter: Interpreter) -> tuple[str, ...]:
    names = {operator["op_name"] for operator in interpreter._get_ops_details()}
    return tuple(sorted(name for name in names if name.startswith("Flex")))


def _why_not(path: Path, interpreter: Interpreter, error: BaseException) -> str:
    flex = _select_operators(interpreter)
    if flex:
        return (
            f"{path.name!r} contains TensorFlow operators ({', '.join(flex)}), which no Python runtime of TFLite "
            "includes since TensorFlow 2.20: run it on the device, or export it with built-in operators only."
        )
    return f"LiteRT could not prepare {path.name!r}: {one_line(error)}"


def _spec(detail: dict[str, Any], name: str) -> TensorSpec:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind not in "iufb":
        raise ModelError(f"tensor {detail['name']!r} of {name!r} holds {dtype.name}: only numbers can be run.")
    scales, zero_points = detail["quantization_parameters"]["scales"], detail["quantization_parameters"]["zero_points"]
    if scales.size > 1:
        raise ModelError(f"tensor {detail['name']!r} of {name!r} is an input or output quantised per channel.")
    return TensorSpec(
        name=detail["name"],
        shape=tuple(None if size < 0 else int(size) for size in detail["shape_signature"]),
        dtype=dtype.name,
        scale=float(scales[0]) if scales.size else None,
        zero_point=int(zero_points[0]) if scales.size else None,
    )
