"""What makes latencies doubtful, each thing once: whom it is about, and what of it differs from file to file."""

import collections
import dataclasses
import re
from collections.abc import Sequence

from edgekd.records import Measurement
from edgekd.report import formatting, latency

_NUMBER = re.compile(r"(\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?)")

_OF_MACHINE = ("The machine's ", "The host ")  # how sentences begin whose numbers are no file's

_Sentence = tuple[str, tuple[str, ...]]
"""What a measurement is called, and a sentence about it: words and numbers in turn."""


@dataclasses.dataclass(frozen=True)
class Remark:
    """One thing that is to be said of one measurement or of several.

    Attributes:
      of: which these are: `all 6 files`, or their names.
      text: a sentence, with ranges where measurements have other numbers: `the load was 2.3–2.5`.
      each: these numbers of each measurement: `a.tflite: 2.3`; empty where they are the same, or the machine's.
    """

    of: str
    text: str
    each: tuple[str, ...] = ()


def remarks(measurements: Sequence[Measurement]) -> tuple[Remark, ...]:
    """Returns notes and warnings, those of all measurements first and those of the same ones one after the other."""
    said: dict[tuple[tuple[str, ...], int], list[_Sentence]] = {}
    for name, measurement in zip(_names(measurements), measurements, strict=True):
        notes = [(note,) for note in latency.notes(measurement)]
        kinds: collections.Counter[tuple[str, ...]] = collections.Counter()
        for parts in [*notes, *(tuple(_NUMBER.split(warning)) for warning in measurement.warnings)]:
            kind = parts[::2]  # without the numbers
            said.setdefault((kind, kinds[kind]), []).append((name, parts))
            kinds[kind] += 1
    together: dict[str, list[Remark]] = {_all(measurements): []}
    for sentences in said.values():
        remark = _remark(sentences, measurements)
        together.setdefault(remark.of, []).append(remark)
    return tuple(remark for found in together.values() for remark in found)


def _remark(sentences: Sequence[_Sentence], measurements: Sequence[Measurement]) -> Remark:
    """Returns what sentences say that differ in their numbers alone."""
    columns = list(zip(*(parts for _, parts in sentences), strict=True))
    differing = [at for at, texts in enumerate(columns) if len(set(texts)) > 1]
    text = "".join(_range(texts) if at in differing else texts[0] for at, texts in enumerate(columns))
    each: tuple[str, ...] = ()
    if differing and not text.startswith(_OF_MACHINE):
        each = tuple(f"{name}: {_between(parts, differing)}" for name, parts in sentences)
    if len(sentences) == len(measurements):
        return Remark(_all(measurements), text, each)
    named = formatting.listed(list(dict.fromkeys(name for name, _ in sentences)))
    return Remark(f"{len(sentences)} of {len(measurements)} {_noun(measurements)}" if each else named, text, each)


def _range(numbers: Sequence[str]) -> str:
    ordered = sorted(numbers, key=lambda number: float(number.replace(",", "")))
    return f"{ordered[0]}–{ordered[-1]}"


def _between(parts: Sequence[str], differing: Sequence[int]) -> str:
    """Returns a sentence from the first to the last number that differs, with a sign of per cent and a bracket."""
    found = "".join(parts[differing[0] : differing[-1] + 1])
    found += "%" if parts[differing[-1] + 1].startswith("%") else ""
    return found + ")" * (found.count("(") - found.count(")"))


def _names(measurements: Sequence[Measurement]) -> list[str]:
    """Returns what each measurement is called: its file, with target, threads and batch where several have that."""

    def name(measurement: Measurement) -> str:
        others = [each for each in measurements if each.artifact == measurement.artifact]
        parts = [measurement.artifact]
        if len({each.target for each in others}) > 1:
            parts.append(measurement.target)
        if len({each.num_threads for each in others}) > 1:
            parts.append(formatting.counted(measurement.num_threads, "thread"))
        if len({each.batch for each in others}) > 1 and measurement.batch is not None:
            parts.append(f"batch {measurement.batch}")
        return " ".join([parts[0], f"({', '.join(parts[1:])})"] if parts[1:] else parts)

    return [name(measurement) for measurement in measurements]


def _all(measurements: Sequence[Measurement]) -> str:
    return measurements[0].artifact if len(measurements) == 1 else f"All {len(measurements)} {_noun(measurements)}"


def _noun(measurements: Sequence[Measurement]) -> str:
    return "files" if len({each.artifact for each in measurements}) == len(measurements) else "measurements"
