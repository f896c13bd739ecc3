"""Measurements over time: one JSON record a line, appended; series of different things are never mixed."""

import datetime
import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

import filelock
import pydantic
import scipy  # its parts are imported when they are used

from edgekd import storage
from edgekd.bench import stats
from edgekd.errors import StorageError
from edgekd.records import Interval, Measurement, Record

_OPTION = "--history"  # what a user names the file by
_LOCK_SECONDS = 30
_BEGINNING = b'{"schema_version":'  # of every entry
_NO_IDENTITY = ("processes", "precision", "timeout_seconds", "seed")  # settings that change no time of an inference


class Entry(Record):
    """One measurement at one time on one machine; all times within are milliseconds."""

    schema_version: Literal[1] = 1
    time: datetime.datetime
    edgekd: str
    measurement: Measurement

    @property
    def name(self) -> str:
        """The file's own name; a call that measures two files of one name tells them apart by their folders."""
        return PurePath(self.measurement.artifact).name

    @property
    def series(self) -> dict[str, object]:
        """What must be equal for two entries to be the same thing at different times; the model's bytes may differ."""
        it = self.measurement
        where = it.machine and it.machine.model_copy(
            update={"system": ""}
        )  # a system is updated more often than a board is replaced
        return {
            **{key: str(value) for key, value in it.settings.items() if key not in _NO_IDENTITY},
            **{"file": self.name, "machine": where, "target": it.target, "runtime": it.runtime},
            **{"num_threads": it.num_threads, "batch": it.batch, "mode": it.mode, "interval_ms": it.interval_ms},
        }


class Trend(Record):
    """How the newest entry of a series stands to those before it.

    Where entries of the series have the newest one's bytes, it is held to these alone, else to all of the file's name:
    `previous` is the last of them, and `entries` counts them and the newest. `other_entries` of the file's name are of
    other series; `differing` says in what. `ratio` is to the entry before, with an interval that knows the processes of
    both but not that other hours are other conditions; None where either has no interval. `change` is the relative
    change over all entries where there is a clear trend. `changed_file` is whether the model's bytes are other than
    before.
    """

    artifact: str
    target: str
    num_threads: int
    batch: int | None
    entries: int
    previous: Entry | None
    ratio: Interval | None
    change: float | None
    changed_file: bool | None
    other_entries: int = 0
    differing: tuple[str, ...] = ()


def append(path: Path, entries: Sequence[Entry]) -> tuple[Trend, ...]:
    """Adds entries to a file, made where it is missing, and returns the trend of each of their series.

    A last line that was cut off is moved to `torn_path`.

    Raises:
      StorageError: the file is no history, or cannot be written; it is then as it was.
    """
    try:
        with storage.storage_errors(path, option=_OPTION):
            path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
                before = read(path) if path.exists() else ()
                torn = torn_end(path) if path.exists() else b""
                if torn:
                    aside = torn_path(path)
                    before_it = aside.read_bytes() if aside.exists() else b""
                    storage.write_bytes(aside, before_it + torn + b"\n", option=_OPTION)
                lines = "".join(each.model_dump_json() + "\n" for each in (*before, *entries))
                storage.write_text(path, lines, option=_OPTION)
    except filelock.Timeout as error:
        raise StorageError(f"{str(path)!r} is being written by another process: try again.") from error
    return tuple(trend(before, entry) for entry in entries)


def torn_path(path: Path) -> Path:
    """Returns where `append` keeps a history's last line that was cut off."""
    return path.with_name(f"{path.name}.torn")


def torn_end(path: Path) -> bytes:
    """Returns a history's last line where that was cut off: the beginning of an entry, without an end; else nothing."""
    last = path.read_bytes().rpartition(b"\n")[2]
    if not (last.startswith(_BEGINNING) or _BEGINNING.startswith(last)):
        return b""
    try:
        Entry.model_validate_json(last)
    except pydantic.ValidationError as error:
        return last if error.errors()[0]["type"] == "json_invalid" else b""
    return b""


def read(path: Path) -> tuple[Entry, ...]:
    """Returns a history's entries, the oldest first, without a last line that was cut off.

    Raises:
      StorageError: the file is missing, or a line is no entry.
    """
    storage.require_file(path, "history")
    found = []
    whole = path.read_bytes().removesuffix(torn_end(path))
    for number, line in enumerate(whole.decode("utf-8", errors="replace").splitlines(), start=1):
        try:
            found.append(Entry.model_validate_json(line))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise StorageError(
                f"line {number} of {str(path)!r} is no entry of a history ({place + ': ' if place else ''}"
                f"{first['msg']}): mend or remove the line, or name another file."
            ) from error
    return tuple(found)


def trend(before: Sequence[Entry], newest: Entry) -> Trend:
    """Returns how an entry stands to earlier ones, the oldest first, of which only those of its series count."""
    it, series = newest.measurement, newest.series
    named = [each for each in before if each.name == newest.name]
    same = [each for each in named if each.series == series]
    others = [each.series for each in named if each.series != series]
    same = [each for each in same if each.measurement.sha256 == it.sha256] or same
    previous = same[-1] if same else None
    medians = [each.measurement.latency_ms.p50 for each in (*same, newest)]
    return Trend(
        artifact=it.artifact,
        target=it.target,
        num_threads=it.num_threads,
        batch=it.batch,
        entries=len(medians),
        previous=previous,
        ratio=None if previous is None else _ratio(it, previous.measurement),
        change=stats.drift(medians),
        changed_file=None if previous is None else it.sha256 != previous.measurement.sha256,
        other_entries=len(others),
        differing=tuple(
            sorted({key for other in others for key in {*other, *series} if other.get(key) != series.get(key)})
        ),
    )


def _ratio(new: Measurement, old: Measurement) -> Interval | None:
    """Returns the ratio of two intervals on logarithms with Welch's degrees of freedom."""
    this, that = _log_mean(new), _log_mean(old)
    if this is None or that is None:
        return None
    (mean, error, degrees), (old_mean, old_error, old_degrees) = this, that
    variance = error**2 + old_error**2
    if variance == 0:
        value = math.exp(mean - old_mean)
        return Interval(value=value, low=value, high=value)
    welch = variance**2 / (error**4 / degrees + old_error**4 / old_degrees)
    half = float(scipy.special.stdtrit(welch, 0.975)) * math.sqrt(variance)
    return Interval(
        value=math.exp(mean - old_mean), low=math.exp(mean - old_mean - half), high=math.exp(mean - old_mean + half)
    )


def _log_mean(measurement: Measurement) -> tuple[float, float, int] | None:
    """Returns the middle of a t-interval on logarithms, its standard error and its degrees of freedom."""
    interval, processes = measurement.latency_ms.interval, measurement.processes
    if interval is None or processes < stats.MIN_PROCESSES:
        return None
    low, high = math.log(interval.low), math.log(interval.high)
    quantile = float(scipy.special.stdtrit(processes - 1, (1 + interval.confidence) / 2))
    return (low + high) / 2, (high - low) / 2 / quantile, processes - 1
