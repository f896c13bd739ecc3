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
        except KeyboardInterrupt as interrupt:
            raise self.error("between two saved states; what was finished is kept") from interrupt
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a first signal only sets `received`; a second one stops at once.

        Raises:
          StoppedError: at the end of the block, for a signal that came too late to be asked for within it.
        """
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.check("after the last step; the state is saved")

    def check(self, where: str) -> None:
        """Raises StoppedError if a stop was requested; `where` says what is done and saved."""
        if self.received is not None:
            raise self.error(where)

    def error(self, where: str) -> StoppedError:
        """Returns the error to raise for the received signal."""
        number = self.received or signal.SIGINT
        name = signal.Signals(number).name
        return StoppedError(f"stopped by {name} {where}. The same command goes on.", signal_number=number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        first, self.received = self.received is None, number
        if not (self._deferred and first):
            # Not an Exception: libraries catch those, and go on with half of their work (tf2onnx leaves out an
            # optimisation and writes another file).
            raise KeyboardInterrupt
