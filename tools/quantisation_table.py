"""What was found of ways to quantise: the records of tools/compare_quantisation.py, and the page that shows them."""

import math
from collections.abc import Iterator
from typing import Self

import numpy as np
import pydantic
from method_table import percent

from edgekd.records import Environment, Interval, Latency, Record
from edgekd.report import formatting

REFERENCE = "float32"
LABELS = "labels_float32"
CALIBRATED = "int8"
TAUGHT = "int8_aware_taught"
MAX_DROP = 0.001  # the goal: of an int8 file, as a fraction of the test images


class Row(Record):
    """One way over all seeds.

    `accuracy` is the mean over seeds with a t-interval, None for one seed. `drop` is the taught float student's
    accuracy less the file's, paired by seed, likewise with a t-interval; of one seed paired by test image (Agresti and
    Min). Images of several seeds are not put together: the same ones come again with every seed, and are not more.
    """

    name: str
    title: str
    accuracies: tuple[float, ...]
    accuracy: Interval | None
    drop: Interval | None
    size_bytes: int
    latency_ms: Latency | None = None


class Tool(Record):
    """What one tool made of the first seed's taught float student."""

    title: str
    accuracy: float
    drop: Interval
    agreement: float
    sqnr_db: float
    size_bytes: int
    latency_ms: Latency


class Family(Record):
    """All that was found for one architecture: `gain` is taught int8 less float on labels, over seeds.

    There are rows of the names above, and both int8 ones have a drop.
    """

    architecture: str
    seeds: tuple[int, ...]
    command: str
    parameters: int
    epochs: int
    rows: tuple[Row, ...]
    tools: tuple[Tool, ...]
    gain: Interval | None
    latency_warnings: tuple[str, ...]

    def drop_of(self, name: str) -> Interval:
        """Returns the drop of a row; raises ValueError where there is none."""
        drop = next((row.drop for row in self.rows if row.name == name), None)
        if drop is None:
            raise ValueError(f"{self.architecture} has no row {name!r} with a drop")
        return drop

    @pydantic.model_validator(mode="after")
    def _check_rows(self) -> Self:
        missing = {REFERENCE, LABELS} - {row.name for row in self.rows}
        if missing:
            raise ValueError(f"{self.architecture} has no row {', '.join(map(repr, sorted(missing)))}")
        for name in (CALIBRATED, TAUGHT):
            self.drop_of(name)
        return self


class Results(Record):
    """The whole comparison."""

    schema_version: int = 1
    aware_epochs: int
    teacher_accuracy: float
    samples: dict[str, int]
    families: tuple[Family, ...]
    environment: Environment


def page(results: Results) -> str:
    """Returns the page of the documentation."""
    return "\n".join(_page_lines(results)) + "\n"


def _page_lines(results: Results) -> Iterator[str]:
    yield "<!-- Written by tools/compare_quantisation.py: run it again instead of editing. -->\n"
    yield "# Quantisation, measured\n"
    samples = results.samples
    yield (
        f"Students of Fashion-MNIST ({samples['train']:,} training, {samples['validation']:,} validation and "
        f"{samples['test']:,} test images), trained on labels or "
        f"taught by the teacher that comes with edgekd ({results.teacher_accuracy:.2%} on the test split) with DIST, "
        f"then {results.aware_epochs} epochs of quantisation-aware training (QAT) where a row says so. The epoch is "
        "selected on the validation split; every file reads the test split once. Accuracies are means over seeds with "
        "95 % t-intervals. A drop is the taught float32 file's accuracy less the row's, paired by seed, likewise; of a "
        "single seed, as in the tables of other tools, the interval is paired by image (Agresti and Min). "
        "A latency is the geometric mean over processes of their medians, with its 95 % interval. "
        "Sizes and latencies are those of the first seed; all files of a table were measured in one run, taking turns, "
        "and a ratio is to the taught float32 file, with a 95 % interval from the two files' own, as if they had not "
        "taken turns, so it is too wide where the machine slowed both. Medians and ratios of medians stood here "
        "before; they were changed for what the intervals are of, after these measurements had been seen.\n"
    )
    for family in results.families:
        yield from _family_lines(family)
    yield "## How it was made\n"
    commands = "\n".join(family.command for family in results.families)
    yield f"```sh\n{commands}\n```\n"
    here = results.environment
    versions = ", ".join(f"{name} {version}" for name, version in sorted(here.packages.items()))
    yield (
        f"{here.cpu}, {here.logical_cores} logical cores, {here.memory_bytes / 2**30:.0f} GiB, {here.machine}; Python "
        f"{here.python}, edgekd {here.edgekd}, {versions}."
    )


