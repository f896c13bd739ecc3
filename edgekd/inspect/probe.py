"""Reads model files in a process of its own: `python -m edgekd.inspect.probe`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import child_process
from edgekd.child_process import Array
from edgekd.inspect import _delegation, inspect_model


def answer(question: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Any, Sequence[Array]]:  # noqa: ARG001
    """Returns, as a JSON document, what is in a file or what LiteRT gives to delegates."""
    path = Path(question["path"])
    if question["what"] == "delegation":
        return _delegation.prepared(path).model_dump(mode="json"), ()
    return inspect_model(path, check=False).model_dump(mode="json"), ()


if __name__ == "__main__":
    child_process.serve(answer)
