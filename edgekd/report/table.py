"""The table that a run is about: teacher, student on labels, distilled student, and each exported file."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Literal

from edgekd.records import Artifact, Comparison, Interval, Latency, Measurement, ModelRecord, Summary
from edgekd.report import formatting
from edgekd.report.formatting import NOT_MEASURED, TOO_FEW_RUNS
from edgekd.report.intervals import reach

if TYPE_CHECKING:
    from rich.table import Table

TEACHER = "teacher"
STUDENT_LABELS = "student_labels"
STUDENT_DISTILLED = "student_distilled"
STUDENT_SPARSE = "student_sparse"
STUDENT_QUANTIZED = "student_quantized"
REFERENCE = "reference"
FORMATS = {"tflite": "TFLite", "onnx": "ONNX"}
TITLES = {
    TEACHER: "Teacher",
    STUDENT_LABELS: "Student on labels",
    STUDENT_DISTILLED: "Distilled student",
    STUDENT_SPARSE: "Sparse student",
    STUDENT_QUANTIZED: "Int8 student",
}
HEADERS = (
    "Model",
    "Accuracy",
    "Drop, points",
    "Agreement",
    "Parameters",
    "MACs",
    "Size",
    "p50, ms",
    "p90, ms",
    "p99, ms",
)
DROP = "Drop: accuracy below the distilled student's; − where a row is above it."
_NARROW_HEADERS = ("Model", "Accuracy", "Drop, points", "Agreement", "Size", "p50, ms")
_SHORT = {NOT_MEASURED: "–", TOO_FEW_RUNS: "too few"}  # in a terminal, whose columns are narrow
_FILE_COLUMNS = 200  # of output that is not a terminal


@dataclasses.dataclass(frozen=True)
class Row:
    """One model or file; every number is None where it was not measured.

    Attributes:
      name: what the row is called.
      kind: a Keras model or an exported file.
      detail: its architecture, or its format and scheme.
      format: of the file; `keras` for a model.
      scheme: of the file; empty for a model.
      is_reference: whether drop and agreement of the others are against this row.
      accuracy: top-1 fraction on the test split.
      accuracy_interval: of it.
      accuracy_drop: the distilled student's accuracy minus this one's.
      drop_interval: of it.
      agreement: fraction of test samples with the distilled student's class.
      agreement_interval: of it.
      parameters: of the network; a file has those of the model that it was exported from.
      macs: multiply-accumulate operations of one inference.
      size_bytes: of the file.
      latency: of one inference, with the fewest threads that were measured.
      num_threads: of that measurement.
    """

    name: str
    kind: Literal["model", "file"]
    detail: str
    format: str = "keras"
    scheme: str = ""
    is_reference: bool = False
    accuracy: float | None = None
    accuracy_interval: Interval | None = None
    accuracy_drop: float | None = None
    drop_interval: Interval | None = None
    agreement: float | None = None
    agreement_interval: Interval | None = None
    parameters: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    latency: Latency | None = None
    num_threads: int | None = None


def rows(summary: Summary) -> tuple[Row, ...]:
    """Returns the rows: the models in the order of `roles`, then the files."""
    reference = summary.models.get(STUDENT_DISTILLED)
    return (
        *(_model_row(role, summary.models[role], reference) for role in roles(summary)),
        *(_file_row(artifact, summary) for artifact in summary.artifacts),
    )


def roles(summary: Summary) -> tuple[str, ...]:
    """Returns the models in the order teachers, student on labels, distilled student, others."""
    order = {role: place for place, role in enumerate(TITLES)}
    others = sorted(role for role in summary.models if role not in TITLES)
    teachers = [role for role in others if role.startswith(f"{TEACHER}_")]
    found = sorted((role for role in summary.models if role in TITLES), key=lambda role: order[role])
    after = int(found[:1] == [TEACHER])
    return (*found[:after], *teachers, *found[after:], *(role for role in others if role not in teachers))


def title(role: str) -> str:
    """Returns what a model is called in tables and graphs: `teacher_2` is Teacher 2."""
    return TITLES.get(role, role.replace("_", " ").capitalize())


def title_of(name: str, summary: Summary) -> str:
    """Returns what a network or a file is called: a file by its name."""
    return title(name) if name in summary.models else name


def kind_of_file(artifact: Artifact) -> str:
    """Returns a file's format and scheme in words: `TFLite, int8`."""
    return f"{FORMATS.get(artifact.format, artifact.format)}, {artifact.scheme}"


