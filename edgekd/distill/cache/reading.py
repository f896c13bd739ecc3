"""Reading rows in the memory that it may take, however large the cache is.

Small entries are held whole; of large ones only the rows that are asked for are read, by position. A memory map would
do the same with less code, but its pages count as resident until the system wants them back: reading 200 MiB in random
order was seen to add 200 MiB.
"""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.distill.cache import shards
from edgekd.distill.cache.entry import Entry
from edgekd.distill.cache.open_files import OpenFiles

HELD_BYTES = 64 << 20  # of all entries that are held whole
_LARGEST_HELD = HELD_BYTES // 2
MOST_READERS = 8

Verified = MutableMapping[Path, shards.Signature]


class Reader(Protocol):
    """Gives the rows of one entry; its bytes are checked the first time they are touched."""

    @property
    def held_bytes(self) -> int:
        """How much memory it keeps."""
        ...

    def rows(self, sample_ids: np.ndarray) -> np.ndarray:
        """Returns [k, ...] in the dtype that is stored."""
        ...


class WholeReader:
    """An entry in memory.

    Raises:
      DamagedShardError: shards that are not what was written, all of them.
    """

    def __init__(self, entry: Entry) -> None:
        layout = entry.layout
        self._rows = np.empty((layout.samples, *entry.identity.shape), entry.identity.stored_dtype)
        problems = {}
        for index, path in enumerate(entry.paths()):
            span = layout.rows_of(index)
            if reason := shards.read_into(path, self._rows[span.start : span.stop]):
                problems[path] = reason
        if problems:
            raise shards.damaged(problems)

    @property
    def held_bytes(self) -> int:
        """How much memory it keeps."""
        return self._rows.nbytes

    def rows(self, sample_ids: np.ndarray) -> np.ndarray:
        """Returns [k, ...] in the dtype that is stored."""
        return np.take(self._rows, sample_ids, axis=0)


class RowReader:
    """An entry of which nothing is kept but open files.

    Args:
      entry: a filled entry.
      verified: the files that this process has checked; added to.
      files: the open files, which other readers share.
    """

    held_bytes = 0

    def __init__(self, entry: Entry, verified: Verified, files: OpenFiles) -> None:
        self._entry = entry
        self._paths = [str(path) for path in entry.paths()]
        self._offsets: dict[int, int] = {}
        self._verified = verified
        self._files = files

    def rows(self, sample_ids: np.ndarray) -> np.ndarray:
        """Returns [k, ...] in the dtype that is stored.

        Raises:
          DamagedShardError: a shard that is not what was written.
        """
        identity, row_bytes = self._entry.identity, self._entry.layout.row_bytes
        rows = np.empty((len(sample_ids), *identity.shape), identity.stored_dtype)
        if not len(sample_ids):
            return rows
        content = rows.data.cast("B")
        indices, places = np.divmod(sample_ids, self._entry.layout.shard_rows)
        order = np.argsort(indices, kind="stable")  # each file is opened once at most
        for target, index, place in zip(order.tolist(), indices[order].tolist(), places[order].tolist(), strict=True):
            handle = self._files.get(self._paths[index])
            if handle is None:
                handle = self._open(index)
            into = content[target * row_bytes : (target + 1) * row_bytes]
            if os.preadv(handle, [into], self._offsets[index] + place * row_bytes) != row_bytes:
                raise shards.damaged({Path(self._paths[index]): "it became shorter while it was read"})
        return rows

    def _open(self, index: int) -> int:
        path = Path(self._paths[index])
        try:
            signature = shards.signature(path)
            if self._verified.get(path) != signature:
                if reason := self._entry.problem(index, path):
                    raise shards.damaged({path: reason})
                self._verified[path] = signature
            if index not in self._offsets:
                shape = self._entry.shape_of(index)
                self._offsets[index] = shards.offset_of(path, shape, self._entry.identity.stored_dtype)
            return self._files.open(self._paths[index])
        except FileNotFoundError as error:
            raise shards.damaged({path: "it is not there any more"}) from error


def held_bytes(entry: Entry) -> int:
    """Returns how much memory a reader of an entry would keep."""
    whole = entry.layout.samples * entry.layout.row_bytes
    return whole if whole <= _LARGEST_HELD else 0


def open_reader(entry: Entry, verified: Verified, files: OpenFiles) -> Reader:
    """Returns the reader that fits the size of an entry that is filled."""
    return WholeReader(entry) if held_bytes(entry) else RowReader(entry, verified, files)
