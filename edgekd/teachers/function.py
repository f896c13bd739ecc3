"""Python functions as teachers."""

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import importing, storage
from edgekd.errors import EdgekdError, ModelError
from edgekd.teachers.frozen import LOGITS, Array, Opened
from edgekd.teachers.networks import source_of


def open_function(function: Callable[[Array], Any], *, name: str, folder: str | None = None) -> Opened:
    """Returns a Python function as a teacher.

    It is called with a copy of the images ([batch, ...] float32), by one thread at a time, and returns the logits, or a
    dict of `logits` and taps. While it runs, `folder` is importable: where a function that was named was found.

    Its identity is its source file and what it returns for the trial batch; so other weights, which it may read from
    anywhere, are another teacher.
    """
    lock = threading.Lock()

    def run(images: Array) -> Mapping[str, Any]:
        with lock, contextlib.nullcontext() if folder is None else importing.importable(folder):
            try:
                returned = function(images.copy())
            except EdgekdError:
                raise
            except Exception as error:  # the user's function may fail in any way
                raise ModelError(
                    f"teacher {name!r} failed with {type(error).__name__} for images {list(images.shape)}: {error}"
                ) from error
        received = returned if isinstance(returned, Mapping) else {LOGITS: returned}
        return {str(key): _array(name, str(key), value) for key, value in received.items()}

    source = _source(function)
    return Opened(
        name=name,
        loader="Python function",
        run=run,
        identity=None if source is None else storage.sha256_file(source),
        uncacheable=""
        if source is not None
        else f"teacher {name!r} is a function without a source file, so its outputs cannot be cached: put it into a "
        "module.",
        runs_own_code=True,
    )


def resolve(name: str, *, input_shape: Sequence[int], num_classes: int, arguments: Mapping[str, Any]) -> Any:
    """Returns the teacher that package.module:function names; the current folder counts as importable.

    A function with one required argument is the teacher: it is given the images. One with two is called as
    function(input_shape, num_classes, **arguments) and returns the teacher: a network or a function.

    Raises:
      ModelError: it cannot be imported, takes neither, fails, or returns nothing that can teach.
    """
    with importing.importable(str(Path.cwd())):
        found = importing.load(name, role="teacher")
        if not (inspect.isroutine(found) or inspect.isclass(found)):
            return found
        required = _required(name, found)
        if required == 1 and not inspect.isclass(found):
            if arguments:
                raise ModelError(
                    f"teacher {name!r} is called with images only, so it takes no arguments: remove "
                    f"{', '.join(arguments)}, or let it take (input_shape, num_classes) and return the teacher."
                )
            return found
        try:
            inspect.signature(found).bind(tuple(input_shape), num_classes, **arguments)
        except TypeError as error:
            raise ModelError(
                f"teacher {name!r} must accept (images), and return logits, or "
                f"(input_shape, num_classes{''.join(f', {key}=' for key in arguments)}), and return a teacher; its "
                f"signature is {inspect.signature(found)}: {error}."
            ) from error
        try:
            build: Callable[..., Any] = found
            return build(tuple(input_shape), num_classes, **arguments)
        except EdgekdError:
            raise
        except Exception as error:  # the user's function may fail in any way
            raise ModelError(f"teacher {name!r} failed with {type(error).__name__}: {error}") from error


def _required(name: str, function: Any) -> int:
    """Returns how many positional arguments a function has that no default fills."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError) as error:
        raise ModelError(f"teacher {name!r} has no signature that could be read: wrap it in a function.") from error
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is inspect.Parameter.empty for each in parameters)


def _array(name: str, key: str, value: Any) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"teacher {name!r} returned {key!r} as a {type(value).__name__} that is no array ({error}): return NumPy "
            "arrays."
        ) from error
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise ModelError(
            f"teacher {name!r} returned {key!r} as {type(value).__name__} of {array.dtype.name}, expected an array of "
            "numbers."
        )
    return array.astype(np.float32)


def _source(function: Any) -> Path | None:
    while isinstance(function, functools.partial):
        function = function.func
    return source_of(function if inspect.isroutine(function) else type(function))
