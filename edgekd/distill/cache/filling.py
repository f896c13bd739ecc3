"""Filling entries with what a teacher computes: only what is missing, in blocks that several processes can share."""

import collections
import concurrent.futures
import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from edgekd.distill.cache import locks, shards
from edgekd.distill.cache.entry import Entry
from edgekd.distill.cache.identity import OutputIdentity
from edgekd.distill.cache.reading import Verified
from edgekd.distill.cache.writing import writing
from edgekd.errors import ModelError, NonFiniteError, ShapeError

Compute = Callable[[np.ndarray, int], Mapping[str, np.ndarray]]
Progress = Callable[[int, int, str], None]

_FLOAT16_MOST = 65504.0
_SHARDS_IN_FLIGHT = 2
_NAMED_SAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Filled:
    """What one call did.

    Attributes:
      computed_samples: how many views of samples the teacher was run on, by this process.
      written_bytes: how many bytes of rows were stored.
      remade: files that were damaged and have been made again.
    """

    computed_samples: int
    written_bytes: int
    remade: tuple[Path, ...]


class Filler:
    """Computes and writes the missing shards of entries of one training, which may be of several views.

    Args:
      entries: that there are; they differ in view and output only.
      root: the cache's folder.
      verified: files that this process has checked; added to.
      announce: is told of damaged shards.
      thorough: whether the bytes of what is there are checked, where this process has not done so yet; else only names
        and sizes are, and who reads the bytes checks them.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        root: Path,
        verified: Verified,
        announce: Callable[[str], None],
        thorough: bool = False,
    ) -> None:
        self._root = root
        self._verified = verified
        self._announce = announce
        self._thorough = thorough
        self._damaged: set[Path] = set()
        self._computed = self._written = 0
        self._layout = entries[0].layout  # its batches and blocks are those of all
        self._views: dict[int, list[Entry]] = {}
        for entry in sorted(entries, key=lambda entry: entry.identity.key):  # locks are taken in this order
            self._views.setdefault(entry.identity.view, []).append(entry)
        self._missing = {entry.folder: self._missing_of(entry, range(entry.layout.shards)) for entry in entries}

    def missing(self) -> Iterable[tuple[Entry, list[int]]]:
        """Yields every entry with the numbers of the shards that it lacks, also by damage."""
        for entries in self._views.values():
            for entry in entries:
                yield entry, self._missing[entry.folder]

    def run(self, compute: Compute, *, progress: Progress | None, worker: tuple[int, int]) -> Filled:
        """Fills everything; see `TeacherCache.fill`."""
        index, count = worker
        tasks = [(view, block) for view in sorted(self._views) for block in self._blocks_of(view)]
        tasks.sort(key=lambda task: task[1] % count != index)
        total = sum(self._batches_of(view, block) for view, block in tasks)
        report = _Report(progress, total, len(self._views), self._layout.samples)
        with _Writer(self._root) as writer:
            waiting = [task for task in tasks if not self._fill(*task, compute, writer, report, wait=False)]
            for task in waiting:
                self._fill(*task, compute, writer, report, wait=True)
        return Filled(self._computed, self._written, tuple(sorted(self._damaged)))

    def _blocks_of(self, view: int) -> list[int]:
        return sorted(
            {entry.layout.block_of(number) for entry in self._views[view] for number in self._missing[entry.folder]}
        )

    def _batches_of(self, view: int, block: int) -> int:
        needed = {
            start
            for entry in self._views[view]
            for number in self._missing[entry.folder]
            if entry.layout.block_of(number) == block
            for start in entry.layout.rows_of(number)[:: self._layout.batch]
        }
        return len(needed)

    def _missing_of(self, entry: Entry, numbers: Iterable[int]) -> list[int]:
        """Returns which shards are absent or, as far as is looked, damaged."""
        there = entry.shards()
        return [number for number in numbers if number not in there or not self._is_whole(entry, number, there[number])]

    def _is_whole(self, entry: Entry, number: int, path: Path) -> bool:
        try:
            signature = shards.signature(path)
        except FileNotFoundError:  # another process has just removed it, because it is damaged
            return False
        if self._verified.get(path) == signature:
            return True
        if reason := entry.problem(number, path) if self._thorough else entry.size_problem(number, path):
            if path not in self._damaged:
                self._announce(f"{str(path)!r} of the teacher cache is damaged ({reason}): it is made again.")
            self._damaged.add(path)
            return False
        if self._thorough:
            self._verified[path] = signature
        return True

    def _fill(
        self, view: int, block: int, compute: Compute, writer: "_Writer", report: "_Report", *, wait: bool
    ) -> bool:
        """Fills one block; returns False where another process is at it and `wait` is false."""
        batches = self._batches_of(view, block)
        held = self._lock(view, block, wait=wait)
        if held is None:
            return False
        try:
            # Looked at again now that nobody else can be at it: another process may have done it meanwhile.
            lacking = [(entry, self._missing_of(entry, entry.layout.shards_of(block))) for entry in self._views[view]]
            for entry, numbers in lacking:
                there = entry.shards()
                for number in numbers:
                    if number in there:
                        with writing(self._root):
                            there[number].unlink(missing_ok=True)
            done = self._compute(view, {e.folder: (e, set(n)) for e, n in lacking if n}, block, compute, writer, report)
            report.advance(max(0, batches - done), view)
        finally:
            writer.release(held)
        return True

    def _lock(self, view: int, block: int, *, wait: bool) -> list[locks.Lock] | None:
        held: list[locks.Lock] = []
        for entry in self._views[view]:
            if any(entry.layout.block_of(number) == block for number in self._missing[entry.folder]):
                with writing(self._root):
                    lock = locks.acquire(locks.of_block(self._root, entry.identity.key, block), wait=wait)
                if lock is None:
                    for other in held:
                        other.remove()
                    return None
                held.append(lock)
        return held

    def _compute(
        self,
        view: int,
        lacking: dict[Path, tuple[Entry, set[int]]],
        block: int,
        compute: Compute,
        writer: "_Writer",
        report: "_Report",
    ) -> int:
        """Runs the teacher over the batches of a block that some shard lacks; returns how many those were."""
        layout = self._layout
        first = block * layout.block_rows
        rows: dict[Path, np.ndarray] = {}
        done = 0
        for start in range(first, min(first + layout.block_rows, layout.samples), layout.batch):
            wanted = [entry for entry, numbers in lacking.values() if start // entry.layout.shard_rows in numbers]
            if not wanted:
                continue
            # The last batch is made full with the first samples: every row comes from a batch of the same size.
            sample_ids = np.arange(start, start + layout.batch) % layout.samples
            kept = min(layout.batch, layout.samples - start)
            outputs = compute(sample_ids, view)
            for entry in wanted:
                number = start // entry.layout.shard_rows
                span = entry.layout.rows_of(number)
                if start == span.start:
                    rows[entry.folder] = np.empty(entry.shape_of(number), entry.identity.stored_dtype)
                into = rows[entry.folder]
                into[start - span.start : start - span.start + kept] = _checked(
                    outputs, entry.identity, sample_ids, kept
                )
                if start + kept == span.stop:
                    writer.write(entry.folder, number, rows.pop(entry.folder))
                    self._written += into.nbytes
            self._computed += kept
            done += 1
            report.advance(1, view)
        return done


class _Writer:
    """Checksums and writes shards while the teacher computes the next; a few wait at most."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "edgekd-cache-writer")
        self._pending: collections.deque[concurrent.futures.Future[object]] = collections.deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            for job in self._pending:
                job.result()

    def write(self, folder: Path, number: int, rows: np.ndarray) -> None:
        while len(self._pending) >= _SHARDS_IN_FLIGHT:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, folder, number, rows))

    def _write(self, folder: Path, number: int, rows: np.ndarray) -> None:
        with writing(self._root):
            shards.write(folder, number, rows)

    def release(self, held: Iterable[locks.Lock]) -> None:
        """Gives locks back as soon as everything before is written."""
        for lock in held:
            self._pending.append(self._thread.submit(lock.remove))


