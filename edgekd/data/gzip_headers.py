"""Puts back the gzip headers that a distribution took off, so that a file has its publisher's checksum again.

Debian's packages are reproducible: its tools remove the name and the time of day that gzip notes in a file's header.
The compressed data stay as they were, so a header with the right name and time gives back the published file, bit by
bit, which its SHA-256 then proves.

References:
  Deutsch, GZIP file format specification version 4.3, 1996 (RFC 1952), section 2.3.
"""

import hashlib
import struct
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 10
_NAME_FLAG = 8

# SHA-256 of a published file -> (the name in its header, the time in its header in seconds since 1970).
PUBLISHED = {
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84": ("train-images-idx3-ubyte", 1504176606),
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845": ("train-labels-idx1-ubyte", 1504176606),
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073": ("t10k-images-idx3-ubyte", 1504176627),
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5": ("t10k-labels-idx1-ubyte", 1504176627),
}


def stripped_size(checksum: str, size: int) -> int | None:
    """Returns how many bytes a published file has without the name in its header; None where that is not known."""
    return size - len(PUBLISHED[checksum][0]) - 1 if checksum in PUBLISHED else None


def restore(stripped: Path, checksum: str, destination: Path) -> bool:
    """Writes the published file that `stripped` was made from; returns whether it has the given SHA-256.

    Args:
      stripped: a gzip file whose header has no optional fields.
      checksum: a key of PUBLISHED.
      destination: the file to write. Where False is returned it is not left behind.
    """
    name, seconds = PUBLISHED[checksum]
    digest = hashlib.sha256()
    with stripped.open("rb") as source, destination.open("wb") as target:
        header = source.read(_HEADER_BYTES)
        if len(header) == _HEADER_BYTES and header[:4] == b"\x1f\x8b\x08\0":
            chunk = header[:3] + struct.pack("<BI", _NAME_FLAG, seconds) + header[8:] + name.encode() + b"\0"
            while chunk:
                digest.update(chunk)
                target.write(chunk)
                chunk = source.read(_CHUNK_BYTES)
    if digest.hexdigest() != checksum:
        destination.unlink()
        return False
    return True
