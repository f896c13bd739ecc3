"""The IDX format of MNIST: a magic number, the dimensions, then the values, big-endian."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from edgekd.data import buffers, files
from edgekd.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path) -> np.ndarray:
    """Returns the array of an IDX file, gzipped or not, in the machine's byte order.

    Raises:
      DataError: it does not exist, has no IDX magic number, is truncated, or holds more values than its header says.

    References:
      LeCun, Cortes, Burges, The MNIST Database of Handwritten Digits, 1998: "The IDX file format".
    """
    with files.require_data_file(path, "IDX file").open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        try:
            return _parse(gzip.GzipFile(fileobj=raw) if zipped else raw, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{str(path)!r} is truncated or damaged ({error}): get the file again.") from error


def _parse(file: IO[bytes] | gzip.GzipFile, path: Path) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DataError(
            f"{str(path)!r} starts with bytes {magic.hex(' ') or 'none'}: expected an IDX file, such as 00 00 08 03 "
            "for images or 00 00 08 01 for labels."
        )
    dimensions = file.read(4 * magic[3])
    if len(dimensions) < 4 * magic[3]:
        raise DataError(f"{str(path)!r} ends within its header: the file is truncated. Get it again.")
    shape = struct.unpack(f">{magic[3]}I", dimensions)
    dtype = np.dtype(_DTYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    buffers.require_memory(expected, what=repr(str(path)))
    content = file.read(expected + 1)
    if len(content) != expected:
        received = f"{len(content)}" if len(content) < expected else "more"
        raise DataError(
            f"{str(path)!r}: the header says {list(shape)}, which is {expected} bytes, and {received} follow: the file "
            "is truncated or damaged. Get it again."
        )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
