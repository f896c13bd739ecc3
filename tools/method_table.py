"""What was found of methods over seeds: the records of tools/compare_methods.py, and the page that shows them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pydantic
from scipy import stats

from edgekd.records import Environment, Interval, Record
from edgekd.report import formatting, intervals

BASELINE = "labels_only"
CONFIDENCE = 0.95
MOST_SPREAD = 1.25  # of one method's times over seeds: beyond it they tell of the machine, and not of methods


class Trained(Record):
    """One training of the table: a method with a seed, or a teacher."""

    seed: int
    accuracy: float
    validation_accuracy: float
    parameters: int
    seconds: float
    epochs: int
    best_epoch: int


class Row(Record):
    """One method over all seeds; intervals are None where one seed alone was trained.

    `accuracy` and `difference` (to labels only, paired by seed) are fractions; `seconds` is the mean over seeds.
    `pairs` counts the seeds that the difference is over: those in which neither side failed. `failures` has the seeds
    whose training did not stay finite, each with the reason.
    """

    name: str
    title: str
    note: str
    objective: str
    trained: tuple[Trained, ...]
    failures: dict[int, str] = pydantic.Field(default_factory=dict)
    mean_accuracy: float | None
    accuracy: Interval | None
    mean_difference: float | None
    difference: Interval | None
    pairs: int | None = None
    seconds: float | None
    parameters: int | None


class GivenTeacher(Record):
    """A teacher that was trained before: its file, and its accuracy on the test split."""

    model: str
    accuracy: float
    parameters: int


class Table(Record):
    """The whole comparison; `given_teacher` where the file gives one, and then there are no `teachers`.

    `data_fingerprint` is over every sample and label; None in records of before it was noted.
    """

    schema_version: int = 1
    command: str
    seeds: tuple[int, ...]
    common: dict[str, Any]
    samples: dict[str, int]
    data_fingerprint: str | None = None
    rows: tuple[Row, ...]
    teachers: tuple[Row, ...]
    given_teacher: GivenTeacher | None = None
    environments: tuple[Environment, ...]


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Returns the mean with its t-interval, or None for fewer than two values."""
    return intervals.mean_interval(values, confidence=CONFIDENCE) if len(values) > 1 else None