class _Report:
    """Turns batches into what a progress bar shows."""

    def __init__(self, progress: Progress | None, batches: int, views: int, samples: int) -> None:
        self._progress = progress
        self._batches, self._views, self._samples = batches, views, samples
        self._done = 0

    def advance(self, batches: int, view: int) -> None:
        self._done += batches
        if self._progress is not None and batches:
            of_view = f", view {view}" if self._views > 1 else ""
            self._progress(self._done, self._batches, f"teacher's outputs of {self._samples:,} samples{of_view}")


def _checked(
    outputs: Mapping[str, np.ndarray], identity: OutputIdentity, sample_ids: np.ndarray, kept: int
) -> np.ndarray:
    if identity.output not in outputs:
        raise ModelError(
            f"the teacher gave {', '.join(map(repr, sorted(outputs))) or 'no outputs'}: expected {identity.output!r}, "
            "which the cache is to store."
        )
    rows = outputs[identity.output]
    expected = (len(sample_ids), *identity.shape)
    if rows.shape != expected or rows.dtype != np.float32:
        raise ShapeError(
            f"the teacher's {identity.output!r} is {rows.dtype} {list(rows.shape)} for {len(sample_ids)} samples: "
            f"expected float32 {list(expected)}."
        )
    rows = rows[:kept]
    finite = np.isfinite(rows)
    if not finite.all():
        raise NonFiniteError(
            f"the teacher's {identity.output!r} is NaN or infinite for {_samples(finite, sample_ids)} "
            f"(view {identity.view}): such a teacher teaches nothing. Train it again with a smaller learning rate; "
            "where it computes in float16, let it compute in float32."
        )
    if identity.dtype == "float16":
        fits = np.abs(rows) <= _FLOAT16_MOST
        if not fits.all():
            raise NonFiniteError(
                f"the teacher's {identity.output!r} is as large as {float(np.abs(rows).max()):.6g} for "
                f"{_samples(fits, sample_ids)} (view {identity.view}), and float16 ends at 65504: store it with "
                "dtype: float32."
            )
    return rows


def _samples(good: np.ndarray, sample_ids: np.ndarray) -> str:
    bad = sample_ids[: len(good)][~good.reshape(len(good), -1).all(axis=1)]
    more = f" and {len(bad) - _NAMED_SAMPLES} more" if len(bad) > _NAMED_SAMPLES else ""
    return f"sample{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:_NAMED_SAMPLES].tolist()))}{more}"
