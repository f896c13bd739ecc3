"""The whole cache at a glance: what there is, whether it is sound, what can go."""

import datetime
from collections.abc import Callable
from pathlib import Path

from edgekd.distill.cache import entry as entries
from edgekd.distill.cache import locks
from edgekd.distill.cache.entry import Entry
from edgekd.distill.cache.identity import OutputIdentity
from edgekd.errors import StorageError
from edgekd.records import Record

_NEAREST = 3
_SECONDS_OF_DAY = 86_400.0


class EntryRecord(Record):
    """One entry, or a folder that is named as one; `identity` is None where it cannot be read, `problem` says why.

    `filled` is the fraction of samples that have rows; `last_used` is in UTC.
    """

    key: str
    path: str
    size_bytes: int
    identity: OutputIdentity | None
    filled: float | None
    last_used: datetime.datetime | None
    problem: str | None = None


class Damage(Record):
    """A file or folder of the cache that is not what was written."""

    path: str
    problem: str


class Verification(Record):
    """What checking every byte found. Entries that are not wholly filled are not damaged."""

    root: str
    entries: int
    shards: int
    damaged: tuple[Damage, ...]


class Removal(Record):
    """A file or folder that was removed, or would be, and why."""

    path: str
    size_bytes: int
    reason: str


class Pruning(Record):
    """What pruning removed, or would remove, and which entries it left because a process uses them."""

    root: str
    dry_run: bool
    removed: tuple[Removal, ...]
    in_use: tuple[str, ...]
    freed_bytes: int
    kept_bytes: int


def entries_of(root: Path) -> tuple[EntryRecord, ...]:
    """Returns every entry, that which was used last first."""
    found = [_record(folder) for folder in entries.folders(root)]
    return tuple(sorted(found, key=lambda record: record.last_used or _NEVER, reverse=True))


def nearest(root: Path, wanted: OutputIdentity) -> str:
    """Returns the message for an entry that is missing: in which parts the nearest ones differ."""
    what = f"the teacher cache {str(root)!r} has no {wanted.output!r} of this teacher, data and view"
    found = []
    for folder in entries.folders(root):
        try:
            identity = entries.read(folder).identity
        except StorageError:  # `edgekd cache verify` tells of it; it is no candidate
            continue
        found.append((identity.differences(wanted), identity.key[:12]))
    if not found:
        return f"{what}: it is empty. Run the training with its teacher, which fills it."
    found.sort(key=lambda pair: (len(pair[0]), pair[1]))
    fewest = len(found[0][0])
    near = [f"{key} differs in {', '.join(parts.values())}" for parts, key in found if len(parts) == fewest]
    return (
        f"{what}. Nearest: {'; '.join(near[:_NEAREST])}. Ask for what is stored, or run the training with its teacher."
    )


def verify(root: Path, *, on_progress: Callable[[int, int, str], None] | None = None) -> Verification:
    """Reads every byte of the cache and checks it against its checksum.

    Args:
      root: the cache's folder.
      on_progress: is called with shards done, shards in all, and what they are.
    """
    sound, damaged = _open_all(root)
    work = [(entry, number, path) for entry in sound for number, path in sorted(entry.shards().items())]
    for done, (entry, number, path) in enumerate(work, start=1):
        # What is gone was pruned or made again just now.
        if (problem := entry.problem(number, path)) and path.exists():
            damaged.append(Damage(path=str(path), problem=problem))
        if on_progress is not None:
            on_progress(done, len(work), "shards")
    return Verification(root=str(root), entries=len(sound), shards=len(work), damaged=tuple(damaged))


