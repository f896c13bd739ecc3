"""Errors of the system while the cache is written, in words that name the settings of its folder."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from edgekd.errors import StorageError

REMEDY = "choose another folder with distill.cache.folder or EDGEKD_CACHE_DIR"

_OF_THE_FOLDER = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EEXIST,
    }
)  # fmt: skip


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Says what to do where the cache's folder cannot be written; other errors pass as they are.

    Raises:
      StorageError: with the file and the system's reason.
    """
    try:
        yield
    except (OSError, StorageError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _OF_THE_FOLDER:
            raise
        what = repr(str(cause.filename)) if cause.filename is not None else "a file"
        raise StorageError(
            f"the teacher cache {str(root)!r} cannot be written: {what}: {os.strerror(cause.errno)}. Change its "
            f"permissions, or {REMEDY}."
        ) from cause
