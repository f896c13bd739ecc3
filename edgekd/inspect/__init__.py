"""What is inside a model file: operators, tensors, sizes, arithmetic, memory and where it comes from.

A format is a file of this folder that states SUFFIXES (the suffixes it reads) and NATIVE_PARSER (whether a malformed
file may crash it or fill the memory), and defines `inspect(path) -> Inspection`. Nothing is run: files with operators
that no runtime here has can be inspected too. Importing this package imports no format's library.
"""

from pathlib import Path
from typing import cast

from edgekd import child_process, registry, storage
from edgekd.errors import ModelError, unknown_name
from edgekd.inspect.records import Inspection, Memory, OperatorCount, Quantisation, Tensor

__all__ = ["Inspection", "Memory", "OperatorCount", "Quantisation", "Tensor", "inspect_model"]


def inspect_model(path: Path | str, *, check: bool = True) -> Inspection:
    """Returns what a `.tflite`, `.onnx` or `.keras` file holds.

    Args:
      path: the file.
      check: whether a file for a native parser is read in a child process, so that one that crashes the parser raises
        here instead of ending this process.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: the suffix is unknown, or the file is empty or damaged.
    """
    path = Path(path)
    formats = _formats()
    suffix = path.suffix.lower()
    if suffix not in formats:
        raise ModelError(f"{str(path)!r}: {unknown_name('model file suffix', path.suffix, formats)}")
    storage.require_file(path, "model")
    if path.stat().st_size == 0:
        raise ModelError(f"{str(path)!r} is empty: export it again.")
    if check and registry.describe(__name__, formats[suffix], entry=None).constants["NATIVE_PARSER"]:
        return Inspection.model_validate(child_process.require_passes(path, module="edgekd.inspect.probe"))
    return cast(Inspection, registry.load(__name__, formats[suffix]).inspect(path))


def _formats() -> dict[str, str]:
    return {
        suffix: name
        for name in registry.discover(__name__)
        for suffix in registry.describe(__name__, name, entry=None).constants.get("SUFFIXES", ())
    }
