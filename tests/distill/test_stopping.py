"""Signals: nothing swallows them, none is lost, and a second one stops at once."""

import contextlib
import os
import signal

import pytest

from edgekd.distill.stopping import StopRequest
from edgekd.errors import StoppedError


def work(stop: StopRequest, done: list[str], *signals: int, deferred: bool) -> None:
    with stop.handling_signals():
        with stop.deferred() if deferred else contextlib.nullcontext():
            for number in signals:
                with contextlib.suppress(Exception):  # as libraries do
                    os.kill(os.getpid(), number)
                done.append(signal.Signals(number).name)
        done.append("the next thing")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_library_that_catches_every_exception_does_not_swallow_a_signal(number: int, status: int) -> None:
    done: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedError, match=r"stopped by SIG\w+ between two saved states.*The same command") as stopped:
        work(StopRequest(), done, number, deferred=False)
    assert done == []
    assert stopped.value.exit_code == status
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_nobody_asked_for_in_time_is_not_lost() -> None:
    done: list[str] = []
    with pytest.raises(StoppedError, match="SIGTERM after the last step; the state is saved"):
        work(StopRequest(), done, signal.SIGTERM, deferred=True)
    assert done == ["SIGTERM"]


def test_a_second_signal_does_not_wait() -> None:
    done: list[str] = []
    with pytest.raises(StoppedError, match="SIGTERM between two saved states"):
        work(StopRequest(), done, signal.SIGINT, signal.SIGTERM, deferred=True)
    assert done == ["SIGINT"]


def test_without_a_signal_nothing_stops() -> None:
    done: list[str] = []
    work(StopRequest(), done, deferred=True)
    assert done == ["the next thing"]
