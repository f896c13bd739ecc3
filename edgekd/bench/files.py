"""The files that are measured or reckoned: where they are, what they are called, and that they are the right ones."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from edgekd import external_data, storage
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact


def located(model: Artifact | Path, root: Path) -> Path:
    """Returns where a model's file is; StorageError where there is none."""
    return storage.require_file(root / model.path if isinstance(model, Artifact) else model, "model")


def names(models: Sequence[Artifact | Path]) -> list[str]:
    """Returns what records call the models: artifacts by their names, files by theirs, or by paths where these differ.

    Raises:
      RecipeError: a model is given more than once.
    """
    short = [model.name for model in models]
    found = [
        str(model) if isinstance(model, Path) and short.count(name) > 1 else name
        for model, name in zip(models, short, strict=True)
    ]
    paths = [model.resolve() if isinstance(model, Path) else None for model in models]
    twice = sorted(
        {
            name
            for name, path in zip(found, paths, strict=True)
            if found.count(name) > 1 or (path is not None and paths.count(path) > 1)
        }
    )
    if twice:
        raise RecipeError(f"models to measure are given more than once: {', '.join(twice)}. Give each once.")
    return found


@dataclasses.dataclass(frozen=True)
class Content:
    """What a model is made of: its file, and where an ONNX file keeps constants in files beside it, those too.

    Attributes:
      sha256: of all of them.
      size_bytes: of all of them.
    """

    sha256: str
    size_bytes: int


def content(model: Artifact | Path, path: Path) -> Content:
    """Returns a model's hash and size.

    Raises:
      ModelError: it is not the file that the artifact was, is no ONNX file, or a file beside it is missing.
    """
    beside = external_data.beside(path)
    sha256 = external_data.sha256(path, beside)
    if isinstance(model, Artifact) and sha256 != model.sha256:
        raise ModelError(
            f"{str(path)!r} is not the file that was exported as {model.name!r}: its SHA-256 is {sha256[:12]}..., "
            f"expected {model.sha256[:12]}.... Export it again."
        )
    return Content(sha256, sum(each.stat().st_size for each in (path, *beside)))


def safe_names(given: Sequence[str]) -> list[str]:
    """Returns a safe and distinct file name for each name."""
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model" for name in given]
    found: list[str] = []
    for index, name in enumerate(safe):
        file = name if safe.count(name) == 1 else f"{name}.{index}"
        while file in found or (file != name and file in safe):
            file += "_"
        found.append(file)
    return found
