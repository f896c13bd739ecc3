"""The errors that edgekd raises on purpose.

Every message says what happened, what was expected and what to do, with the received value in it. The command
line prints the message on one line and exits with the error's `exit_code`; a traceback is for `--debug`.
"""

import dataclasses
import difflib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import Literal

_FOR_PROGRAMMERS = (
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    RecursionError,
    OverflowError,
    UnicodeError,
    EOFError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    json.JSONDecodeError,
)
_CODES = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*: |\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .* failed: ?"
)
_MOST_SAID = 400
_CUTOFF = 0.6  # how much alike two names must be, from 0 to 1


class EdgekdError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_code = 2


class RecipeError(EdgekdError):
    """A recipe, option or plug-in name or argument that edgekd does not accept."""


class DataError(EdgekdError):
    """A dataset that is missing, unreadable, truncated or inconsistent."""


class ModelError(EdgekdError):
    """A model or exported file that cannot be built, opened, converted or run."""


class ShapeError(ModelError):
    """Arrays, taps or models whose shapes do not fit together."""


class TapError(ModelError):
    """Taps that a network does not have; `taps` names them as they were asked for."""

    def __init__(self, message: str, *, taps: Iterable[str]) -> None:
        super().__init__(message)
        self.taps = tuple(taps)


Lack = Literal["flex", "tflite", "integer", "onnx"]


@dataclasses.dataclass(frozen=True)
class MissingOperator:
    """One operator that a format, or a scheme in it, does not have.

    Attributes:
      operator: its name, in the words of whoever refused it.
      output: the name of what it makes, or of itself in the graph; empty where that is not known.
      lack: `flex` where TFLite could run TensorFlow's own in its place, `tflite` where it could not, `integer` where
        there is no integer kernel, `onnx` where ONNX has none in the opset.
    """

    operator: str
    output: str
    lack: Lack


class OperatorError(ModelError):
    """A model with operators that the file asked for cannot hold; `operators` has them one by one."""

    def __init__(self, message: str, *, operators: Iterable[MissingOperator] = ()) -> None:
        super().__init__(message)
        self.operators = tuple(operators)


class NonFiniteError(EdgekdError):
    """A loss, metric or weight that became NaN or infinite."""


class StorageError(EdgekdError):
    """A file or folder that cannot be written, or that is damaged or belongs to something else."""


class TargetError(EdgekdError):
    """A device to measure on that cannot be reached, or that lacks what measuring takes."""


class WorkerError(EdgekdError):
    """Worker processes that end again and again before their work is done."""


class StoppedError(EdgekdError):
    """Work that a signal ended after its state was saved; carries the signal's exit status."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def printable(text: str) -> str:
    """Returns a text without what a terminal obeys instead of showing it: such characters stand as escapes.

    Names in a foreign file may hold anything.
    """
    shown = (each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text)
    return "".join(shown)


def said(error: BaseException) -> str:
    """Returns what a library says of a file, as ` (its words)`; nothing where it speaks to its programmers alone.

    A KeyError, a TypeError and the like tell what broke in the library's code, which helps nobody whose file is
    damaged. `--debug` shows them.
    """
    return "" if isinstance(error, _FOR_PROGRAMMERS) else said_in(str(error))


def said_in(text: str) -> str:
    """Returns a library's words as ` (its words)`: on one line, without the names of its classes, codes and calls."""
    words = _CODES.sub("", " ".join(text.split())).removesuffix(".")
    words = words if len(words) <= _MOST_SAID else f"{words[:_MOST_SAID]}..."
    return f" ({words})" if words else ""


def unknown_names(kind: str, received: Iterable[object], known: Iterable[str]) -> str:
    """Returns the message for several names that are not among the known ones, with the nearest of each.

    Args:
      kind: in the singular.
      received: the names.
      known: all that could have been meant.
    """
    names, choices = list(received), sorted(known)
    if len(names) == 1:
        return unknown_name(kind, names[0], choices)
    told = []
    for name in names:
        near = _nearest(name, choices)
        told.append(f"{name!r} (did you mean {near!r}?)" if near else repr(name))
    return f"unknown {kind} {', '.join(told)}. Known: {', '.join(choices) or 'none'}."


def unknown_name(kind: str, received: object, known: Iterable[str]) -> str:
    """Returns the message for a name that is not among the known ones, with the nearest suggested."""
    choices = sorted(known)
    near = _nearest(received, choices)
    suggestion = f" Did you mean {near!r}?" if near else ""
    return f"unknown {kind} {received!r}.{suggestion} Known: {', '.join(choices) or 'none'}."


def _nearest(received: object, choices: list[str]) -> str | None:
    """Returns the one that is most like it, or else the only one whose first word it is."""
    alike = difflib.get_close_matches(str(received), choices, n=1, cutoff=_CUTOFF)
    begun = [each for each in choices if each.startswith((f"{received}_", f"{received}-"))]
    return alike[0] if alike else begun[0] if len(begun) == 1 else None
