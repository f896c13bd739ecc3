"""The cache as training uses it: fill what is missing, read rows, and refuse what belongs to something else."""

import collections
import errno
import logging
import os
import threading
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import numpy as np

from edgekd import storage
from edgekd.distill.cache import entry as entries
from edgekd.distill.cache import locks, reading, shards
from edgekd.distill.cache.catalogue import nearest
from edgekd.distill.cache.entry import Entry
from edgekd.distill.cache.filling import Compute, Filled, Filler, Progress
from edgekd.distill.cache.identity import OutputIdentity, training_differences
from edgekd.distill.cache.open_files import OpenFiles
from edgekd.distill.cache.space import require_space
from edgekd.distill.cache.writing import REMEDY, writing
from edgekd.errors import DataError, StorageError

_LOG = logging.getLogger("edgekd")


def default_root() -> Path:
    """Returns where the cache is: EDGEKD_CACHE_DIR, else `edgekd/teacher` in XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("EDGEKD_CACHE_DIR"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekd" / "teacher"


class TeacherCache:
    """Outputs of teachers on disk. Several threads, processes and runs may use one folder at once.

    What a cache has filled or read it keeps from being pruned until it is closed or forgotten.

    Args:
      root: its folder; by default `default_root()`. It is made when something is filled.
      announce: is told in one line of what was damaged; by default a warning of the logger `edgekd`.
    """

    def __init__(self, root: Path | None = None, *, announce: Callable[[str], None] = _LOG.warning) -> None:
        self.root = root or default_root()
        self._announce = announce
        self._verified: dict[Path, shards.Signature] = {}
        self._used: dict[Path, locks.Lock | None] = {}
        self._readers: collections.OrderedDict[str, reading.Reader] = collections.OrderedDict()
        self._files = OpenFiles()
        self._guard = threading.RLock()

    def __enter__(self) -> Self:
        """Returns the cache."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Forgets what is in memory and lets everything be pruned again."""
        with self._guard:
            self._readers.clear()
            self._files.close()
            for lock in self._used.values():
                if lock is not None:
                    lock.release()
            self._used.clear()

    def entry(self, identity: OutputIdentity) -> Entry | None:
        """Returns the entry of an identity, filled or not, or None.

        Raises:
          StorageError: its folder holds something else.
        """
        return entries.find(self.root, identity)

    def require(self, identity: OutputIdentity) -> Entry:
        """Returns the entry of an identity, for reading where no teacher is at hand.

        Raises:
          StorageError: it is missing, and the message says in which parts the nearest entries differ; it is not wholly
            filled; or its folder holds something else.
        """
        self._use(identity)
        entry = self.entry(identity)
        if entry is None:
            raise StorageError(nearest(self.root, identity))
        lacking = entry.layout.shards - len(entry.shards())
        if lacking:
            raise StorageError(
                f"{identity.output!r} of view {identity.view} lacks {lacking} of {entry.layout.shards} shards in the "
                f"teacher cache {str(self.root)!r}: its filling was stopped. Run the training again with its teacher, "
                "which computes the rest."
            )
        return entry

    def check_space(self, identities: Iterable[OutputIdentity]) -> int:
        """Returns about how many bytes filling these entries would write.

        Raises:
          StorageError: the folder cannot be written, or the disk has less room than that.
        """
        self._require_writable()
        missing = []
        for identity in _distinct(identities):
            entry = entries.planned(self.root, identity)
            there = entry.shards()
            missing.append((entry, (number for number in range(entry.layout.shards) if number not in there)))
        return require_space(self.root, missing)

    def fill(
        self,
        identities: Iterable[OutputIdentity],
        compute: Compute,
        *,
        progress: Progress | None = None,
        worker: tuple[int, int] = (0, 1),
    ) -> Filled:
        """Fills entries; when it returns, all of them are whole.

        Only shards that are missing or of another size are computed, one pass per view for all its outputs; the bytes
        of what is there are checked when `rows` reads them. Two processes that fill the same at once share the work,
        block by block, and both return when all is done; nothing that a killed process left is taken for whole.

        Args:
          identities: what to fill; they may differ in view, output, shape and dtype.
          compute: `(sample_ids, view) -> {output: [k, *shape] float32}`. It always gets `batch_size` ids (all the
            samples where these are fewer); the last batch is made full with the first samples.
          progress: is called with batches done, batches in all, and what they are.
          worker: (i, n): of n processes this one is number i. It begins with blocks i, i + n, i + 2n, ... and then
            helps with what the others have not begun.

        Raises:
          StorageError: no room, no permission, identities of several trainings, or a folder that holds something else.
          NonFiniteError: outputs that are not finite, or too large for float16.
          ShapeError, ModelError: outputs that are not what the identities say.
        """
        return self._fill(identities, compute, progress=progress, worker=worker, thorough=False)

    def _fill(
        self,
        identities: Iterable[OutputIdentity],
        compute: Compute,
        *,
        progress: Progress | None,
        worker: tuple[int, int],
        thorough: bool,
    ) -> Filled:
        distinct = _distinct(identities)
        if not distinct:
            return Filled(0, 0, ())
        _check_one_training(distinct)
        index, count = worker
        if not 0 <= index < count:
            raise StorageError(
                f"worker {index} of {count} fills the teacher cache: expected a number in 0..{count - 1}."
            )
        self._require_writable()
        with writing(self.root):
            self._remove_leftovers(distinct)
            self._use(distinct[0])
        planned = [self.entry(identity) or entries.planned(self.root, identity) for identity in distinct]
        filler = Filler(planned, root=self.root, verified=self._verified, announce=self._announce, thorough=thorough)
        require_space(self.root, filler.missing())
        with writing(self.root):
            for entry in planned:
                entries.create(entry)
        filled = filler.run(compute, progress=progress, worker=worker)
        if filled.remade:
            self._forget(distinct)
        return filled

    def rows(self, identity: OutputIdentity, sample_ids: np.ndarray, *, remake: Compute | None = None) -> np.ndarray:
        """Returns stored rows.

        The bytes of each shard are checked the first time that this process touches it.

        Args:
          identity: which output, of which view.
          sample_ids: [k] integers, in any order.
          remake: the teacher, by which damaged and missing shards are made again; None to refuse them.

        Returns:
          [k, *shape] float32.

        Raises:
          DataError: ids outside the split.
          StorageError: no such entry, or one that is not wholly filled; `DamagedShardError` where bytes have changed.
        """
        _check_ids(sample_ids, identity.samples)
        try:
            return self._rows(identity, sample_ids)
        except StorageError as error:
            if remake is None:
                raise
            if not isinstance(error, shards.DamagedShardError):  # filling tells of those itself
                self._announce(f"{error} It is computed now.")
        self._forget([identity])
        self._fill([identity], remake, progress=None, worker=(0, 1), thorough=True)
        return self._rows(identity, sample_ids)

    def _rows(self, identity: OutputIdentity, sample_ids: np.ndarray) -> np.ndarray:
        key = identity.key
        with self._guard:
            reader = self._readers.get(key)
            if reader is None:
                entry = self.require(identity)
                entry.touch()
                self._make_room(entry)
                reader = self._readers[key] = reading.open_reader(entry, self._verified, self._files)
            self._readers.move_to_end(key)
            return reader.rows(sample_ids).astype(np.float32)

    def _make_room(self, entry: Entry) -> None:
        """Forgets what was read longest ago, before more is held."""
        held = reading.held_bytes(entry) + sum(reader.held_bytes for reader in self._readers.values())
        while self._readers and (held > reading.HELD_BYTES or len(self._readers) >= reading.MOST_READERS):
            held -= self._readers.popitem(last=False)[1].held_bytes

    def _forget(self, identities: Iterable[OutputIdentity]) -> None:
        with self._guard:
            for identity in identities:
                self._readers.pop(identity.key, None)
            self._files.close()

    def _use(self, identity: OutputIdentity) -> None:
        """Keeps the outputs of a training from being pruned."""
        with self._guard:
            if not self.root.is_dir():
                return
            for path in (locks.of_cache(self.root), locks.of_training(self.root, identity.family)):
                if path in self._used:
                    continue
                try:
                    self._used[path] = locks.acquire(path, shared=True)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                        raise
                    self._used[path] = None  # a cache that we may only read: its owner prunes it, not we

    def _remove_leftovers(self, identities: Iterable[OutputIdentity]) -> None:
        """Removes what killed processes left half-written, unless somebody may be writing just now."""
        with self._guard:
            path = locks.of_training(self.root, next(iter(identities)).family)
            if path not in self._used:
                alone = locks.acquire(path, wait=False)
                if alone is not None:
                    for identity in identities:
                        storage.remove_partial(entries.folder_of(self.root, identity.key))
                    alone.remove()

    def _require_writable(self) -> None:
        place = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise StorageError(
                f"the teacher cache {str(self.root)!r} cannot be written: {str(place)!r} is "
                f"{'read-only for you' if place.is_dir() else 'not a folder'}. {REMEDY[0].upper()}{REMEDY[1:]}."
            )


def _distinct(identities: Iterable[OutputIdentity]) -> list[OutputIdentity]:
    return list({identity.key: identity for identity in identities}.values())


def _check_one_training(identities: list[OutputIdentity]) -> None:
    for other in identities[1:]:
        if differing := training_differences(identities[0], other):
            raise StorageError(
                f"outputs {identities[0].output!r} and {other.output!r} to be cached differ in {', '.join(differing)}: "
                "one filling is for outputs of one teacher, dataset and policy. Fill them one after the other."
            )


def _check_ids(sample_ids: np.ndarray, samples: int) -> None:
    if sample_ids.ndim != 1 or sample_ids.dtype.kind not in "iu":
        raise DataError(
            f"sample ids of dtype {sample_ids.dtype} and shape {list(sample_ids.shape)}: expected integers [k]."
        )
    wrong = sample_ids[(sample_ids < 0) | (sample_ids >= samples)]
    if len(wrong):
        raise DataError(f"no teacher output of sample {wrong[0]}: expected 0..{samples - 1}.")
