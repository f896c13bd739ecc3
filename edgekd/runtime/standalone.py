"""Runs one model in a Python of its own, which has NumPy and a runtime and nothing of edgekd: outputs, never a time.

It is one self-contained file, for Pythons of other machines. It answers questions on its standard input as
`edgekd.child_process.serve` does: a line of JSON, [document, bytes of each array], and then the arrays as `.npy`. The
questions are `describe` (versions), {"path", "num_threads", "xnnpack"} (opens a .tflite or .onnx file; xnnpack null is
the runtime's own choice), `run` with one array for each input, and `reset` (opens the file anew). It reads no clock.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import json
import os
import platform
import sys
from typing import Any

import numpy as np

LITERT = ("ai-edge-litert", "tflite-runtime")  # the packages that run .tflite files, the first that there is
ONNX_RUNTIME = "onnxruntime"


class RefusedError(Exception):
    """What cannot be opened or run, in words for the user."""


def describe() -> dict[str, Any]:
    """Returns what this Python is and what it has; None for a package that it lacks."""
    packages = ("numpy", *LITERT, ONNX_RUNTIME)
    return {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "packages": {package: version_of(package) for package in packages},
    }


def version_of(package: str) -> str | None:
    """Returns an installed package's version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


class LiteRT:
    """A .tflite file in LiteRT or in tflite-runtime, its older name."""

    def __init__(self, question: dict[str, Any]) -> None:
        self._question = question
        package = next((each for each in LITERT if version_of(each)), None)
        if package is None:
            raise RefusedError(f"this Python has neither {' nor '.join(LITERT)}")
        self._runtime = importlib.import_module(f"{package.replace('-', '_')}.interpreter")
        self.runtime = f"{package} {version_of(package)}"
        self.reset()

    def reset(self) -> None:
        """Opens the file anew."""
        asked, kinds = self._question, self._runtime.OpResolverType
        resolver = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if asked["xnnpack"] is False else kinds.AUTO
        self._interpreter = self._runtime.Interpreter(
            model_path=asked["path"], num_threads=asked["num_threads"], experimental_op_resolver_type=resolver
        )
        self._interpreter.allocate_tensors()
        partitions = sum(each["op_name"] == "DELEGATE" for each in self._interpreter._get_ops_details())
        if asked["xnnpack"] and not partitions:
            raise RefusedError("XNNPACK takes none of the file's operators: choose the built-in kernels")
        self.delegate = f"XNNPACK, {partitions} partition{'s'[: partitions > 1]}" if partitions else None

    def described(self) -> dict[str, Any]:
        """Returns the names and types of the inputs and outputs."""
        sides = {"inputs": self._interpreter.get_input_details(), "outputs": self._interpreter.get_output_details()}
        return {side: [[each["name"], np.dtype(each["dtype"]).name] for each in found] for side, found in sides.items()}

    def run(self, arrays: list[Any]) -> list[Any]:
        """Returns the outputs for one batch."""
        details = self._interpreter.get_input_details()
        if any(list(each["shape"]) != list(value.shape) for each, value in zip(details, arrays, strict=True)):
            for each, value in zip(details, arrays, strict=True):
                self._interpreter.resize_tensor_input(each["index"], value.shape)
            self._interpreter.allocate_tensors()
        for each, value in zip(details, arrays, strict=True):
            self._interpreter.set_tensor(each["index"], value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(each["index"]) for each in self._interpreter.get_output_details()]


class OnnxRuntime:
    """An .onnx file in ONNX Runtime on the processor."""

    delegate = None

    def __init__(self, question: dict[str, Any]) -> None:
        if version_of(ONNX_RUNTIME) is None:
            raise RefusedError(f"this Python has no {ONNX_RUNTIME}")
        self._question = question
        self._module = importlib.import_module("onnxruntime")
        self.runtime = f"{ONNX_RUNTIME} {self._module.__version__}"
        self.reset()

    def reset(self) -> None:
        """Opens the file anew."""
        options = self._module.SessionOptions()
        options.intra_op_num_threads = self._question["num_threads"]
        options.inter_op_num_threads = 1
        path, providers = self._question["path"], ["CPUExecutionProvider"]
        self._session = self._module.InferenceSession(path, options, providers=providers)

    def described(self) -> dict[str, Any]:
        """Returns the names of the inputs and outputs; the types are ONNX's own words."""
        sides = {"inputs": self._session.get_inputs(), "outputs": self._session.get_outputs()}
        return {side: [[each.name, None] for each in found] for side, found in sides.items()}

    def run(self, arrays: list[Any]) -> list[Any]:
        """Returns the outputs for one batch."""
        names = [each.name for each in self._session.get_inputs()]
        found: list[Any] = self._session.run(None, dict(zip(names, arrays, strict=True)))
        return found


class Host:
    """Holds the one model."""

    def __init__(self) -> None:
        self._model: Any = None

    def answer(self, question: Any, arrays: list[Any]) -> tuple[Any, list[Any]]:
        """Returns the answer to a question, and arrays."""
        if question == "describe":
            return describe(), []
        if question == "run":
            return None, self._model.run(arrays)
        if question == "reset":
            self._model.reset()
            return None, []
        self._model = (OnnxRuntime if question["path"].lower().endswith(".onnx") else LiteRT)(question)
        return {**self._model.described(), "runtime": self._model.runtime, "delegate": self._model.delegate}, []


def main() -> None:
    """Serves until the other side is gone; what libraries print goes to standard error."""
    questions, answers, host = sys.stdin.buffer, os.fdopen(os.dup(1), "wb"), Host()
    os.dup2(2, 1)
    while (line := questions.readline()).endswith(b"\n"):
        question, sizes = json.loads(line)
        arrays = [np.load(io.BytesIO(questions.read(size)), allow_pickle=False) for size in sizes]
        document: dict[str, Any] = {"error": None, "kind": None, "result": None}
        found: list[Any] = []
        try:
            document["result"], found = host.answer(question, arrays)
        except (RefusedError, RuntimeError, ValueError, ImportError, OSError) as error:  # the runtimes' own kinds
            document["error"], document["kind"] = " ".join(str(error).split()), "ModelError"
        packed = []
        for array in found:
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(array), allow_pickle=False)
            packed.append(buffer.getvalue())
        answers.write(json.dumps([document, [len(each) for each in packed]]).encode() + b"\n" + b"".join(packed))
        answers.flush()


if __name__ == "__main__":
    main()
