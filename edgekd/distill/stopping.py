"""Stopping on a signal: at the next step while a network trains, at once otherwise; nothing is lost either way."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from edgekd.errors import StoppedError


class StopRequest:
    """Turns SIGINT and SIGTERM into StoppedError, at a moment when the state is saved."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._deferred = False

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Within the block (main thread only) the two signals are handled here."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a first signal only sets `received`; a second one stops at once."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def error(self, where: str) -> StoppedError:
        """Returns the error to raise for the received signal."""
        number = self.received or signal.SIGINT
        name = signal.Signals(number).name
        return StoppedError(f"stopped by {name} {where}. The same command goes on.", signal_number=number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        first, self.received = self.received is None, number
        if not (self._deferred and first):
            raise self.error("between two saved states; what was finished is kept")
