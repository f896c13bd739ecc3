"""Reads a model file and fingerprints its constants in a process of its own: `python -m edgekd.golden.probe`."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import child_process
from edgekd.child_process import Array
from edgekd.golden.records import Constant
from edgekd.inspect import Contents, Inspection, inspect_with_contents

_DIGITS = 16


def answer(question: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Any, Sequence[Array]]:  # noqa: ARG001
    """Returns, as a JSON document, what a file holds and the fingerprints of its constants."""
    found, contents = inspect_with_contents(Path(question["path"]))
    constants = [each.model_dump(mode="json") for each in fingerprints(found, contents)]
    return {"inspection": found.model_dump(mode="json"), "constants": constants}, ()


def fingerprints(found: Inspection, contents: Contents) -> tuple[Constant, ...]:
    """Returns the fingerprint of every constant that an operator reads, in the order of the file."""
    readers: dict[int, str] = {}
    for node in found.nodes:
        for index in node.inputs:
            if index is not None:
                readers.setdefault(index, node.operator)
    return tuple(
        _fingerprint(found, index, stored, readers[index])
        for index, stored in enumerate(contents.tensors)
        if stored is not None and index in readers and found.tensors[index].role == "constant"
    )


def _fingerprint(found: Inspection, index: int, stored: Array, operator: str) -> Constant:
    tensor = found.tensors[index]
    numbers = stored.dtype.kind in "biuf"
    norm = float(np.linalg.norm(stored.astype(np.float64))) if numbers else None
    scales = tensor.quantisation.scales if tensor.quantisation is not None else ()
    zero_points = tensor.quantisation.zero_points if tensor.quantisation is not None else ()
    return Constant(
        name=tensor.name,
        operator=operator,
        dtype=tensor.dtype,
        shape=stored.shape,
        sha256=_digest(stored.tobytes() if numbers else repr(stored.tolist()).encode()),
        norm=norm if norm is not None and np.isfinite(norm) else None,
        scales_sha256=_digest(repr((scales, zero_points)).encode()) if scales else None,
        largest_scale=max(scales) if scales else None,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


if __name__ == "__main__":
    child_process.serve(answer)