def _family_lines(family: Family) -> Iterator[str]:
    trained = f"{formatting.counted(family.epochs, 'epoch')}, {formatting.counted(len(family.seeds), 'seed')}"
    yield f"## {family.architecture}, {family.parameters:,} parameters, {trained}\n"
    yield "| file | test accuracy, % | drop, points | bytes | latency, ms | ratio |"
    yield "|---|---|---|---|---|---|"
    reference = next(row for row in family.rows if row.name == REFERENCE)
    for row in family.rows:
        mean = float(np.mean(row.accuracies))
        yield (
            f"| {row.title} | {percent(mean, row.accuracy)} | {_drop(row.drop)} | {row.size_bytes:,} "
            f"| {_latency(row.latency_ms)} | {ratio(row.latency_ms, reference.latency_ms)} |"
        )
    yield ""
    yield "Of the first seed's taught float32 network and the same calibration images, what other tools make:\n"
    yield "| int8 file by | test accuracy, % | drop, points | agreement, % | SQNR, dB | bytes | latency, ms | ratio |"
    yield "|---|---|---|---|---|---|---|---|"
    for tool in family.tools:
        yield (
            f"| {tool.title} | {tool.accuracy * 100:.2f} | {_drop(tool.drop)} | "
            f"{tool.agreement * 100:.2f} | {tool.sqnr_db:.1f} | {tool.size_bytes:,} | {_latency(tool.latency_ms)} | "
            f"{ratio(tool.latency_ms, reference.latency_ms)} |"
        )
    yield ""
    yield from _goals(family)


def _goals(family: Family) -> Iterator[str]:
    calibrated, taught = family.drop_of(CALIBRATED), family.drop_of(TAUGHT)
    yield (
        f"Against its float32 student int8 {in_words(calibrated)} when it is calibrated (goal: at most "
        f"{100 * MAX_DROP:.2f} lost; {verdict(calibrated)}), and {in_words(taught)} after QAT taught "
        f"({verdict(taught)}), which is also what "
        "further epochs of teaching did."
    )
    if family.gain is not None:
        sure = "excludes zero" if family.gain.low > 0 or family.gain.high < 0 else "does not exclude zero"
        yield (
            f"Against the float32 student on labels it is {_drop(family.gain)} points, paired by seed; the interval "
            f"{sure}."
        )
    if family.latency_warnings:
        yield f"\nLatencies came with warnings, such as: {family.latency_warnings[0]}"
    yield ""


def verdict(drop: Interval) -> str:
    """Returns whether a drop of accuracy is within the goal: surely, by the estimate, or not."""
    return reached(Interval(value=-drop.value, low=-drop.high, high=-drop.low), -MAX_DROP)


def reached(found: Interval, goal: float) -> str:
    """Returns whether a value is at least its goal: with its whole interval, by the estimate, or not."""
    if found.value > goal or math.isclose(found.value, goal):
        return "met" if found.low > goal or math.isclose(found.low, goal) else "met by the estimate"
    return "missed" if found.high < goal else "missed by the estimate"


def in_words(drop: Interval) -> str:
    """Returns a drop as a loss or a gain: `loses 0.02 ± 0.13 points`."""
    word = "loses" if drop.value >= 0 else "gains"
    return f"{word} {percent(abs(drop.value), drop)} points"


def _drop(interval: Interval | None) -> str:
    return "–" if interval is None else percent(interval.value, interval, sign="+")


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "–"
    if latency.interval is None:
        return f"{latency.p50:.3f}"
    return f"{_centre(latency):.3f} [{latency.interval.low:.3f} to {latency.interval.high:.3f}]"


def ratio(latency: Latency | None, reference: Latency | None) -> str:
    """Returns how many times as long one file takes as another: `1.73 [1.30 to 2.69]`; a dash where one is not known.

    Both the ratio and its interval are of the processes' geometric means, which the intervals of latencies are of: the
    interval is that of the difference of the logarithms, from the intervals of both (MOVER), as if the two files had
    not taken turns. It is too wide where a disturbance slowed both. A file that was measured in too few processes has
    no interval, and its median stands for it; a file beside itself has none, either.

    References:
      Donner and Zou, Closed-form confidence intervals for functions of the normal mean and standard deviation,
      Statistical Methods in Medical Research 21, 2012.
    """
    if latency is None or reference is None:
        return "–"
    value = _centre(latency) / _centre(reference)
    if latency is reference or latency.interval is None or reference.interval is None:
        return f"{value:.2f}"
    # Of intervals that are as wide on both sides of their centres, on logarithms, MOVER adds the halves' squares.
    reach = np.hypot(*(np.log(each.high / each.low) / 2 for each in (latency.interval, reference.interval)))
    return f"{value:.2f} [{value * np.exp(-reach):.2f} to {value * np.exp(reach):.2f}]"


def _centre(latency: Latency) -> float:
    """Returns the geometric mean of process medians; the median of all runs where there were too few processes."""
    return latency.p50 if latency.interval is None else math.sqrt(latency.interval.low * latency.interval.high)
