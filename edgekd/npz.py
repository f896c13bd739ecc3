"""Reads NumPy's archives so that a damaged one is an error of one kind, whatever NumPy makes of it."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

# What numpy and zipfile raise of damaged files. Headers of arrays are read as Python's literals: a cut or a foreign one
# ends in whatever the parser, or numpy with a size beyond all bounds, makes of it.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
    *(SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError),
)


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Returns all arrays of a `.npz` file by name.

    Raises:
      ValueError: it is none, it is damaged, or something in it is no array.
    """
    try:
        if not zipfile.is_zipfile(path):  # np.load would take a single array, too
            raise ValueError("it is no complete .npz")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = dict(found)
    except _UNREADABLE as error:
        raise ValueError(f"it is damaged: {error}") from error
    foreign = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} is no array")  # numpy returns the bytes of what does not begin as one
    return arrays
