"""What the processes of benchmark_training have in common: taking turns, and timing steps in one's own turn.

It needs the standard library only, so that a Python without edgekd can use it.
"""

import json
import os
import resource
import sys
import time
from typing import Any

_UNCOUNTED = 3  # first steps of a turn: they find batches that were made ready while others had their turns
_LEAST = 8  # counted steps of a turn, however slow: what was made ready may not weigh in their mean


class Turns:
    """Waits for this process' turn, counts the steps in it, and hands the turn back with their times.

    A line with a number of seconds on standard input begins a turn, the end of the input ends the process. Every turn
    is answered by a line of JSON: `ms`, the time of each step, and `cpu_ms`, the processor time of a step.
    """

    def __init__(self) -> None:
        # Libraries that print to standard output must not disturb the answers.
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._samples: list[float] = []
        self._skip = 0
        self._end = 0.0
        self._last = 0.0
        self._cpu = 0.0

    def ready(self, facts: dict[str, Any]) -> None:
        """Says that the warm-up is over, with what is to be reported, and waits for the first turn."""
        self._answer(facts)
        self._begin()

    def step_done(self) -> None:
        """Is called after every step; returns when the next step may begin."""
        now = time.perf_counter()
        if self._skip:
            self._skip -= 1
            if not self._skip:
                self._cpu = _cpu_seconds()
        else:
            self._samples.append(1e3 * (now - self._last))
        if len(self._samples) >= _LEAST and now >= self._end:
            cpu_ms = 1e3 * (_cpu_seconds() - self._cpu) / len(self._samples)
            self._answer({"ms": self._samples, "cpu_ms": cpu_ms})
            self._begin()
        else:
            self._last = time.perf_counter()

    def interrupted(self) -> None:
        """Is called after work that belongs to no step, such as the end of an epoch."""
        self._last = time.perf_counter()

    def _begin(self) -> None:
        line = sys.stdin.readline()
        if not line:
            self._answers.close()
            raise SystemExit(0)
        self._samples, self._skip = [], _UNCOUNTED
        self._last = time.perf_counter()
        self._end = self._last + float(line)

    def _answer(self, content: dict[str, Any]) -> None:
        self._answers.write(json.dumps(content) + "\n")
        self._answers.flush()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
