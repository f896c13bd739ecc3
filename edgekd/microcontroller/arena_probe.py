"""Runs a TFLite file in TFLM, in a process of its own: `python -m edgekd.microcontroller.arena_probe FILE`.

In an arena that is too small TFLM may end its process, so each size is tried in a process of its own.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import child_process, flatbuffer
from edgekd.errors import ModelError
from edgekd.runtime.native_output import captured_stderr

_GRANULARITY = 16  # TFLM aligns its buffers to 16 bytes
_START, _LARGEST = 1 << 16, 1 << 30


def sufficient(path: Path) -> int:
    """Returns the size of an arena in which TFLM runs a TFLite file, far from the smallest.

    Raises:
      ModelError: it runs in none.
    """
    content = path.read_bytes()
    size = max(_START, 1 << (len(content) - 1).bit_length())
    while not _runs(content, size):
        if size >= _LARGEST:
            raise ModelError(f"TFLM cannot run {path.name!r}: {_problem(content, size)}")
        size = min(_LARGEST, size * 8)
    return size


def _measured(path: Path) -> int:
    content = path.read_bytes()
    high = sufficient(path)
    low = 0  # too small
    while high - low > _GRANULARITY:
        middle = (low + high) // 2 // _GRANULARITY * _GRANULARITY
        if _runs(content, middle):
            high = middle
        else:
            low = middle
    return high


def _runs(content: bytes, size: int) -> bool:
    """Returns whether the model runs in an arena of that size; a crash says that it does not."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if _problem(content, size) is None else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _problem(content: bytes, size: int) -> str | None:
    """Returns why TFLM cannot run the model once in an arena of that size, or None where it can."""
    from tflite_micro import runtime

    with captured_stderr() as said:
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=size)
            for index, spec in enumerate(_inputs(content)):
                interpreter.set_input(np.zeros(*spec), index)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            lines = [line.strip() for line in said().splitlines() if line.strip()]
            return " ".join([str(error), *lines[-3:]])
    return None


def _inputs(content: bytes) -> list[tuple[Any, Any]]:
    graph = flatbuffer.read(content).subgraphs[0]
    tensors = [graph.tensors[index] for index in graph.inputs]
    return [(tuple(tensor.shape), flatbuffer.type_name(tensor.type)) for tensor in tensors]


if __name__ == "__main__":
    child_process.answer(_measured, Path(sys.argv[1]))
