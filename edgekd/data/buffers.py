"""Arrays for decoded images: in memory while they are small, in an unlinked temporary file when they are not.

The file has no name, so it disappears with the last reference to its array, also when the process is killed.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psutil

from edgekd.data.joined import Joined
from edgekd.errors import DataError

IN_MEMORY_BYTES = 1 << 30
_COPY_BYTES = 16 << 20
_SPARE_BYTES = 64 << 20


def collect(chunks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype, *, what: str) -> np.ndarray:
    """Returns the chunks as one array of `shape`, holding no more than one chunk in memory when it is large.

    Up to `IN_MEMORY_BYTES` (1 GiB) the array is an ordinary one. A larger one is written to an unlinked file in the
    folder for temporary files (TMPDIR) and returned as a read-only memory map of it.

    Args:
      chunks: arrays [k, ...] whose first axes add up to shape[0].
      shape: [n, ...] of the whole.
      dtype: of the chunks and of the whole.
      what: what the array holds, for the message.

    Raises:
      DataError: the disk has no room for it.
      ValueError: the chunks do not fill the shape.
    """
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= IN_MEMORY_BYTES:
        return _filled(np.empty(shape, dtype), chunks)
    with tempfile.TemporaryFile(prefix="edgekd-") as file:
        _reserve(file.fileno(), size, what)
        written = 0
        for chunk in chunks:
            # Plain writes rather than stores through the map: those would count as this process's memory.
            written += file.write(np.ascontiguousarray(chunk, dtype).data)
        file.flush()
        if written != size:
            raise ValueError(f"{what}: {written} bytes came where {size} were announced")
        return np.memmap(file, dtype=dtype, mode="r", shape=shape)


def take(array: np.ndarray | Joined, positions: np.ndarray, *, what: str) -> np.ndarray | Joined:
    """Returns array[positions] as `collect` stores it; the array itself when that is all of it, in order."""
    if len(positions) == len(array) and np.array_equal(positions, np.arange(len(array))):
        return array
    chunks = (array[part] for part in _parts(positions, row_bytes(array)))
    return collect(chunks, (len(positions), *array.shape[1:]), array.dtype, what=what)


def chunks_of(array: np.ndarray | Joined) -> Iterable[np.ndarray]:
    """Yields the rows of an array in contiguous pieces of about 16 MiB."""
    step = max(1, _COPY_BYTES // row_bytes(array))
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step])


def require_memory(size: int, *, what: str) -> None:
    """Raises DataError when `size` bytes, which `what` claims to need, are more than the memory that is free."""
    free = psutil.virtual_memory().available
    if size > free:
        raise DataError(
            f"{what} needs {size / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free: check that it is not "
            "damaged, or store the data as an image folder, which is read piece by piece."
        )


def row_bytes(array: np.ndarray | Joined) -> int:
    """Returns the bytes of one sample, at least 1."""
    return max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)


def _parts(positions: np.ndarray, bytes_per_row: int) -> Iterable[np.ndarray]:
    step = max(1, _COPY_BYTES // bytes_per_row)
    for start in range(0, len(positions), step):
        yield positions[start : start + step]


def _filled(array: np.ndarray, chunks: Iterable[np.ndarray]) -> np.ndarray:
    start = 0
    for chunk in chunks:
        array[start : start + len(chunk)] = chunk
        start += len(chunk)
    if start != len(array):
        raise ValueError(f"{start} rows came where {len(array)} were announced")
    return array


def _reserve(handle: int, size: int, what: str) -> None:
    """Claims the disk blocks now: on a disk that fills up later, a memory map would kill the process (SIGBUS)."""
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise DataError(
            f"{what} needs {size / 1e9:.1f} GB of temporary space and {str(folder)!r} has {free / 1e9:.1f} GB free: "
            "free some, set TMPDIR to a folder on a larger disk, or choose a smaller image_size."
        )
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
