"""The whole cache at a glance: what there is, whether it is sound, what can go."""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

from edgekd.distill.cache import entry as entries
from edgekd.distill.cache import locks, vanishing
from edgekd.distill.cache.entry import Entry, Foreign
from edgekd.distill.cache.identity import OutputIdentity
from edgekd.distill.cache.writing import writing
from edgekd.errors import StorageError
from edgekd.records import Record

_NEAREST = 3
_SECONDS_OF_DAY = 86_400.0


class EntryRecord(Record):
    """One entry, or a folder that is named as one; `identity` is None where it cannot be read.

    Then `problem` says why, or `other_version` is the format's version: another version of edgekd wrote it, and it is
    not damaged. `filled` is the fraction of samples that have rows; `last_used` is in UTC.
    """

    key: str
    path: str
    size_bytes: int
    identity: OutputIdentity | None
    filled: float | None
    last_used: datetime.datetime | None
    problem: str | None = None
    other_version: int | None = None


class Damage(Record):
    """A file or folder of the cache that is not what was written."""

    path: str
    problem: str


class Verification(Record):
    """What checking every byte found. Entries that are not wholly filled are not damaged.

    `other_versions` counts the entries of other versions of edgekd, which are not looked into.
    """

    root: str
    entries: int
    shards: int
    damaged: tuple[Damage, ...]
    other_versions: int = 0


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
    found = [record for folder in entries.folders(root) if (record := _record(folder))]
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
    found = _look_at_all(root)
    sound = [each for each in found if isinstance(each, Entry)]
    damaged = [each for each in found if isinstance(each, Damage)]
    unreadable = len(damaged)
    work = [(entry, number, path) for entry in sound for number, path in sorted(entry.shards().items())]
    for done, (entry, number, path) in enumerate(work, start=1):
        # What is gone was pruned or made again just now.
        if (problem := entry.problem(number, path)) and path.exists():
            damaged.append(Damage(path=str(path), problem=problem))
        if on_progress is not None:
            on_progress(done, len(work), "shards")
    return Verification(
        root=str(root),
        entries=len(sound),
        shards=len(work),
        damaged=tuple(damaged),
        other_versions=len(found) - len(sound) - unreadable,
    )


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
      damaged: removes damaged shards, after reading everything, and folders whose identity is not theirs; never what
        another version of edgekd wrote.
      everything: removes all entries, those of other versions too.
      dry_run: only tells what would be removed.
      on_progress: of reading everything.
    """
    pruner = _Pruner(root, dry_run=dry_run)
    if damaged:
        for damage in verify(root, on_progress=on_progress).damaged:
            pruner.remove_damaged(Path(damage.path))
    found = [each for each in _look_at_all(root) if not isinstance(each, Damage)]
    kept = sorted(
        ((used, each) for each in found if (used := entries.last_used(each.folder)) is not None),
        key=lambda pair: (pair[0], pair[1].folder),
    )
    for used, entry in kept:
        unused = (now - used) / _SECONDS_OF_DAY
        if everything:
            pruner.remove(entry, "all entries")
        elif older_than_days is not None and unused > older_than_days:
            pruner.remove(entry, f"not used for {unused:.1f} days", last_used=used)
    if max_bytes is not None:
        for used, entry in kept:
            if pruner.kept_bytes() <= max_bytes:
                break
            pruner.remove(entry, "used longest ago", last_used=used)
    whole = locks.of_cache(root)
    if whole.exists() and (lock := locks.acquire(whole, wait=False)) is not None:
        lock.remove()  # nobody uses the cache: leave no file behind
    return pruner.result()


class _Pruner:
    """Removes what is in no use; all that it was told is looked at again once the lock is held."""

    def __init__(self, root: Path, *, dry_run: bool) -> None:
        self._root = root
        self._dry_run = dry_run
        self._sizes = {folder: entries.size(folder) for folder in entries.folders(root)}
        self._removed: dict[Path, Removal] = {}
        self._in_use: set[str] = set()

    def kept_bytes(self) -> int:
        return sum(self._sizes.values()) - self._freed()

    def remove(self, entry: Entry | Foreign, reason: str, *, last_used: float | None = None) -> None:
        """Removes an entry unless it is in use, gone, or was used after `last_used`."""
        folder = entry.folder
        if folder in self._removed or folder not in self._sizes:
            return
        with self._alone(entry) as alone:
            if not alone:
                return
            used = entries.last_used(folder)
            if used is None:
                del self._sizes[folder]
            elif last_used is None or used <= last_used:
                self._remove_folder(folder, reason)

    def remove_damaged(self, path: Path) -> None:
        """Removes a shard that is damaged, or a folder whose identity is: what is whole again or gone is skipped."""
        if path in self._sizes:
            with self._alone(Foreign(path, 0)) as alone:
                if alone and isinstance(found := _look(path), Damage):
                    self._remove_folder(path, found.problem)
            return
        entry = _look(path.parent)
        if not isinstance(entry, Entry):
            return
        with self._alone(entry) as alone:
            number = next((number for number, each in entry.shards().items() if each == path), None)
            if not alone or number is None:
                return
            problem, status = entry.problem(number, path), vanishing.status(path)
            if problem and status:
                self._removed[path] = Removal(path=str(path), size_bytes=status.st_size, reason=problem)
                if not self._dry_run:
                    path.unlink(missing_ok=True)

    def _remove_folder(self, folder: Path, reason: str) -> None:
        inside = [path for path in self._removed if path.parent == folder]
        freed = self._sizes[folder] - sum(self._removed[path].size_bytes for path in inside)
        self._removed[folder] = Removal(path=str(folder), size_bytes=freed, reason=reason)
        if not self._dry_run:
            entries.remove(folder)

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

    @contextlib.contextmanager
    def _alone(self, entry: Entry | Foreign) -> Iterator[bool]:
        """Yields whether no process uses an entry; none can begin to before the block ends.

        Who uses an entry whose identity we cannot read is not known: then nobody may be using the cache.
        """
        if isinstance(entry, Entry):
            path = locks.of_training(self._root, entry.identity.family)
        else:
            path = locks.of_cache(self._root)
        with writing(self._root):
            lock = locks.acquire(path, wait=False)
        if lock is None:
            self._in_use.add(entry.folder.name)
            yield False
            return
        try:
            with writing(self._root):
                yield True
        finally:
            lock.remove()


_NEVER = datetime.datetime.fromtimestamp(0, datetime.UTC)


def _look(folder: Path) -> Entry | Foreign | Damage | None:
    """Returns what a folder that is named as an entry is; None where it is gone."""
    try:
        return entries.read(folder)
    except entries.OtherVersionError as error:
        return Foreign(folder, error.version)
    except StorageError as error:
        return Damage(path=str(folder), problem=str(error)) if entries.is_begun(folder) else None


def _look_at_all(root: Path) -> list[Entry | Foreign | Damage]:
    return [found for folder in entries.folders(root) if (found := _look(folder)) is not None]


def _record(folder: Path) -> EntryRecord | None:
    found, size, used = _look(folder), entries.size(folder), entries.last_used(folder)
    if found is None:
        return None
    last_used = None if used is None else datetime.datetime.fromtimestamp(used, datetime.UTC)
    return EntryRecord(
        key=folder.name,
        path=str(folder),
        size_bytes=size,
        identity=found.identity if isinstance(found, Entry) else None,
        filled=found.filled() if isinstance(found, Entry) else None,
        last_used=last_used,
        problem=found.problem if isinstance(found, Damage) else None,
        other_version=found.version if isinstance(found, Foreign) else None,
    )