def row_of(
    trained: Sequence[Trained],
    baseline: Mapping[int, float],
    *,
    name: str,
    title: str,
    note: str = "",
    objective: str = "",
    failures: Mapping[int, str] | None = None,
) -> Row:
    """Returns the row of one method.

    Args:
      trained: its trainings, one of each seed.
      baseline: the accuracy of labels only, of each seed.
      name: of the method.
      title: for people.
      note: where it is from.
      objective: what it minimises.
      failures: why seeds have no training; there is no difference to the baseline then.
    """
    failures = failures or {}
    accuracies = [each.accuracy for each in trained]
    compared = name != BASELINE and not failures
    pairs = [each.accuracy - baseline[each.seed] for each in trained if compared and each.seed in baseline]
    return Row(
        name=name,
        title=title,
        note=note,
        objective=objective,
        trained=tuple(trained),
        failures=dict(failures),
        mean_accuracy=_mean(accuracies),
        accuracy=mean_interval(accuracies),
        mean_difference=_mean(pairs),
        difference=mean_interval(pairs),
        pairs=len(pairs) or None,
        seconds=_mean([each.seconds for each in trained]),
        parameters=trained[0].parameters if trained else None,
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def page(table: Table) -> str:
    """Returns the table as a page of Markdown, with what may be concluded from it and how it was made."""
    mark = "<!-- Written by tools/compare_methods.py, or by tools/write_results.py from its record: do not edit. -->"
    return "\n\n".join([mark, "# The methods, compared", *body(table)]) + "\n"


def body(table: Table, *, heading: str = "##") -> tuple[str, ...]:
    """Returns the paragraphs and tables of a page, without its title; `heading` is the mark of its headings."""
    parts = (
        _introduction(table),
        "\n".join(_accuracy_lines(table)),
        _conclusion(table),
        f"{heading} Settings",
        _settings(table),
        "\n".join(_method_lines(table)),
        f"{heading} How it was made",
        f"```sh\n{table.command}\n```",
        "\n".join(_environment_lines(table)),
    )
    return tuple(part for part in parts if part)


def _introduction(table: Table) -> str:
    student = table.common["student"]
    timed = _has_times(table)
    teachers = "; ".join(
        f"{row.title.replace('_', ' ')} {percent(row.mean_accuracy, row.accuracy)} % "
        f"({row.parameters:,} parameters{f', trained in {row.seconds:.0f} s' if timed else ''})"
        for row in table.teachers
    )
    dataset = table.common["data"]["dataset"]
    where = "the embedded subset of Fashion-MNIST" if dataset == "embedded" else f"`{dataset}`"
    given = table.given_teacher
    return (
        f"What each way to teach gains a small student, on {where} "
        f"({table.samples['train']:,} training, {table.samples['validation']:,} validation and "
        f"{table.samples['test']:,} test images), over {formatting.counted(len(table.seeds), 'seed')}.\n\n"
        f"For each seed every method has the same student, initial weights, order and augmented views (a born-again "
        f"network has its own), the same {formatting.counted(student['epochs'], 'epoch')}, optimizer and batches; only "
        "what is minimised differs. The epoch is selected on the validation split; the test split is read once for "
        "each trained network, after that. Hyper-parameters are the papers' usual ones except where a note below says "
        "otherwise. Beyond that nothing was tuned: this says how methods do as they come, not how well each can do.\n\n"
        + (
            "Teachers are trained once for each seed, from seeds of their own, and are shared by all methods: "
            f"{teachers}. Their outputs come from the teacher cache (float16, one view for each epoch).\n\n"
            if teachers
            else ""
        )
        + (
            f"One teacher teaches all of them, `{given.model}` ({given.parameters:,} parameters, "
            f"{percent(given.accuracy, None)} % on the test images), which was trained before. Its outputs come from "
            "the teacher cache (float16, one view for each epoch).\n\n"
            if given
            else ""
        )
        + "Accuracies are means over seeds with 95 % t-intervals. Differences to labels only are paired by seed. "
        f"{_of_times(table)}"
    )


def _of_times(table: Table) -> str:
    spread = _spread(table)
    if spread is None:
        return "Times of training are left out: of one seed nobody knows how far they scatter."
    if spread == math.inf:
        return "Times of training are left out: of some trainings none was noted."
    if spread > MOST_SPREAD:
        return (
            "Times of training are left out: the machine had other work too, and one method's differ by a factor of "
            f"{spread:.1f} between seeds."
        )
    return (
        "Seconds are the mean wall time of the student's training steps, reading the cache included, filling it and "
        f"training the teacher not{_trains_two(table)}; one method's differ by a factor of up to {spread:.2f} between "
        "seeds."
    )


def _spread(table: Table) -> float | None:
    """Returns by which factor the times of one method differ between its seeds, at most; of no time, infinity."""
    times = [[each.seconds for each in row.trained] for row in table.rows if len(row.trained) > 1]
    return max((max(each) / min(each) if min(each) else math.inf for each in times), default=None)


def _has_times(table: Table) -> bool:
    spread = _spread(table)
    return spread is not None and spread <= MOST_SPREAD


def _trains_two(table: Table) -> str:
    if not {"mutual_learning", "born_again"} & {row.name for row in table.rows}:
        return ""
    return "; mutual learning trains two networks in that time, and born-again two, one after the other"


def _accuracy_lines(table: Table) -> Iterator[str]:
    timed = _has_times(table)
    seconds = " training, s |" if timed else ""
    yield f"| method | test accuracy, % | difference to labels only, points |{seconds} student's parameters |"
    yield f"|---|---|---|{'---|' * timed}---|"
    for row in table.rows:
        difference = "–" if row.mean_difference is None else percent(row.mean_difference, row.difference, sign="+")
        if row.pairs is not None and row.pairs < len(table.seeds):
            difference += f" (of {formatting.counted(row.pairs, 'seed')})"
        seconds = f" {'–' if row.seconds is None else f'{row.seconds:.0f}'} |" if timed else ""
        parameters = "–" if row.parameters is None else f"{row.parameters:,}"
        yield (
            f"| {row.title}{'*' if row.failures else ''} | {percent(row.mean_accuracy, row.accuracy)} | {difference} "
            f"|{seconds} {parameters} |"
        )
    for row in table.rows:
        if row.failures:
            seeds = ", ".join(str(seed) for seed in row.failures)
            yield f"\n\\* {row.title}: the loss did not stay finite with seed {seeds}; there is no difference to give."


def _conclusion(table: Table) -> str:
    rows = [row for row in table.rows if row.difference is not None]
    if not rows:
        return "With one seed there are no intervals, and nothing may be concluded."
    differences = {row.title: row.difference for row in rows if row.difference is not None}
    better = [title for title, interval in differences.items() if interval.low > 0]
    worse = [title for title, interval in differences.items() if interval.high < 0]
    noise = [title for title in differences if title not in (*better, *worse)]
    half_widths = [100 * intervals.reach(interval) for interval in differences.values()]
    seeds = formatting.counted(len(table.seeds), "seed")
    sentences = [
        f"**What is within noise.** With {seeds} the interval of the difference to labels only leaves out zero for "
        f"{formatting.listed(better) or 'none'} (better), and for {formatting.listed(worse) or 'none'} (worse).",
        f"Within noise are {formatting.listed(noise) or 'none'}.",
        f"The intervals' half-widths have a median of {np.median(half_widths):.1f} points: an effect "
        "smaller than a method's own is not seen here, and of few seeds an interval may be narrow by luck.",
        f"If nothing had an effect, about {len(rows) * (1 - CONFIDENCE):.1g} of "
        f"{formatting.counted(len(rows), 'comparison')} would leave out zero by chance: a single finding is a hint and "
        "no proof.",
    ]
    sentences += _order(rows)
    baseline = next((row for row in table.rows if row.name == BASELINE), None)
    if baseline is not None and baseline.mean_accuracy is not None:
        accuracy = baseline.mean_accuracy
        error = (
            100
            * float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
            * math.sqrt(accuracy * (1 - accuracy) / table.samples["test"])
        )
        sentences.append(
            f"All networks are tested on the same {table.samples['test']:,} images; which images these are adds "
            f"± {error:.1f} points to every accuracy. A difference of two networks has less of that, for they err on "
            "many of the same images, but some; the intervals, which tell of other seeds, have none of it."
        )
    return " ".join(sentences)


def _order(compared: Sequence[Row]) -> Iterator[str]:
    """Yields which method gained most, and which others cannot be told from it, by differences paired by seed."""
    if len(compared) < 2:
        return
    best = max(compared, key=lambda row: -math.inf if row.mean_difference is None else row.mean_difference)
    accuracies = {each.seed: each.accuracy for each in best.trained}
    near = []
    for row in compared:
        behind = mean_interval([accuracies[each.seed] - each.accuracy for each in row.trained])
        if row is not best and (behind is None or behind.low <= 0):
            near.append(row.title)
    yield f"The largest mean gain is that of {best.title}; " + (
        f"paired by seed, its lead on {formatting.listed(near)} includes zero, so the order of these is not shown."
        if near
        else "paired by seed, its lead on every other leaves out zero."
    )


def _settings(table: Table) -> str:
    return (
        f"Student: {_mapping(table.common['student'])}. Teacher: {_mapping(table.common['teacher'])}. "
        f"Data: {_mapping(table.common['data'])}. What is not named has the recipe's default "
        "(`edgekd run RECIPE --print`)."
    )


def _method_lines(table: Table) -> Iterator[str]:
    yield "| method | what is minimised | from |"
    yield "|---|---|---|"
    for row in table.rows:
        objective = "labels" if row.name == BASELINE else row.objective
        yield f"| {row.title} | {objective} | {row.note} |"


def _environment_lines(table: Table) -> Iterator[str]:
    if table.data_fingerprint is not None:
        yield f"- Data, fingerprint `{table.data_fingerprint}`."
    for here in table.environments:
        packages = ", ".join(
            f"{name} {here.packages[name]}" for name in ("tensorflow", "keras", "numpy") if name in here.packages
        )
        yield (
            f"- {here.cpu}, {here.logical_cores} logical cores, {here.memory_bytes / 2**30:.0f} GiB, {here.machine}; "
            f"Python {here.python}, edgekd {here.edgekd}, {packages}."
        )


def percent(mean: float | None, interval: Interval | None, *, sign: str = "") -> str:
    """Returns a mean of fractions in percent, with how far its interval reaches where there is one: `91.13 ± 0.36`."""
    if mean is None:
        return "–"
    if interval is None:
        return f"{100 * mean:{sign}.2f}"
    return f"{100 * mean:{sign}.2f} ± {100 * intervals.reach(interval):.2f}"


def _mapping(section: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key} {{{_mapping(value)}}}" if isinstance(value, Mapping) else f"{key} {value}"
        for key, value in section.items()
    )
