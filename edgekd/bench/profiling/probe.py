"""Profiles model files in a process of its own: `python -m edgekd.bench.profiling.probe`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import child_process
from edgekd.bench.profiling import _litert, _onnxruntime
from edgekd.child_process import Array

_ENGINES = {".tflite": _litert.profiled, ".onnx": _onnxruntime.profiled}


def answer(question: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Any, Sequence[Array]]:  # noqa: ARG001
    """Returns the runtime's name, the whole time, that without profiling, and the mean time of each operator."""
    path = Path(question["job"]["model"])
    return _ENGINES[path.suffix.lower()](path, question["job"], runs=question["runs"]), ()


if __name__ == "__main__":
    child_process.serve(answer)
