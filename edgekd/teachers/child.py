"""Trying a teacher's file in a child process, see `edgekd.child_process`."""

import functools
from pathlib import Path

from edgekd import child_process


@functools.lru_cache(maxsize=64)
def require_openable(path: Path, *, sha256: str) -> None:  # noqa: ARG001 - the hash is part of the cache's key
    """Raises ModelError unless a child process can open the file or folder."""
    child_process.require_passes(path, module="edgekd.teachers.probe")
