"""Checks of the files that hold data."""

from pathlib import Path

from edgekd import storage
from edgekd.errors import DataError, StorageError


def require_data_file(path: Path, what: str) -> Path:
    """Returns `path` when it is a readable file; raises DataError naming `what` and the path otherwise."""
    try:
        return storage.require_file(path, what)
    except StorageError as error:
        raise DataError(str(error)) from error
