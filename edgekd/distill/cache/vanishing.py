"""Looking at files that other processes fill, rename or remove meanwhile: what is missing is gone, not an error."""

import os
from pathlib import Path


def status(path: Path) -> os.stat_result | None:
    """Returns what the system knows of a file, or None where it is gone."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def children(folder: Path) -> list[Path]:
    """Returns what is in a folder, by name; nothing where it is gone, or is no folder."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
