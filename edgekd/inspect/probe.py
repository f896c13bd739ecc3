"""Reads a model file in a process of its own: `python -m edgekd.inspect.probe FILE`."""

import sys
from pathlib import Path
from typing import Any

from edgekd import child_process
from edgekd.inspect import inspect_model


def main(path: Path) -> Any:
    """Returns what is in the file, as a JSON document."""
    return inspect_model(path, check=False).model_dump(mode="json")


if __name__ == "__main__":
    child_process.answer(main, Path(sys.argv[1]))
