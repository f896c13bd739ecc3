"""Reading rows in the memory that it may take, however large the cache is.

Small entries are held whole; of large ones only the rows that are asked for are read, by position. A memory map would
do the same with less code, but its pages count as resident until the system wants them back: reading 200 MiB in random
order was seen to add 200 MiB.
"""

import collections
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.distill.cache import shards
from edgekd.distill.cache.entry import Entry

HELD_BYTES = 64 << 20  # of all entries that are held whole
_LARGEST_HELD = HELD_BYTES // 2
_OPEN_SHARDS = 64  # of one large entry
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
    """An entry of which nothing is kept but a few open files.

    Args:
      entry: a filled entry.
      verified: the files that this process has checked; added to.
    """

    held_bytes = 0

    def __init__(self, entry: Entry, verified: Verified) -> None:
        self._entry = entry
        self._paths = entry.paths()
        self._offsets: dict[int, int] = {}
        self._verified = verified
        self._open: collections.OrderedDict[int, shards.OpenShard] = collections.OrderedDict()

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
        order = np.argsort(indices, kind="stable")  # each shard is opened once at most
        for target, index, place in zip(order.tolist(), indices[order].tolist(), places[order].tolist(), strict=True):
            shard = self._open.get(index) or self._shard(index)
            into = content[target * row_bytes : (target + 1) * row_bytes]
            if os.preadv(shard.handle, [into], self._offsets[index] + place * row_bytes) != row_bytes:
                raise shards.damaged({self._paths[index]: "it became shorter while it was read"})
        return rows

    def _shard(self, index: int) -> shards.OpenShard:
        path = self._paths[index]
        try:
            opened = shards.OpenShard(path)
        except FileNotFoundError as error:
            raise shards.damaged({path: "it is not there any more"}) from error
        if self._verified.get(path) != opened.signature:
            if reason := self._entry.problem(index, path):
                raise shards.damaged({path: reason})
            self._verified[path] = opened.signature
        if index not in self._offsets:
            shape = self._entry.shape_of(index)
            self._offsets[index] = shards.offset_of(path, shape, self._entry.identity.stored_dtype)
        self._open[index] = opened
        if len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        return opened


def held_bytes(entry: Entry) -> int:
    """Returns how much memory a reader of an entry would keep."""
    whole = entry.layout.samples * entry.layout.row_bytes
    return whole if whole <= _LARGEST_HELD else 0


def open_reader(entry: Entry, verified: Verified) -> Reader:
    """Returns the reader that fits the size of an entry that is filled."""
    return WholeReader(entry) if held_bytes(entry) else RowReader(entry, verified)
