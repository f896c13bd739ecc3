"""A pytest plug-in: which test files cost most processor time, with the processes that they start and wait for.

Unlike the time of a clock, it hardly depends on what else the machine does. On a machine that does nothing else it also
tells the files that wait longest, in which a worker's processor does nothing, and when each worker had nothing left.

Usage: make test-times, or: python -m pytest -p tools.processor_times ...
"""

import resource
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from typing import Any

import pytest

_FILES = 40
_WAITING = 12
_PROPERTY = "processor_seconds"


def _seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class _ProcessorTimes:
    def __init__(self) -> None:
        self._last = 0.0
        self._of_files: dict[str, float] = defaultdict(float)
        self._waited: dict[str, float] = defaultdict(float)
        self._ends: dict[str, float] = {}
        self._begin = time.time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self._last = _seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """Gives the report of a test's set-up, call or tear-down what it cost; reports reach the main process."""
        report = yield
        now = _seconds()
        report.user_properties.append((_PROPERTY, now - self._last))
        self._last = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        seconds = dict(report.user_properties).get(_PROPERTY)
        if isinstance(seconds, float):  # not of a test whose process crashed
            self._of_files[file] += seconds
            self._waited[file] += max(0.0, report.duration - seconds)
        self._ends[getattr(report, "worker_id", "the process")] = report.stop - self._begin

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total = sum(self._of_files.values())
        terminalreporter.section(f"processor time: {total:.1f} s in {len(self._of_files)} files")
        _write(terminalreporter, self._of_files, _FILES)
        terminalreporter.section("waiting")
        _write(terminalreporter, self._waited, _WAITING)
        for worker, seconds in sorted(self._ends.items()):
            terminalreporter.write_line(f"{seconds:8.1f} s  after the start: {worker} is done")


def _write(reporter: pytest.TerminalReporter, seconds: Mapping[str, float], files: int) -> None:
    for file, spent in sorted(seconds.items(), key=lambda item: -item[1])[:files]:
        reporter.write_line(f"{spent:8.1f} s  {file}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_ProcessorTimes(), "processor-times")