def parts(row: Row) -> tuple[tuple[str, str], ...]:
    """Returns a row's texts in the order of HEADERS, each with its interval in words, which is empty without one."""
    return (
        (row.name, ""),
        _known(formatting.percent(row.accuracy), row.accuracy_interval, formatting.percent_interval),
        _held_to(row, formatting.points(row.accuracy_drop), row.drop_interval, formatting.points_interval),
        _held_to(row, formatting.percent(row.agreement), row.agreement_interval, formatting.percent_interval),
        (formatting.count(row.parameters), ""),
        (formatting.short_count(row.macs), ""),
        (formatting.size(row.size_bytes), ""),
        *_latency_parts(row.latency),
    )


def cells(row: Row) -> tuple[str, ...]:
    """Returns a row's texts in the order of HEADERS, with their intervals in brackets."""
    return tuple(f"{text} [{interval}]" if interval else text for text, interval in parts(row))


def print_to_terminal(summary: Summary, *, file: IO[str] | None = None) -> None:
    """Prints the table to standard output, or to `file`; a narrow terminal gets the most important columns."""
    from rich.console import Console
    from rich.measure import Measurement as Width

    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=_FILE_COLUMNS)
    table = _terminal_table(rows(summary), HEADERS)
    if Width.get(console, console.options.update(width=_FILE_COLUMNS), table).maximum > console.width:
        table = _terminal_table(rows(summary), _NARROW_HEADERS, whole=False)
    console.print(table)


def shown_target(measurements: tuple[Measurement, ...]) -> str | None:
    """Returns the one target whose latencies stand side by side in tables and plots: the first that was measured on."""
    return measurements[0].target if measurements else None


def latency_of(artifact: str, measurements: tuple[Measurement, ...]) -> Measurement | None:
    """Returns the measurement of a file on the shown target with the fewest threads, or None.

    Latencies of two machines are never held to each other: a file that was not measured there has none.
    """
    target = shown_target(measurements)
    found = [each for each in measurements if each.artifact == artifact and each.target == target]
    return min(found, key=lambda measurement: measurement.num_threads, default=None)


def comparison_of(artifact: str, comparisons: tuple[Comparison, ...]) -> Comparison | None:
    """Returns the first comparison of a file with the float student, or None."""
    return next(
        (each for each in comparisons if each.candidate == artifact and each.reference != STUDENT_QUANTIZED), None
    )


def _model_row(role: str, model: ModelRecord, reference: ModelRecord | None) -> Row:
    drop = None
    if reference is not None and reference.accuracy is not None and model.accuracy is not None:
        drop = reference.accuracy - model.accuracy
    # Of the three that every run has, the reader knows what they are.
    named = role in TITLES and not model.foreign
    return Row(
        name=title(role) if named else f"{title(role)} ({model.architecture})",
        kind="model",
        detail=model.architecture,
        is_reference=role == STUDENT_DISTILLED,
        accuracy=model.accuracy,
        accuracy_interval=model.accuracy_interval,
        accuracy_drop=drop,
        parameters=model.parameters,
        macs=model.macs,
    )


def _file_row(artifact: Artifact, summary: Summary) -> Row:
    source = summary.models.get(artifact.source)
    comparison = comparison_of(artifact.name, summary.comparisons)
    measurement = latency_of(artifact.name, summary.measurements)
    return Row(
        name=artifact.name,
        kind="file",
        detail=kind_of_file(artifact),
        format=artifact.format,
        scheme=artifact.scheme,
        accuracy=artifact.accuracy,
        accuracy_interval=_accuracy_interval(artifact, summary),
        accuracy_drop=artifact.accuracy_drop,
        drop_interval=comparison.accuracy_drop if comparison else None,
        agreement=artifact.agreement,
        agreement_interval=comparison.agreement if comparison else None,
        parameters=source.parameters if source else None,
        macs=source.macs if source else None,
        size_bytes=artifact.size_bytes,
        latency=measurement.latency_ms if measurement else None,
        num_threads=measurement.num_threads if measurement else None,
    )


