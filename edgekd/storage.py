"""Files that are either whole or absent: atomic writes, hashes and checks of folders."""

import contextlib
import errno
import gzip
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgekd.errors import StorageError

_CHUNK_BYTES = 1 << 20
_PARTIAL = ".partial-"  # what the names of files begin with that are still being written

OUT = "--out"
"""The option that most of what is written comes from."""

_REASONS = {  # {elsewhere} is how another place is chosen
    errno.ENOSPC: "the disk is full: free some space and run the same command again",
    errno.EDQUOT: "your disk quota is used up: free some space and run the same command again",
    errno.EFBIG: "the file would be larger than this system allows: raise the limit (ulimit -f) or use another disk",
    errno.EACCES: "permission denied: {elsewhere}, or change its permissions",
    errno.EPERM: "operation not permitted: {elsewhere}, or change its permissions",
    errno.EROFS: "the file system is read-only: {elsewhere}",
    errno.EIO: "the device reports an error: {elsewhere}, on another disk",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}
_REASONS_OF_PATH = {
    errno.ENOENT: "its folder does not exist and cannot be made: {elsewhere}",
    errno.ENOTDIR: "a part of the path is a file, not a folder: {elsewhere}",
    errno.EEXIST: "a file stands where a folder is needed: {elsewhere}",
    errno.EISDIR: "it is a folder, not a file: choose another path",
}

# NumPy reports a write that the system cut short (a full disk) without the system's error number.
_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")


@contextlib.contextmanager
def atomic_path(path: Path, *, option: str = OUT) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced to disk and renamed over `path`.

    On any error the temporary file is removed and `path` stays as it was.

    Args:
      path: the file to write; its folder is made if it is missing.
      option: of the command line that says where it goes, for messages.

    Raises:
      StorageError: the folder is not writable, or the disk is full (also where a library meets that in the block).
    """
    with storage_errors(path, option=option):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept because Keras and others choose the format by it.
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, suffix=path.suffix, dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(path, option=option):
            yield temporary
            _sync(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "wb", *, option: str = OUT) -> Iterator[IO]:  # type: ignore[type-arg]
    """Yields an open file that becomes `path`, whole, when the block ends without an error; see `atomic_path`."""
    encoding = None if "b" in mode else "utf-8"
    with atomic_path(path, option=option) as temporary, temporary.open(mode, encoding=encoding) as file:
        yield file


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yields a new temporary folder, and removes it however the block is left.

    Args:
      prefix: of its name.

    Raises:
      StorageError: it cannot be made, as on a full disk.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise StorageError(
            f"cannot make a temporary folder ({error.strerror or error}): free some space in {_temporary()}, or set "
            "TMPDIR to a folder that may be written."
        ) from error
    with folder as name:
        yield Path(name)


def write_bytes(path: Path, content: bytes, *, option: str = OUT) -> None:
    """Writes `content` to `path` atomically; `option` as for `atomic_path`."""
    with atomic_open(path, option=option) as file:
        file.write(content)


def write_text(path: Path, content: str, *, option: str = OUT) -> None:
    """Writes `content` to `path` atomically, as UTF-8; `option` as for `atomic_path`."""
    write_bytes(path, content.encode(), option=option)


def sha256_file(path: Path) -> str:
    """Returns the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def gzip_size(path: Path) -> int:
    """Returns how many bytes of a file are left after gzip at its highest level; the same for the same content."""
    with storage_errors(path):
        return len(gzip.compress(path.read_bytes(), 9, mtime=0))


def require_file(path: Path, what: str) -> Path:
    """Returns `path` when it is a readable file; raises StorageError naming `what` and the path otherwise."""
    if path.is_dir():
        raise StorageError(f"{what} {str(path)!r} is a folder, not a file: give the file's path.")
    if not path.is_file():
        raise StorageError(f"{what} {str(path)!r} does not exist: check the path.")
    if not os.access(path, os.R_OK):
        raise StorageError(f"{what} {str(path)!r} is not readable: check its permissions.")
    return path


def check_folder(path: Path, *, option: str = OUT) -> None:
    """Raises StorageError unless files can go into a folder, which need not exist yet; it is not made.

    Args:
      path: the folder.
      option: of the command line that names it, for messages.
    """
    existing = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise StorageError(
            f"{str(path)!r} cannot be a folder, since {str(existing)!r} is a file: {_elsewhere(option)}."
        )
    with storage_errors(
        path, option=option
    ):  # trying tells more than permissions, which say little of root and of /proc
        handle, name = tempfile.mkstemp(prefix=_PARTIAL, dir=existing)
        os.close(handle)
        Path(name).unlink()


def is_partial(path: Path) -> bool:
    """Returns whether a write that was killed half-way left this file."""
    return path.name.startswith(_PARTIAL)


def remove_partial(folder: Path) -> None:
    """Removes what writes that were killed half-way left in a folder (its subfolders included)."""
    for leftover in folder.rglob(f"{_PARTIAL}*"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(path: Path, *, option: str = OUT) -> Iterator[None]:
    """Turns the system's own storage errors into messages; a full disk reaches us from many libraries as OSError.

    Args:
      path: what is written.
      option: of the command line that says where it goes.

    Raises:
      StorageError: what the block met.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or (errno.ENOSPC if _SHORT_WRITE.search(str(error)) else 0)
        ours = _is_about(error, path)
        reason = _REASONS.get(number) or (_REASONS_OF_PATH.get(number) if ours else None)
        if reason is None:
            raise
        failed = f"write {str(path)!r}" if ours else f"use {error.filename!r}"
        raise StorageError(f"cannot {failed}: {reason.format(elsewhere=_elsewhere(option))}.") from error


def in_words(error: OSError) -> str | None:
    """Returns one line for an error that the system itself gave for a file; None for what may be a defect of ours."""
    reason = _REASONS.get(error.errno or 0)
    if reason is None or error.filename is None:
        return None
    return f"cannot use {str(error.filename)!r}: {reason.format(elsewhere='choose another place')}."


def _elsewhere(option: str) -> str:
    return f"choose another {'folder' if option == OUT else 'place'} with {option}"


def _temporary() -> str:
    try:
        return repr(tempfile.gettempdir())
    except OSError:  # there is none that can be written
        return "one of the folders for temporary files"


def _is_about(error: OSError, path: Path) -> bool:
    """Whether it is `path` that failed, and not another file that was used while writing it."""
    if not isinstance(error.filename, str):
        return True
    culprit, wanted = Path(error.filename).absolute(), path.absolute()
    return culprit in {wanted, *wanted.parents} or is_partial(culprit)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
