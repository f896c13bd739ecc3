"""LiteRT's interpreter, for `.tflite` files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd import flatbuffer, provenance
from edgekd.errors import ModelError, said, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.preprocessing import from_metadata
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = (".tflite",)
NATIVE_PARSER = True  # a malformed file may crash the process: open_runner tries it in a child process first
VARIANTS = {"litert": {}, "litert_builtin": {"xnnpack": False}}
_FILE_IDENTIFIER = b"TFL3"
_STATE_OPERATORS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class LiteRTRunner(ClosingRunner):
    """A TFLite model on the CPU. Static inputs are allocated once, dynamic ones whenever their shape changes."""

    def __init__(self, make: Callable[[], Interpreter], path: Path, signature: str | None = None) -> None:
        self._make = make
        self._path = path
        self._signature = signature
        self._interpreter: Any = None
        self._runner: Any = None
        self.name = path.name
        self._start()
        self.inputs, self.outputs = (
            specs(self._interpreter, self.name)
            if signature is None
            else _signature_specs(self._interpreter, self._runner, self.name)
        )

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._interpreter is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        try:
            if self._runner is not None:
                with captured_stderr():
                    found = self._runner(**{spec.name: each for spec, each in zip(self.inputs, arrays, strict=True)})
                return tuple(found[spec.name] for spec in self.outputs)
            self._allocate([array.shape for array in arrays])
            for index, array in zip(self._input_indices, arrays, strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            return tuple(self._interpreter.get_tensor(index) for index in self._output_indices)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT could not run {self.name!r}: {one_line(error)}") from error

    @functools.cached_property
    def stateful(self) -> bool:  # read from the file once
        """Whether the graph has variables."""
        model = flatbuffer.read(self._path.read_bytes())
        operators = {flatbuffer.operator_name(code) for code in model.operatorCodes or ()}
        return bool(operators & _STATE_OPERATORS) or any(
            tensor.isVariable for graph in model.subgraphs for tensor in graph.tensors
        )

    def reset(self) -> None:
        # A new interpreter: LiteRT's own reset_all_variables leaves resource variables as they are.
        if self.stateful:
            self._start()
            if self._runner is None:
                with captured_stderr():
                    self._interpreter.allocate_tensors()

    def close(self) -> None:
        self._interpreter = self._runner = None

    def _start(self) -> None:
        self._interpreter = self._make()
        self._shapes: list[tuple[int, ...]] = []
        self._input_indices = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._output_indices = [detail["index"] for detail in self._interpreter.get_output_details()]
        self._runner = None if self._signature is None else _signature_runner(self._interpreter, self._signature)

    def _allocate(self, shapes: list[tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        with captured_stderr():  # the interpreter announces its XNNPACK delegate
            for index, spec, shape in zip(self._input_indices, self.inputs, shapes, strict=True):
                if None in spec.shape:
                    self._interpreter.resize_tensor_input(index, shape)
            self._interpreter.allocate_tensors()
        self._shapes = shapes


def open_runner(
    path: Path,
    *,
    num_threads: int = 1,
    xnnpack: bool = True,
    signature: str | None = None,
    by_signature: bool = False,
) -> LiteRTRunner:
    """Returns a runner for a TFLite file.

    Args:
      path: the file.
      num_threads: threads that the kernels may use.
      xnnpack: whether LiteRT's XNNPACK delegate takes the operators it can (LiteRT's own default), or the built-in
        kernels run everything.
      signature: the signature to run, whose names then are those of the inputs and outputs; the main graph by default.
      by_signature: whether to run the only signature where none is given and there is one.

    Raises:
      ModelError: it is not a TFLite model, is damaged, has no such signature, has several and none is given, or has
        operators that LiteRT's Python package lacks.
    """

    def make() -> Interpreter:
        return _interpreter(path, num_threads=num_threads, xnnpack=xnnpack)

    interpreter = make()
    try:
        with captured_stderr():
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        specs(interpreter, path.name)  # a string among the inputs says more than what it broke
        raise ModelError(_why_not(path, error)) from error
    specs(interpreter, path.name)  # of a damaged graph that LiteRT prepared all the same
    if by_signature and signature is None:
        signature = _only_signature(interpreter, path)
    first = iter([interpreter])
    runner = LiteRTRunner(lambda: next(first, None) or make(), path, signature)
    runner.preprocessing = from_metadata(flatbuffer.metadata_entry(path.read_bytes(), provenance.KEY), name=path.name)
    return runner


def read_specs(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs and outputs that a TFLite file declares, without preparing its operators."""
    return specs(_interpreter(path, num_threads=1, xnnpack=False), path.name)


def select_operators(path: Path) -> tuple[str, ...]:
    """Returns the names of the TensorFlow ("Flex") operators in a TFLite file, sorted."""
    # From the file, since LiteRT's interpreter describes operators with their tensors, and stumbles over a name that is
    # no text or a type that NumPy lacks.
    codes = flatbuffer.read(path.read_bytes()).operatorCodes or ()
    return tuple(sorted({name for name in map(flatbuffer.operator_name, codes) if name.startswith("Flex")}))


def specs(interpreter: Interpreter, name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns the inputs' and outputs' specs of an interpreter.

    Raises:
      ModelError: the file is damaged, or a tensor is a string or quantised per channel.
    """
    try:
        received, returned = interpreter.get_input_details(), interpreter.get_output_details()
    except ValueError as error:
        raise ModelError(f"{name!r} is damaged{said(error)}: copy, download or export it again.") from error
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
        raise ModelError(
            f"{str(path)!r} is damaged or not a TFLite model that LiteRT can run{said(error)}: copy, download or "
            "export it again."
        ) from error


def _why_not(path: Path, error: BaseException) -> str:
    try:
        flex = select_operators(path)
    except ModelError:  # LiteRT has read what the schema's own reader cannot
        flex = ()
    if flex:
        return (
            f"{path.name!r} contains TensorFlow operators ({', '.join(flex)}), which no Python runtime of TFLite "
            "includes since TensorFlow 2.20: run it on the device, or export it with built-in operators only."
        )
    return f"LiteRT could not prepare {path.name!r}: {one_line(error)}"


def _only_signature(interpreter: Interpreter, path: Path) -> str | None:
    known = sorted(interpreter.get_signature_list())
    if len(known) > 1:
        raise ModelError(f"{str(path)!r} has {len(known)} signatures: choose one of {', '.join(known)}.")
    return known[0] if known else None


def _signature_runner(interpreter: Interpreter, signature: str) -> Any:
    known = interpreter.get_signature_list()
    if signature not in known:
        raise ModelError(unknown_name("signature", signature, known))
    with captured_stderr():
        return interpreter.get_signature_runner(signature)


def _signature_specs(
    interpreter: Interpreter, runner: Any, name: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Returns a signature's inputs and outputs, in the order of the main graph where they are its own."""
    found = []
    for details, main in (
        (runner.get_input_details(), interpreter.get_input_details()),
        (runner.get_output_details(), interpreter.get_output_details()),
    ):
        order = {(detail["name"], detail["index"]): position for position, detail in enumerate(main)}
        names = list(details)
        if all((details[each]["name"], details[each]["index"]) in order for each in names):
            names.sort(key=lambda each: order[details[each]["name"], details[each]["index"]])
        found.append(tuple(_spec({**details[each], "name": each}, name) for each in names))
    inputs, outputs = found
    return inputs, outputs


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
