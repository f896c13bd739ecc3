"""Locks on files, shared or not, which the system gives back when a process is killed.

filelock, which guards run folders, has no shared locks; readers of one cache must not keep each other out.
"""

import errno
import fcntl
import os
import weakref
from pathlib import Path

from edgekd.errors import StorageError

_FOLDER = "locks"


class Lock:
    """A lock that is held until `release` is called or the object is forgotten."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle
        self.release = weakref.finalize(self, os.close, handle)

    def remove(self) -> None:
        """Removes the file and releases the lock; only for a lock that is not shared."""
        self._path.unlink(missing_ok=True)
        self.release()

    def is_current(self) -> bool:
        """Returns whether the file is still there: its last holder may have removed it while we waited."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._handle))


def of_cache(root: Path) -> Path:
    """Returns the lock that whoever uses any entry shares; for pruning entries whose identity cannot be read."""
    return root / _FOLDER / "cache.lock"


def of_training(root: Path, family: str) -> Path:
    """Returns the lock that whoever reads or fills outputs of one training shares, and whoever prunes has alone."""
    return root / _FOLDER / f"{family}.lock"


def of_block(root: Path, key: str, block: int) -> Path:
    """Returns the lock that who computes a block of an entry has alone."""
    return root / _FOLDER / f"{key}-{block:05d}.lock"


def acquire(path: Path, *, shared: bool = False, wait: bool = True) -> Lock | None:
    """Locks a file, which is made if it is missing.

    Args:
      path: the file.
      shared: whether others may hold it at the same time, also shared.
      wait: whether to wait while another holds it.

    Returns:
      The lock, or None where another holds it and `wait` is false.

    Raises:
      StorageError: the file system knows no locks.
      OSError: the file cannot be opened for writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        lock = Lock(path, handle := os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        try:
            fcntl.flock(handle, mode)
        except BlockingIOError:
            lock.release()
            return None
        except OSError as error:
            lock.release()
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            raise StorageError(
                f"the file system of {str(path.parent)!r} knows no file locks: put the teacher cache on a local disk "
                "with distill.cache.folder or EDGEKD_CACHE_DIR."
            ) from error
        if lock.is_current():
            return lock
        lock.release()
