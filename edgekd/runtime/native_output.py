"""What native libraries write to standard error while they work, kept out of the user's terminal."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

from edgekd.errors import EdgekdError


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Captures file descriptor 2 for the block; yields a function that returns the text so far.

    The text of a block that succeeds, that fails with an EdgekdError (whose message carries the cause) or that the
    user stops, is dropped. When anything else escapes, the text is written to the real standard error first, so that
    no clue is lost. Nothing is captured while the logger `edgekd` is at debug level, nor where standard error is
    closed.
    """
    if logging.getLogger("edgekd").isEnabledFor(logging.DEBUG):
        yield str
        return
    try:
        saved = os.dup(2)
    except OSError:  # the process runs without a standard error
        yield str
        return
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, saved)
        buffer = stack.enter_context(tempfile.TemporaryFile())
        _flush()
        os.dup2(buffer.fileno(), 2)

        def text() -> str:
            _flush()
            buffer.seek(0)
            return buffer.read().decode(errors="replace")

        try:
            yield text
        except (EdgekdError, KeyboardInterrupt):
            _restore(saved)
            raise
        except BaseException:
            kept = text()
            _restore(saved)
            os.write(2, kept.encode())
            raise
        _restore(saved)


def import_quietly(module: str) -> None:
    """Imports a module without what its native libraries say to standard error; a failed import says it all."""
    with captured_stderr():
        importlib.import_module(module)


def _restore(saved: int) -> None:
    _flush()
    os.dup2(saved, 2)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
