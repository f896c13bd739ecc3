"""Writes the pages of the JSON documents that commands print, from the records that they are made of.

Usage: .venv/bin/python tools/make_schema_pages.py
"""

import argparse
import datetime
import inspect
import re
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.bench import history, report, roofline, samples
from edgekd.diff.records import Difference
from edgekd.inspect.records import Inspection
from edgekd.records import (
    Bounded,
    Comparison,
    DatasetRecord,
    Estimate,
    ExportCheck,
    Figures,
    Gate,
    Interval,
    Latency,
    LatencyComparison,
    LatencySelfTest,
    Machine,
    Measurement,
    OperatorTime,
    OutputError,
    OutputParity,
    Parity,
    ParityFindings,
    Profile,
    Reconstruction,
    Record,
    Sensitivity,
    StageRow,
    Summary,
    TensorSize,
    TensorSpec,
)
from edgekd.report import document
from edgekd.storage import write_text
from edgekd.verify import layers, records

DOCS = Path(__file__).parents[1] / "docs"
COMMAND = ".venv/bin/python tools/make_schema_pages.py"

_VERIFY = "`edgekd verify ... --json` prints one `Verification`, with `--layers` one `LayeredVerification`, and\n"
_VERIFY += "`edgekd verify --stages RUN --json` one `StageTable`."
_VERIFY_RECORDS = (
    *(records.Verification, layers.LayeredVerification, records.StageTable),
    *(records.InputData, records.ModelUse, records.Pair, records.Verdict, records.Tolerance, StageRow),
    *(Reconstruction, Comparison, OutputError, Gate, Interval),
    *(layers.LayerComparison, layers.LayerRow, layers.LayerError, layers.LayersNotCompared),
)
_BENCH = (
    "`edgekd bench ... --json` prints one `BenchReport`, with `--self-test` one `LatencySelfTest`, with\n"
    "`--profile` one `ProfileReport`, for a target that is reckoned for one `EstimateReport`, and for one whose\n"
    "outputs are compared one `ParityReport`.\n"
    "`--history` appends an `Entry` a line, and `--out` keeps one `RawSamples` for each measurement. Units are in the\n"
    "names."
)
_BENCH_RECORDS = (
    *(report.BenchReport, report.ProfileReport, report.EstimateReport, report.ParityReport, LatencySelfTest),
    *(history.Entry, samples.RawSamples),
    *(Measurement, Latency, LatencyComparison, Machine, history.Trend, Gate, Interval),
    *(roofline.Roofline, roofline.Peak, roofline.Point),
    *(TensorSize, Profile, OperatorTime),
    *(Estimate, Figures, Bounded),
    *(Parity, ParityFindings, OutputParity),
    *(samples.ProcessSamples, samples.Cold, samples.Block, samples.SystemState, TensorSpec, samples.ProcessSummary),
)
_RUN = (
    "`edgekd run ... --json` prints one `Summary`, as `train`, `distill`, `export` and `quantize` do with a recipe;\n"
    "it is the run's `summary.json` too. `edgekd report ... --json` prints one `Report`. Units are in the names."
)
_FILES = (
    "`edgekd inspect ... --json` prints one `Inspection`, `edgekd diff ... --json` one `Difference`,\n"
    "`edgekd export --check --json` one `ExportCheck`, `edgekd quantize --sensitivity --json` one `Sensitivity`, and\n"
    "`edgekd data show ... --json` one `DatasetRecord`. Units are in the names."
)
_FILES_RECORDS = (Inspection, Difference, ExportCheck, Sensitivity, DatasetRecord)
_PLAIN = {
    Any: "anything",
    type(None): "null",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime.datetime: "text, a time of ISO 8601",
}


def pages() -> dict[Path, str]:
    """Returns the pages' texts by their paths."""
    return {
        DOCS / "verify-json.md": _page("verify", _VERIFY, _VERIFY_RECORDS),
        DOCS / "bench-json.md": _page("bench", _BENCH, _BENCH_RECORDS),
        DOCS / "reference" / "run-json.md": _page(
            "run", _RUN, _with_parts(Summary, document.Report), guide="../report.md"
        ),
        DOCS / "reference" / "files-json.md": _page(
            "inspect, diff, export and quantize", _FILES, _with_parts(*_FILES_RECORDS), guide="../inspect.md"
        ),
    }


def _with_parts(*whole: type[Record]) -> tuple[type[Record], ...]:
    """Returns records, and after them all records that they are made of."""
    found = list(whole)
    for record in found:  # which grows
        for field in record.model_fields.values():
            found += [part for part in _records(field.annotation) if part not in found]
    return tuple(found)


def _records(annotation: Any) -> Sequence[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return (annotation,)
    return [record for part in typing.get_args(annotation) for record in _records(part)]


def _page(verb: str, introduction: str, kinds: Sequence[type[Record]], *, guide: str | None = None) -> str:
    where = guide or f"{verb}.md"
    parts = [
        f"# The JSON of edgekd {verb}\n",
        f"Made by `{COMMAND}`; a test fails when it is out of date. The [guide]({where}) says what it is about.\n",
        f"{introduction}\nWhile `schema_version` stays, fields may be added, and none changes its meaning.\n",
    ]
    sections = (f"## {each.__name__}\n\n{_text(each)}\n\n{_table(each)}\n" for each in kinds)
    return "\n".join([*parts, *sections])


def _text(record: type[Record]) -> str:
    return inspect.cleandoc(record.__doc__ or "")


def _table(record: type[Record]) -> str:
    rows = [f"| `{name}` | {_in_words(field.annotation)} |" for name, field in record.model_fields.items()]
    return "\n".join(["| field | type |", "|---|---|", *rows])


def _in_words(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, arguments))
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if typing.get_origin(annotation) is tuple:
        return f"list of {_in_words(arguments[0])}"
    if typing.get_origin(annotation) is dict:
        return f"object of {_in_words(arguments[1])}"
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    return f"[{annotation.__name__}](#{re.sub('[^a-z]', '', annotation.__name__.lower())})"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for path, text in pages().items():
        write_text(path, text)
        sys.stdout.write(f"wrote {path}\n")
