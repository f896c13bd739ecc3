"""One shard: a .npy file that carries the SHA-256 of its bytes in its name, so that one rename makes both whole."""

import functools
import hashlib
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgekd import storage
from edgekd.distill.cache import vanishing
from edgekd.errors import StorageError

_NAME = re.compile(r"rows-(\d{5,})-([0-9a-f]{64})\.npy")
_CHUNK_BYTES = 1 << 20

Signature = tuple[int, int, int]


class DamagedShardError(StorageError):
    """Stored rows that are not what was written; `paths` are the files."""

    def __init__(self, message: str, paths: Iterable[Path]) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


def write(folder: Path, index: int, rows: np.ndarray) -> Path:
    """Writes a shard atomically and returns its file.

    Args:
      folder: the entry's folder.
      index: the shard's number.
      rows: [rows, ...] contiguous, in the dtype that is stored.
    """
    header = _header_of(rows.shape, rows.dtype)
    content = rows.data.cast("B")
    digest = hashlib.sha256(header)
    digest.update(content)
    path = folder / f"rows-{index:05d}-{digest.hexdigest()}.npy"
    with storage.atomic_open(path) as file:
        file.write(header)
        file.write(content)
    return path


def is_shard(path: Path) -> bool:
    """Returns whether a file is named as a shard is."""
    return _NAME.fullmatch(path.name) is not None


def find(folder: Path) -> dict[int, Path]:
    """Returns the files of an entry's shards by their numbers; none where the folder is missing."""
    found: dict[int, Path] = {}
    # Two processes may have written one shard with other last bits; both are right, and all take the same one.
    for path in reversed(vanishing.children(folder)):
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = path
    return found


def signature(path: Path) -> Signature:
    """Returns what tells whether a file is still the one that was checked."""
    stat = path.stat()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def problem(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Returns what is wrong with a shard, after reading all of it, or None.

    Args:
      path: its file.
      shape: [rows, ...] that it must hold.
      dtype: that it must hold.
    """
    try:
        with path.open("rb") as file:
            header = _header(file, shape, dtype)
            if isinstance(header, str):
                return header
            digest = hashlib.sha256(header)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return _mismatch(path, digest.hexdigest())


def size_problem(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Returns what is wrong with the size of a shard's file, or None; see `problem`."""
    expected = len(_header_of(shape, dtype)) + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    status = vanishing.status(path)
    if status is None:
        return "it is not there any more"
    return None if status.st_size == expected else f"it has {status.st_size:,} bytes, not {expected:,}"


def read_into(path: Path, rows: np.ndarray) -> str | None:
    """Reads a whole shard into an array and returns what is wrong with it, or None.

    Args:
      path: its file.
      rows: [rows, ...] contiguous, in the dtype that is stored; filled.
    """
    try:
        with path.open("rb") as file:
            header = _header(file, rows.shape, rows.dtype)
            if isinstance(header, str):
                return header
            content = rows.data.cast("B")
            if file.readinto(content) != len(content):
                return "it became shorter while it was read"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    digest = hashlib.sha256(header)
    digest.update(content)
    return _mismatch(path, digest.hexdigest())


def offset_of(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Returns where in its file the first row of a shard begins.

    Raises:
      DamagedShardError: it is not such a shard.
    """
    with path.open("rb") as file:
        header = _header(file, shape, dtype)
    if isinstance(header, str):
        raise damaged({path: header})
    return len(header)


def damaged(problems: dict[Path, str]) -> DamagedShardError:
    """Returns the error for damaged shards."""
    path, reason = next(iter(problems.items()))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return DamagedShardError(
        f"{str(path)!r} of the teacher cache is damaged: {reason}{more}. Run the training again with its teacher, "
        "which makes it anew, or remove it with `edgekd cache prune --damaged`.",
        problems,
    )


@functools.lru_cache(maxsize=64)
def _header_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes | str:
    """Returns the bytes before the first row, or what is wrong with the file."""
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            return f"it is a .npy file of version {version}, not (1, 0)"
        received, fortran, received_dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return "it is not a .npy file"
    if received != shape or received_dtype != dtype or fortran:
        return f"it holds {received_dtype} {list(received)}, not {dtype} {list(shape)}"
    length = file.tell()
    expected = length + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    size = os.fstat(file.fileno()).st_size
    if size != expected:
        return f"it has {size:,} bytes, not {expected:,}"
    file.seek(0)
    return file.read(length)


def _mismatch(path: Path, received: str) -> str | None:
    match = _NAME.fullmatch(path.name)
    return None if match and match[2] == received else f"its SHA-256 is {received[:12]}…, not the one in its name"
