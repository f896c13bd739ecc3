"""The table that a run is about: teacher, student alone, distilled student, and each exported file."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Literal

from edgekd.records import Artifact, Comparison, Interval, Latency, Measurement, ModelRecord, Summary
from edgekd.report import formatting
from edgekd.report import merit as merits
from edgekd.report.formatting import NOT_MEASURED, TOO_FEW_RUNS
from edgekd.report.intervals import reach
from edgekd.report.merit import Merit

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
    STUDENT_LABELS: f"Student {merits.ACCURACY.alone}",
    STUDENT_DISTILLED: "Distilled student",
    STUDENT_SPARSE: "Sparse student",
    STUDENT_QUANTIZED: "Int8 student",
}
_MODEL, _DROP, _AGREEMENT, _MSE, _SQNR, _P50 = "Model", "Drop", "Agreement", "MSE", "SQNR, dB", "p50, ms"
_COSTS = ("Parameters", "MACs", "Size", _P50, "p90, ms", "p99, ms")
_WIDE_ONLY = frozenset({"Parameters", "MACs", "p90, ms", "p99, ms"})
_RATIO = "SQNR: of a file's outputs against those of the network that it was made from."
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
      merit: what it is judged by.
      is_reference: whether drop and agreement of the others are against this row.
      worth: how good it is on the test split: its top-1 accuracy, or AUC.
      worth_interval: of that.
      drop: the distilled student's worth minus this one's.
      drop_interval: of it.
      agreement: fraction of test samples with the distilled student's class.
      agreement_interval: of it.
      mse: mean squared error of what reconstructs.
      ratio: of signal to noise in the outputs of a file, against the distilled student's, in words.
      parameters: of the network; a file has those of the model that it was exported from.
      macs: multiply-accumulate operations of one inference.
      size_bytes: of the file.
      latency: of one inference, with the fewest threads that were measured.
      num_threads: of that measurement.
    """

    name: str
    kind: Literal["model", "file"]
    detail: str
    merit: Merit
    format: str = "keras"
    scheme: str = ""
    is_reference: bool = False
    worth: float | None = None
    worth_interval: Interval | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    agreement: float | None = None
    agreement_interval: Interval | None = None
    mse: float | None = None
    ratio: str | None = None
    parameters: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    latency: Latency | None = None
    num_threads: int | None = None


def headers(*summaries: Summary) -> tuple[str, ...]:
    """Returns the titles of the columns of the table of some runs of one task."""
    merit = merits.of(summaries[0])
    if merit.names_classes:
        return (_MODEL, merit.title, merit.with_unit(_DROP), _AGREEMENT, *_COSTS)
    judged = (merit.title, merit.with_unit(_DROP)) if merit.known(*summaries) else ()
    return (_MODEL, *judged, _MSE, _SQNR, *_COSTS)


def legend(*summaries: Summary) -> str:
    """Returns in sentences what the columns of that table are against."""
    return " ".join(_legend(headers(*summaries), merits.of(summaries[0])))


def rows(summary: Summary) -> tuple[Row, ...]:
    """Returns the rows: the models in the order of `roles`, then the files."""
    merit = merits.of(summary)
    reference = summary.models.get(STUDENT_DISTILLED)
    return (
        *(_model_row(role, summary.models[role], reference, merit) for role in roles(summary)),
        *(_file_row(artifact, summary, merit) for artifact in summary.artifacts),
    )


def roles(summary: Summary) -> tuple[str, ...]:
    """Returns the models in the order teachers, student alone, distilled student, others."""
    order = {role: place for place, role in enumerate(TITLES)}
    others = sorted(role for role in summary.models if role not in TITLES)
    teachers = [role for role in others if role.startswith(f"{TEACHER}_")]
    found = sorted((role for role in summary.models if role in TITLES), key=lambda role: order[role])
    after = int(found[:1] == [TEACHER])
    return (*found[:after], *teachers, *found[after:], *(role for role in others if role not in teachers))


def title(role: str, merit: Merit) -> str:
    """Returns what a model of a run is called in tables and graphs: `teacher_2` is Teacher 2."""
    if role == STUDENT_LABELS:
        return f"Student {merit.alone}"
    return TITLES.get(role, role.replace("_", " ").capitalize())


