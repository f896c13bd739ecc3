"""Runs models and tells how they compute, in a process of its own: `python -m edgekd.verify.probe`."""

from typing import Any

from edgekd import child_process
from edgekd.runtime import probe
from edgekd.runtime.runner import Array
from edgekd.verify import reading


class _Host(probe.Host):
    """Answers the questions of `edgekd.verify.reading` too."""

    def answer(self, question: Any, arrays: tuple[Array, ...]) -> tuple[Any, tuple[Array, ...]]:
        """Returns what a question asks for; see `edgekd.verify.reading.answer` and `edgekd.runtime.probe`."""
        if isinstance(question, dict) and "read" in question:
            return reading.answer(**question)
        return super().answer(question, arrays)


if __name__ == "__main__":
    child_process.serve(_Host().answer)
