"""One entry of the cache: a folder with an identity and the shards that are there so far."""

import dataclasses
import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from edgekd import storage
from edgekd.distill.cache import shards, vanishing
from edgekd.distill.cache.identity import FORMAT_VERSION, OutputIdentity
from edgekd.distill.cache.layout import Layout, layout_of
from edgekd.errors import StorageError

_IDENTITY = "identity.json"
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One output of a teacher, for one view.

    Attributes:
      folder: where its shards are.
      identity: what they depend on.
      layout: how they are cut.
    """

    folder: Path
    identity: OutputIdentity
    layout: Layout

    def shards(self) -> dict[int, Path]:
        """Returns the shards that are there, by number."""
        return {index: path for index, path in shards.find(self.folder).items() if index < self.layout.shards}

    def paths(self) -> list[Path]:
        """Returns the path of every shard; those that are not there have one that cannot be opened."""
        there = self.shards()
        return [there.get(index, self.folder / f"rows-{index:05d}") for index in range(self.layout.shards)]

    def shape_of(self, shard: int) -> tuple[int, ...]:
        """Returns the shape that a shard must have: [rows, ...]."""
        return (len(self.layout.rows_of(shard)), *self.identity.shape)

    def problem(self, shard: int, path: Path) -> str | None:
        """Returns what is wrong with a shard's file, after reading all of it, or None."""
        return shards.problem(path, self.shape_of(shard), self.identity.stored_dtype)

    def size_problem(self, shard: int, path: Path) -> str | None:
        """Returns what is wrong with the size of a shard's file, without reading it, or None."""
        return shards.size_problem(path, self.shape_of(shard), self.identity.stored_dtype)

    def filled(self) -> float:
        """Returns for which fraction of the samples there are rows."""
        return sum(len(self.layout.rows_of(index)) for index in self.shards()) / self.layout.samples

    def touch(self) -> None:
        """Notes that it is used now; a cache that may only be read keeps no such notes."""
        try:
            os.utime(self.folder / _IDENTITY)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise


@dataclasses.dataclass(frozen=True)
class Foreign:
    """An entry of another version of edgekd, which may be using it."""

    folder: Path
    version: int


class OtherVersionError(StorageError):
    """An entry that another version of edgekd wrote; `version` is that of its format."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version = version


def folder_of(root: Path, key: str) -> Path:
    """Returns where the entry with a key is, or would be."""
    return root / key[:2] / key


def planned(root: Path, identity: OutputIdentity) -> Entry:
    """Returns the entry of an identity, which need not be there."""
    return Entry(folder_of(root, identity.key), identity, layout_of(identity))


def find(root: Path, identity: OutputIdentity) -> Entry | None:
    """Returns the entry of an identity, or None where there is none.

    Raises:
      StorageError: its folder holds something else.
    """
    folder = folder_of(root, identity.key)
    return read(folder) if (folder / _IDENTITY).is_file() else None


def create(entry: Entry) -> None:
    """Writes the identity of an entry unless it is there, and notes that it is used now."""
    if not (entry.folder / _IDENTITY).is_file():
        entry.identity.write(entry.folder / _IDENTITY)
    entry.touch()


def read(folder: Path) -> Entry:
    """Opens an entry.

    Raises:
      StorageError: its identity is missing, damaged or not the one that the folder is named after.
      OtherVersionError: another version of edgekd wrote it.
    """
    path = folder / _IDENTITY
    try:
        return _read(folder, path)
    except FileNotFoundError as error:
        raise StorageError(f"{str(path)!r} of the teacher cache was removed while it was read.") from error


def _read(folder: Path, path: Path) -> Entry:
    text = storage.require_file(path, "identity of cached teacher outputs").read_text("utf-8", errors="replace")
    remedy = "Remove it with `edgekd cache prune --damaged`; what is needed of it is made again."
    try:
        version = json.loads(text)["format_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{str(path)!r} of the teacher cache is not an identity. {remedy}") from error
    if type(version) is not int:
        raise StorageError(f"{str(path)!r} of the teacher cache has format version {version!r}, no number. {remedy}")
    if version != FORMAT_VERSION:
        raise OtherVersionError(
            f"{str(folder)!r} of the teacher cache is of another version of edgekd: it has format version {version}, "
            f"and this edgekd reads version {FORMAT_VERSION}. `edgekd cache prune --all` removes it.",
            version,
        )
    identity = OutputIdentity.read(path)
    if identity.key != folder.name:
        raise StorageError(
            f"{str(path)!r} of the teacher cache is the identity of {identity.key[:12]}…, not of its folder: somebody "
            f"moved or changed it. {remedy}"
        )
    return Entry(folder, identity, layout_of(identity))


def folders(root: Path) -> Iterator[Path]:
    """Yields the folders of all entries, in the order of their names, and nothing else that lies there.

    A folder with neither identity nor shards is one that is being made, or whose making was killed.
    """
    for prefix in vanishing.children(root):
        if len(prefix.name) == 2 and prefix.is_dir() and not prefix.is_symlink():
            for folder in vanishing.children(prefix):
                named = _KEY.fullmatch(folder.name) and folder.name.startswith(prefix.name)
                if named and folder.is_dir() and not folder.is_symlink() and is_begun(folder):
                    yield folder


def size(folder: Path) -> int:
    """Returns how many bytes an entry's files have."""
    return sum(status.st_size for path in _own_files(folder) if (status := vanishing.status(path)))


def last_used(folder: Path) -> float | None:
    """Returns when an entry was last filled or read, in seconds since 1970; None where it is gone."""
    status = vanishing.status(folder / _IDENTITY)
    return None if status is None else status.st_mtime


def remove(folder: Path) -> None:
    """Removes an entry's files, and its folder unless somebody put something else there.

    The identity goes last: a removal that was killed half-way leaves an entry of fewer shards.
    """
    for path in sorted(_own_files(folder), key=lambda path: path.name == _IDENTITY):
        path.unlink(missing_ok=True)
    for each in (folder, folder.parent):
        try:
            each.rmdir()
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return  # somebody else's files, or other entries


def is_begun(folder: Path) -> bool:
    """Returns whether there is anything of an entry."""
    return (folder / _IDENTITY).is_file() or bool(shards.find(folder))


def _own_files(folder: Path) -> list[Path]:
    return [
        path
        for path in vanishing.children(folder)
        if path.name == _IDENTITY or storage.is_partial(path) or shards.is_shard(path)
    ]
