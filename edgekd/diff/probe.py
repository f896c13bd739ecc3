"""Compares model files in a process of its own: `python -m edgekd.diff.probe`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import child_process
from edgekd.child_process import Array
from edgekd.diff import diff_models


def answer(question: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Any, Sequence[Array]]:  # noqa: ARG001
    """Returns how two files differ, as a JSON document."""
    return diff_models(Path(question["old"]), Path(question["new"]), check=False).model_dump(mode="json"), ()


if __name__ == "__main__":
    child_process.serve(answer)