def prune(
    root: Path,
    *,
    now: float,
    older_than_days: float | None = None,
    max_bytes: int | None = None,
    damaged: bool = False,
    everything: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Pruning:
    """Removes entries, those that were used longest ago first; what a process uses stays, and so does what is no entry.

    Args:
      root: the cache's folder.
      now: seconds since 1970.
      older_than_days: removes entries that were not used for so long.
      max_bytes: removes entries until the cache is no larger.
      damaged: removes damaged shards, after reading everything, and folders whose identity is not theirs.
      everything: removes all entries.
      dry_run: only tells what would be removed.
      on_progress: of reading everything.
    """
    pruner = _Pruner(root, dry_run=dry_run)
    if damaged:
        for damage in verify(root, on_progress=on_progress).damaged:
            pruner.remove_damaged(Path(damage.path), damage.problem)
    kept = sorted(_open_all(root)[0], key=lambda entry: (entry.last_used(), entry.folder))
    for entry in kept:
        unused = (now - entry.last_used()) / _SECONDS_OF_DAY
        if everything:
            pruner.remove(entry, "all entries")
        elif older_than_days is not None and unused > older_than_days:
            pruner.remove(entry, f"not used for {unused:.1f} days")
    if max_bytes is not None:
        for entry in kept:
            if pruner.kept_bytes() <= max_bytes:
                break
            pruner.remove(entry, "used longest ago")
    return pruner.result()


class _Pruner:
    def __init__(self, root: Path, *, dry_run: bool) -> None:
        self._root = root
        self._dry_run = dry_run
        self._sizes = {folder: entries.size(folder) for folder in entries.folders(root)}
        self._removed: dict[Path, Removal] = {}
        self._in_use: set[str] = set()

    def kept_bytes(self) -> int:
        return sum(self._sizes.values()) - self._freed()

    def remove(self, entry: Entry, reason: str) -> None:
        """Removes an entry unless it is in use or gone."""
        folder = entry.folder
        if folder in self._removed or folder not in self._sizes:
            return
        lock = self._alone(entry.identity)
        if lock is None:
            return
        inside = [path for path in self._removed if path.parent == folder]
        freed = self._sizes[folder] - sum(self._removed[path].size_bytes for path in inside)
        self._removed[folder] = Removal(path=str(folder), size_bytes=freed, reason=reason)
        if not self._dry_run:
            entries.remove(folder)
        lock.remove()

    def remove_damaged(self, path: Path, problem: str) -> None:
        """Removes a damaged shard, or a folder whose identity is not its own: nobody can be using that."""
        if path in self._sizes:
            self._removed[path] = Removal(path=str(path), size_bytes=self._sizes[path], reason=problem)
            if not self._dry_run:
                entries.remove(path)
            return
        lock = self._alone(entries.read(path.parent).identity)
        if lock is None:
            return
        self._removed[path] = Removal(path=str(path), size_bytes=path.stat().st_size, reason=problem)
        if not self._dry_run:
            path.unlink()
        lock.remove()

    def result(self) -> Pruning:
        return Pruning(
            root=str(self._root),
            dry_run=self._dry_run,
            removed=tuple(self._removed.values()),
            in_use=tuple(sorted(self._in_use)),
            freed_bytes=self._freed(),
            kept_bytes=self.kept_bytes(),
        )

    def _freed(self) -> int:
        return sum(removal.size_bytes for removal in self._removed.values())

    def _alone(self, identity: OutputIdentity) -> locks.Lock | None:
        lock = locks.acquire(locks.of_training(self._root, identity.family), wait=False)
        if lock is None:
            self._in_use.add(identity.key)
        return lock


_NEVER = datetime.datetime.fromtimestamp(0, datetime.UTC)


def _open_all(root: Path) -> tuple[list[Entry], list[Damage]]:
    sound, damaged = [], []
    for folder in entries.folders(root):
        try:
            sound.append(entries.read(folder))
        except StorageError as error:
            damaged.append(Damage(path=str(folder), problem=str(error)))
    return sound, damaged


def _record(folder: Path) -> EntryRecord:
    size = entries.size(folder)
    try:
        entry = entries.read(folder)
    except StorageError as error:
        return EntryRecord(
            key=folder.name, path=str(folder), size_bytes=size, identity=None, filled=None, last_used=None,
            problem=str(error),
        )  # fmt: skip
    return EntryRecord(
        key=folder.name,
        path=str(folder),
        size_bytes=size,
        identity=entry.identity,
        filled=entry.filled(),
        last_used=datetime.datetime.fromtimestamp(entry.last_used(), datetime.UTC),
    )
