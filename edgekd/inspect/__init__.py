"""What is inside a model file: operators, tensors, sizes, arithmetic, memory and where it comes from; what changed.

A format is a file of this folder that states SUFFIXES (the suffixes it reads) and NATIVE_PARSER (whether a malformed
file may crash it or fill the memory), and defines `inspect(path) -> Inspection`. Nothing is run: files with operators
that no runtime here has can be inspected too. Importing this package imports no format's library.
"""

import contextlib
from pathlib import Path
from typing import cast

from edgekd import microcontroller, registry, storage
from edgekd.child_process import Child, Limits
from edgekd.errors import ModelError, unknown_name
from edgekd.inspect._contents import Contents
from edgekd.inspect.records import (
    Delegation,
    Inspection,
    Memory,
    Microcontroller,
    Operator,
    OperatorCount,
    Quantisation,
    Signature,
    Subgraph,
    Tensor,
    Variable,
)

__all__ = [
    "Contents",
    "Delegation",
    "Inspection",
    "Memory",
    "Microcontroller",
    "Operator",
    "OperatorCount",
    "Quantisation",
    "Signature",
    "Subgraph",
    "Tensor",
    "Variable",
    "format_of",
    "inspect_model",
    "inspect_with_contents",
]


def inspect_model(
    path: Path | str,
    *,
    check: bool = True,
    delegates: bool = False,
    arena: bool = False,
    limits: Limits | None = None,
) -> Inspection:
    """Returns what a `.tflite`, `.onnx` or `.keras` file holds.

    Args:
      path: the file.
      check: whether a file for a native parser is read in a child process, so that one that crashes the parser raises
        here instead of ending this process.
      delegates: whether LiteRT also prepares a TFLite file, in the child process, to see which operators its delegate
        takes. A file that it cannot prepare is inspected all the same.
      arena: whether TFLM runs a TFLite file, in child processes, to find the smallest tensor arena; it needs the
        package tflite-micro (`pip install edgekd[microcontroller]`).
      limits: of the child process; by default `child_process.default_limits`.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: the suffix is unknown, or the file is empty or damaged; for `arena`, it is no TFLite file, or TFLM is
        missing or cannot run it.
    """
    path = Path(path)
    name = format_of(path)
    if arena and name != "tflite":
        raise ModelError(f"{str(path)!r}: only TFLite files have an arena. Leave it out for {name} files.")
    found = _inspected(path, name, check=check, delegates=delegates, limits=limits)
    if arena and found.microcontroller is not None:
        tflm = found.microcontroller.model_copy(update={"arena_bytes": microcontroller.arena_bytes(path)})
        found = found.model_copy(update={"microcontroller": tflm})
    return found


def format_of(path: Path) -> str:
    """Returns the name of the format that reads a file.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: the suffix is unknown, or the file is empty.
    """
    formats = {
        suffix: name
        for name in registry.discover(__name__)
        for suffix in registry.describe(__name__, name, entry=None).constants.get("SUFFIXES", ())
    }
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise ModelError(f"{str(path)!r}: {unknown_name('model file suffix', path.suffix, formats)}")
    storage.require_file(path, "model")
    if path.stat().st_size == 0:
        raise ModelError(f"{str(path)!r} is empty: export it again.")
    return formats[suffix]


def inspect_with_contents(path: Path) -> tuple[Inspection, Contents]:
    """Returns what a TFLite or ONNX file holds, and what it stores; it is read in this process.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: it is damaged, or of a format whose stored numbers are not read.
    """
    module = registry.load(__name__, format_of(path))
    if not hasattr(module, "inspect_with_contents"):
        raise ModelError(
            f"{str(path)!r}: what a {path.suffix} file stores is not compared: export it to TFLite or ONNX."
        )
    return cast(tuple[Inspection, Contents], module.inspect_with_contents(path))


def _inspected(path: Path, name: str, *, check: bool, delegates: bool, limits: Limits | None) -> Inspection:
    if not check or not registry.describe(__name__, name, entry=None).constants["NATIVE_PARSER"]:
        return cast(Inspection, registry.load(__name__, name).inspect(path))
    with contextlib.closing(Child("edgekd.inspect.probe", limits=limits)) as child:
        question = {"what": "inspection", "path": str(path.resolve())}
        document, _ = child.ask(question, path=path, doing="read")
        found = Inspection.model_validate(document)
        return _with_delegation(found, path, child) if delegates and name == "tflite" else found


def _with_delegation(found: Inspection, path: Path, child: Child) -> Inspection:
    question = {"what": "delegation", "path": str(path.resolve())}
    try:
        document, _ = child.ask(question, path=path, doing="prepared")
        delegation = Delegation.model_validate(document)
    except ModelError as error:  # what it holds is known all the same, and the reason stands in the note
        delegation = Delegation(delegate="XNNPACK", partitions=None, operators=None, note=str(error))
    return found.model_copy(update={"delegation": delegation})
