"""Processes in which models are opened, kept from one test to the next: starting one takes half a second."""

import importlib
import os
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.child_process import Child, Limits, default_limits

# Who starts children of a module that opens or reads one file after the other.
_STARTERS = (
    "edgekd.diff",
    "edgekd.golden.recording",
    "edgekd.inspect",
    "edgekd.runtime.isolated",
    "edgekd.verify.layers.files",
    "edgekd.verify.reading",
)
_MOST = 8


class Waiting:
    """Children that have answered, and have nothing to do until somebody wants one like them."""

    def __init__(self) -> None:
        self._children: list[tuple[Hashable, Child]] = []

    def __call__(self, module: str, *, limits: Limits | None = None) -> "_Lent":
        """Stands in for `Child`: a waiting one of that module, with those limits and this environment, or a new one."""
        limits = limits or default_limits()
        variables = frozenset(each for each in os.environ.items() if each[0] != "PYTEST_CURRENT_TEST")
        key = (module, limits, variables)
        for place, (other, child) in enumerate(self._children):
            if other == key:
                del self._children[place]
                if not child.has_ended:
                    return _Lent(child, key, self)
                child.close()
                break
        return _Lent(Child(module, limits=limits), key, self)

    def add(self, key: Hashable, child: Child) -> None:
        self._children.append((key, child))
        if len(self._children) > _MOST:
            self._children.pop(0)[1].close()

    def close(self) -> None:
        while self._children:
            self._children.pop()[1].close()


class _Lent:
    """A child until it is closed, when it goes back; one that last answered with an error is ended."""

    def __init__(self, child: Child, key: Hashable, waiting: Waiting) -> None:
        self._child, self._key, self._waiting = child, key, waiting
        self._closed = self._failed = False

    @property
    def is_alive(self) -> bool:
        return not self._closed and self._child.is_alive

    @property
    def has_ended(self) -> bool:
        return self._closed or self._child.has_ended

    def ask(
        self, question: Any, arrays: Sequence[np.ndarray] = (), *, path: Path, doing: str, hint: str = ""
    ) -> tuple[Any, tuple[np.ndarray, ...]]:
        assert not self._closed, f"{question} was asked of a child that had been closed"
        self._failed = True
        answer = self._child.ask(question, arrays, path=path, doing=doing, hint=hint)
        self._failed = False
        return answer

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._failed:
            self._child.close()
        else:
            self._waiting.add(self._key, self._child)


@pytest.fixture(scope="module")  # other modules count the processes that are left
def waiting_children() -> Iterator[Waiting]:
    waiting = Waiting()
    yield waiting
    waiting.close()


@pytest.fixture
def kept_children(waiting_children: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets children go on from one test to the next, for tests that are not about starting, crashing or ending them."""
    for name in _STARTERS:
        monkeypatch.setattr(importlib.import_module(name), "Child", waiting_children)