def _accuracy_interval(artifact: Artifact, summary: Summary) -> Interval | None:
    """Returns the interval of a file's accuracy, from its row of the stages with this accuracy; None without one."""
    found = (row.accuracy for row in summary.stages if row.name == artifact.name)
    return next((each for each in found if each.value == artifact.accuracy), None)


def _known(text: str, interval: Interval | None, words: Callable[[Interval], str]) -> tuple[str, str]:
    return text, "" if interval is None else words(interval)


def _held_to(row: Row, text: str, interval: Interval | None, words: Callable[[Interval], str]) -> tuple[str, str]:
    """Returns what tells a row from the reference: of that one, that it is."""
    return (REFERENCE, "") if row.is_reference else _known(text, interval, words)


def _latency_parts(latency: Latency | None) -> tuple[tuple[str, str], ...]:
    if latency is None:
        return ((NOT_MEASURED, ""),) * 3
    return (
        _known(formatting.milliseconds(latency.p50), latency.interval, formatting.milliseconds_interval),
        (formatting.milliseconds(latency.p90), ""),
        (formatting.percentile_99(latency), ""),
    )


def _terminal_table(found: tuple[Row, ...], headers: tuple[str, ...], *, whole: bool = True) -> "Table":
    """Returns the table without the columns for which nothing was measured."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    texts = [dict(zip(HEADERS, _terminal_cells(row, intervals=whole), strict=True)) for row in found]
    headers = tuple(header for header in headers if any(row[header] != NOT_MEASURED for row in texts))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, caption_justify="left")
    for header in headers:
        justify: Literal["left", "right"] = "left" if header == HEADERS[0] else "right"
        table.add_column(header.replace(", ", ",\n"), justify=justify, vertical="middle", overflow="fold")
    for row, cells_ in zip(found, texts, strict=True):
        chosen = (_SHORT.get(cells_[header], cells_[header]) for header in headers)
        table.add_row(*(Text(text) for text in chosen), style="bold" if row.is_reference else None)
    shown = [cells_[header] for cells_ in texts for header in headers]
    table.caption = " · ".join(_notes(headers, shown, whole=whole)) or None
    return table


def _notes(headers: Sequence[str], texts: Sequence[str], *, whole: bool) -> Iterator[str]:
    """Yields what must be said of the signs in a table."""
    if HEADERS[2] in headers:
        yield DROP.removesuffix(".")
    if NOT_MEASURED in texts:
        yield f"{_SHORT[NOT_MEASURED]} {NOT_MEASURED}"
    if TOO_FEW_RUNS in texts:
        yield f"{_SHORT[TOO_FEW_RUNS]}: runs for p99"
    if any("±" in text for text in texts):
        yield "± longer side of the 95 % interval"
    if not whole:
        yield "more in a wider window"


def _terminal_cells(row: Row, *, intervals: bool) -> tuple[str, ...]:
    """Returns a row's texts with short intervals or none, so that no cell has to be broken."""
    texts = [text for text, _ in parts(row)]
    if intervals and row.accuracy_interval is not None:
        texts[1] = _accuracy(texts[1], row.accuracy_interval)
    if intervals and row.latency is not None and row.latency.interval is not None:
        texts[7] = _latency(texts[7], row.latency.interval)
    return tuple(texts)


def _latency(text: str, interval: Interval) -> str:
    """Returns a latency with how far its interval reaches; with the whole where that would be below zero."""
    farthest = reach(interval)
    if farthest < interval.value:
        return f"{text} ± {farthest:.{len(text.partition('.')[2])}f}"
    return f"{text} [{formatting.milliseconds_interval(interval)}]"


def _accuracy(text: str, interval: Interval) -> str:
    """Returns an accuracy with how far its interval reaches; with the whole where that would be beyond 0 or 100 %."""
    farthest = reach(interval)
    if farthest <= min(interval.value, 1 - interval.value):
        return f"{text.removesuffix(' %')} ± {100 * farthest:.2f} %"
    return f"{text} [{formatting.percent_interval(interval)}]"
