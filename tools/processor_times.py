"""A pytest plug-in: which test files cost most processor time, with the processes that they start and wait for.

Unlike the time of a clock, it hardly depends on what else the machine does.

Usage: make test-times, or: python -m pytest -p tools.processor_times ...
"""

import resource
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

_FILES = 25
_PROPERTY = "processor_seconds"


def _seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class _ProcessorTimes:
    def __init__(self) -> None:
        self._last = 0.0
        self._of_files: dict[str, float] = defaultdict(float)

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

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total = sum(self._of_files.values())
        terminalreporter.section(f"processor time: {total:.1f} s in {len(self._of_files)} files")
        for file, seconds in sorted(self._of_files.items(), key=lambda item: -item[1])[:_FILES]:
            terminalreporter.write_line(f"{seconds:8.1f} s  {file}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_ProcessorTimes(), "processor-times")
