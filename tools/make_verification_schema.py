"""Writes docs/verify-json.md: the documents of `edgekd verify --json`, from the records that they are made of.

Usage: .venv/bin/python tools/make_verification_schema.py
"""

import inspect
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

from edgekd.records import Comparison, Gate, Interval, OutputError, Record
from edgekd.storage import write_text
from edgekd.verify import layers, records

PAGE = Path(__file__).parents[1] / "docs" / "verify-json.md"
COMMAND = ".venv/bin/python tools/make_verification_schema.py"

_DOCUMENTS = (records.Verification, layers.LayeredVerification, records.StageTable)
_PARTS = (
    *(records.InputData, records.ModelUse, records.Pair, records.Verdict, records.Tolerance, records.StageRow),
    *(Comparison, OutputError, Gate, Interval),
    *(layers.LayerComparison, layers.LayerRow, layers.LayerError),
)


def page() -> str:
    """Returns the page."""
    parts = [
        "# The JSON of edgekd verify\n",
        f"Made by `{COMMAND}`; a test fails when it is out of date. The [guide](verify.md) says what it is about.\n",
        "`edgekd verify ... --json` prints one `Verification`, with `--layers` one `LayeredVerification`, and\n"
        "`edgekd verify --stages RUN --json` one `StageTable`.\n"
        "While `schema_version` stays, fields may be added, and none changes its meaning.\n",
    ]
    sections = (f"## {each.__name__}\n\n{_text(each)}\n\n{_table(each)}\n" for each in (*_DOCUMENTS, *_PARTS))
    return "\n".join([*parts, *sections])


def _text(record: type[Record]) -> str:
    return inspect.cleandoc(record.__doc__ or "")


def _table(record: type[Record]) -> str:
    rows = [f"| `{name}` | {_in_words(field.annotation)} |" for name, field in record.model_fields.items()]
    return "\n".join(["| field | type |", "|---|---|", *rows])


def _in_words(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    if annotation is type(None):
        return "null"
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, arguments))
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if typing.get_origin(annotation) is tuple:
        return f"list of {_in_words(arguments[0])}"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[annotation]
    return f"[{annotation.__name__}](#{re.sub('[^a-z]', '', annotation.__name__.lower())})"


if __name__ == "__main__":
    write_text(PAGE, page())
    sys.stdout.write(f"wrote {PAGE}\n")
