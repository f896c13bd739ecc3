"""TensorFlow Lite for Microcontrollers (TFLM) on this machine, for `.tflite` files.

TFLM may end the process that it runs in, by a damaged file or by an arena that is too small. So it always runs in a
child, `python -m edgekd.runtime.tflite_micro`.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import child_process, flatbuffer, provenance
from edgekd.errors import ModelError
from edgekd.records import Preprocessing, TensorSpec
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.preprocessing import from_metadata
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = ()  # LiteRT opens .tflite files unless this engine is asked for
OPENS = (".tflite",)
NATIVE_PARSER = False  # a file that crashes TFLM ends only the child
_ARENAS = (1 << 22, 1 << 26, 1 << 29)  # bytes
_STATE_OPERATORS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}


class TFLiteMicroRunner(ClosingRunner):
    """A TFLite model in TFLM's interpreter, with its kernels for hosts. Its batch is always the file's own."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        for arena in _ARENAS:
            self._child = child_process.Child(__name__)
            try:
                question = {"path": str(path.resolve()), "arena": arena}
                opened, _ = self._child.ask(question, path=path, doing="opened in TFLM")
                break
            except ModelError:
                self._child.close()
                if arena == _ARENAS[-1]:
                    raise
        self.inputs = tuple(TensorSpec.model_validate(spec) for spec in opened["inputs"])
        self.outputs = tuple(TensorSpec.model_validate(spec) for spec in opened["outputs"])
        self.preprocessing = tuple(Preprocessing.model_validate(record) for record in opened["preprocessing"])
        self._stateful = bool(opened["stateful"])

    @property
    def stateful(self) -> bool:
        """Whether the graph has variables."""
        return self._stateful

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if not self._child.is_alive:
            raise ModelError(f"{self.name!r} is closed, or crashed its process: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        _, outputs = self._child.ask("run", arrays, path=self._path, doing="run in TFLM")
        return outputs

    def reset(self) -> None:
        if self.stateful:
            self._child.ask("reset", path=self._path, doing="reset in TFLM")

    def close(self) -> None:
        self._child.close()


def open_runner(path: Path, *, num_threads: int = 1) -> TFLiteMicroRunner:
    """Returns a runner for a TFLite file in TFLM; needs the extra `microcontroller`.

    Args:
      path: the file.
      num_threads: only 1: TFLM has no threads.

    Raises:
      ModelError: tflite-micro is not installed, more than one thread is asked for, or TFLM cannot run the file.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise ModelError("tflite-micro is not installed: pip install 'edgekd[microcontroller]'.")
    if num_threads != 1:
        raise ModelError(f"num_threads={num_threads} cannot be set for {path.name!r}: TFLM has no threads.")
    return TFLiteMicroRunner(path)


class _Host:
    """Holds the one model that the child runs."""

    def __init__(self) -> None:
        self._interpreter: Any = None
        self._name = ""
        self._outputs = 0

    def answer(self, question: Any, arrays: tuple[Array, ...]) -> tuple[Any, tuple[Array, ...]]:
        """Opens the file that a question describes; runs or resets it when the question is `run` or `reset`."""
        if question not in ("run", "reset"):
            path = Path(question["path"])
            self._interpreter, described = _opened(path, question["arena"])
            self._name, self._outputs = path.name, len(described["outputs"])
            return described, ()
        with captured_stderr() as said:
            try:
                if question == "reset":
                    self._interpreter.reset()
                    return None, ()
                for index, array in enumerate(arrays):
                    self._interpreter.set_input(array, index)
                self._interpreter.invoke()
                return None, tuple(np.array(self._interpreter.get_output(index)) for index in range(self._outputs))
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"TFLM could not run {self._name!r}: {_last_lines(said(), error)}") from error


def _opened(path: Path, arena: int) -> tuple[Any, dict[str, Any]]:
    from tflite_micro import runtime

    content = path.read_bytes()
    try:
        model = flatbuffer.read(content)
    except ModelError as error:
        raise ModelError(f"{path.name!r}: {error}") from error
    graph = model.subgraphs[0]
    with captured_stderr() as said:
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
            described = [
                [_spec(graph.tensors[index], details(position)).model_dump() for position, index in enumerate(indices)]
                for indices, details in (
                    (graph.inputs, interpreter.get_input_details),
                    (graph.outputs, interpreter.get_output_details),
                )
            ]
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"TFLM cannot run {path.name!r}: {_last_lines(said(), error)}") from error
    inputs, outputs = described
    operators = {flatbuffer.operator_name(code) for code in model.operatorCodes or ()}
    variables = any(tensor.isVariable for each in model.subgraphs for tensor in each.tensors)
    stateful = variables or bool(operators & _STATE_OPERATORS)
    left = from_metadata(flatbuffer.metadata(model).get(provenance.KEY), name=path.name)
    preprocessing = [record.model_dump(mode="json") for record in left]
    return interpreter, {"inputs": inputs, "outputs": outputs, "stateful": stateful, "preprocessing": preprocessing}


def _spec(tensor: Any, detail: Any) -> TensorSpec:
    name, dtype = (tensor.name or b"").decode(errors="replace"), np.dtype(detail["dtype"])
    scales = detail["quantization_parameters"]["scales"]
    zero_points = detail["quantization_parameters"]["zero_points"]
    if dtype.kind not in "iufb":
        raise ModelError(f"tensor {name!r} holds {dtype.name}: only numbers can be run.")
    return TensorSpec(
        name=name,
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=dtype.name,
        scale=float(scales[0]) if len(scales) == 1 else None,
        zero_point=int(zero_points[0]) if len(scales) == 1 else None,
    )


def _last_lines(said: str, error: Exception) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join([*lines[-3:], str(error)])


if __name__ == "__main__":
    child_process.serve(_Host().answer)