def title_of(name: str, summary: Summary) -> str:
    """Returns what a network or a file is called: a file by its name."""
    return title(name, merits.of(summary)) if name in summary.models else name


def kind_of_file(artifact: Artifact) -> str:
    """Returns a file's format and scheme in words: `TFLite, int8`."""
    return f"{FORMATS.get(artifact.format, artifact.format)}, {artifact.scheme}"


def parts(row: Row, titles: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Returns a row's texts below some of `headers`, each with its interval in words, which is empty without one."""
    merit = row.merit
    found = {
        _MODEL: (row.name, ""),
        merit.title: _known(merit.number(row.worth), row.worth_interval, merit.interval),
        merit.with_unit(_DROP): _held_to(row, merit.difference(row.drop), row.drop_interval, merit.difference_interval),
        _AGREEMENT: _held_to(
            row, formatting.percent(row.agreement), row.agreement_interval, formatting.percent_interval
        ),
        _MSE: (formatting.number(row.mse), ""),
        _SQNR: (row.ratio or NOT_MEASURED, ""),
        "Parameters": (formatting.count(row.parameters), ""),
        "MACs": (formatting.short_count(row.macs), ""),
        "Size": (formatting.size(row.size_bytes), ""),
        **dict(zip(_COSTS[-3:], _latency_parts(row.latency), strict=True)),
    }
    return tuple(found[each] for each in titles)


def cells(row: Row, titles: Sequence[str]) -> tuple[str, ...]:
    """Returns a row's texts below some of `headers`, with their intervals in brackets."""
    return tuple(f"{text} [{interval}]" if interval else text for text, interval in parts(row, titles))


def print_to_terminal(summary: Summary, *, file: IO[str] | None = None) -> None:
    """Prints the table to standard output, or to `file`; a narrow terminal gets the most important columns."""
    from rich.console import Console
    from rich.measure import Measurement as Width

    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=_FILE_COLUMNS)
    titles = headers(summary)
    table = _terminal_table(rows(summary), titles)
    if Width.get(console, console.options.update(width=_FILE_COLUMNS), table).maximum > console.width:
        narrow = tuple(each for each in titles if each not in _WIDE_ONLY)
        table = _terminal_table(rows(summary), narrow, whole=False)
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


def _model_row(role: str, model: ModelRecord, reference: ModelRecord | None, merit: Merit) -> Row:
    worth = merit.of_model(model)
    best = None if reference is None else merit.of_model(reference)
    # Of the three that every run has, the reader knows what they are.
    named = role in TITLES and not model.foreign
    return Row(
        name=title(role, merit) if named else f"{title(role, merit)} ({model.architecture})",
        kind="model",
        detail=model.architecture,
        merit=merit,
        is_reference=role == STUDENT_DISTILLED,
        worth=worth,
        worth_interval=merit.interval_of_model(model),
        drop=None if best is None or worth is None else best - worth,
        mse=model.reconstruction.mse if model.reconstruction else None,
        parameters=model.parameters,
        macs=model.macs,
    )


def _file_row(artifact: Artifact, summary: Summary, merit: Merit) -> Row:
    source = summary.models.get(artifact.source)
    comparison = comparison_of(artifact.name, summary.comparisons)
    measurement = latency_of(artifact.name, summary.measurements)
    pairs = {(each.candidate, each.reference): each for each in summary.comparisons}
    own = pairs.get((artifact.name, artifact.source))
    return Row(
        name=artifact.name,
        kind="file",
        detail=kind_of_file(artifact),
        format=artifact.format,
        scheme=artifact.scheme,
        merit=merit,
        worth=merit.of_file(artifact),
        worth_interval=_worth_interval(artifact, summary, merit),
        drop=merit.lost_by_file(artifact, comparison),
        drop_interval=merit.drop(comparison) if comparison else None,
        agreement=artifact.agreement,
        agreement_interval=comparison.agreement if comparison else None,
        mse=artifact.reconstruction.mse if artifact.reconstruction else None,
        ratio=formatting.decibels(own.outputs[0].sqnr_db) if own and own.outputs else None,
        parameters=source.parameters if source else None,
        macs=source.macs if source else None,
        size_bytes=artifact.size_bytes,
        latency=measurement.latency_ms if measurement else None,
        num_threads=measurement.num_threads if measurement else None,
    )


def _worth_interval(artifact: Artifact, summary: Summary, merit: Merit) -> Interval | None:
    """Returns the interval of how good a file is: its own, or that of its row of the stages with the same number."""
    own = merit.interval_of_file(artifact)
    if own is not None:
        return own
    found = (merit.of_stage(row) for row in summary.stages if row.name == artifact.name)
    return next((each for each in found if each and each.value == merit.of_file(artifact)), None)


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


def _terminal_table(found: tuple[Row, ...], titles: tuple[str, ...], *, whole: bool = True) -> "Table":
    """Returns the table without the columns for which nothing was measured."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    texts = [dict(zip(titles, _terminal_cells(row, titles, intervals=whole), strict=True)) for row in found]
    shown = tuple(each for each in titles if any(row[each] != NOT_MEASURED for row in texts))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, caption_justify="left")
    for header in shown:
        justify: Literal["left", "right"] = "left" if header == _MODEL else "right"
        table.add_column(header.replace(", ", ",\n"), justify=justify, vertical="middle", overflow="fold")
    for row, cells_ in zip(found, texts, strict=True):
        chosen = (_SHORT.get(cells_[header], cells_[header]) for header in shown)
        table.add_row(*(Text(text) for text in chosen), style="bold" if row.is_reference else None)
    told = [cells_[header] for cells_ in texts for header in shown]
    signs = _signs(told, whole=whole)
    legends = _legend(shown, found[0].merit) if found else ()
    table.caption = " · ".join([*(each.removesuffix(".") for each in legends), *signs]) or None
    return table


def _legend(titles: Sequence[str], merit: Merit) -> Iterator[str]:
    """Yields what columns are against."""
    if merit.with_unit(_DROP) in titles:
        yield f"Drop: {merit.name} below the distilled student's; − where a row is above it."
    if _SQNR in titles:
        yield _RATIO


def _signs(texts: Sequence[str], *, whole: bool) -> Iterator[str]:
    """Yields what must be said of the signs in a table."""
    if NOT_MEASURED in texts:
        yield f"{_SHORT[NOT_MEASURED]} {NOT_MEASURED}"
    if TOO_FEW_RUNS in texts:
        yield f"{_SHORT[TOO_FEW_RUNS]}: runs for p99"
    if any("±" in text for text in texts):
        yield "± longer side of the 95 % interval"
    if not whole:
        yield "more in a wider window"


def _terminal_cells(row: Row, titles: Sequence[str], *, intervals: bool) -> tuple[str, ...]:
    """Returns a row's texts with short intervals or none, so that no cell has to be broken."""
    texts = {title_: text for title_, (text, _) in zip(titles, parts(row, titles), strict=True)}
    merit = row.merit
    if intervals and row.worth_interval is not None and merit.title in texts:
        texts[merit.title] = _worth(texts[merit.title], row.worth_interval, merit)
    if intervals and row.latency is not None and row.latency.interval is not None:
        texts[_P50] = _latency(texts[_P50], row.latency.interval)
    return tuple(texts.values())


def _latency(text: str, interval: Interval) -> str:
    """Returns a latency with how far its interval reaches; with the whole where that would be below zero."""
    farthest = reach(interval)
    if farthest < interval.value:
        return f"{text} ± {farthest:.{len(text.partition('.')[2])}f}"
    return f"{text} [{formatting.milliseconds_interval(interval)}]"


def _worth(text: str, interval: Interval, merit: Merit) -> str:
    """Returns a fraction with how far its interval reaches; with the whole where that would be beyond 0 or 1."""
    farthest = reach(interval)
    if farthest <= min(interval.value, 1 - interval.value):
        return f"{text.removesuffix(merit.sign)} ± {merit.number(farthest)}"
    return f"{text} [{merit.interval(interval)}]"
