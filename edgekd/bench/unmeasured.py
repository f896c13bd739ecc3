"""What estimates and parities share: they take files and settings of their own, and measure nothing."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import recipe, registry
from edgekd.bench import availability, files
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact

TREATED = {
    recipe.TARGETS: "measured on (edgekd.bench.measure)",
    recipe.ESTIMATES: "reckoned for (edgekd.bench.estimate)",
    recipe.PARITIES: "compared with (edgekd.bench.check_parity)",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """One model that is to be looked at.

    Attributes:
      name: what records call it.
      path: its file.
      content: its hash and size.
    """

    name: str
    path: Path
    content: files.Content


def takes(target: str, path: Path) -> bool:
    """Returns whether an estimate or a parity is for files of that suffix."""
    return path.suffix.lower() in recipe.target_of(target).plugin.constants["SUFFIXES"]


def checked(
    models: Sequence[Artifact | Path], target: recipe.Target, settings: Mapping[str, Any], *, root: Path, verb: str
) -> tuple[Model, ...]:
    """Returns the models of a call, after its settings, its files and what the target needs were checked.

    Args:
      models: artifacts, whose paths are relative to `root` and whose bytes must still be those of their hash, or files.
      target: a described plug-in.
      settings: for it.
      root: folder of the artifacts.
      verb: what is done with a model, as a participle, for messages.

    Raises:
      RecipeError: no such setting, a value of the wrong type, no model, or one twice.
      TargetError: the machine lacks what the target needs.
      StorageError: a file is missing.
      ModelError: a file of another suffix, or an artifact's file that is not the one that was exported.
    """
    name = target.name
    if not models:
        raise RecipeError(f"received no model to be {verb} for {name!r}: give at least one.")
    if target.address is not None:
        raise RecipeError(f"target {name!r} is written {name!r}: it has no address.")
    kind = f"setting of target {name!r}"
    registry.check_arguments(target.plugin, settings, kind=kind)
    registry.check_types(target.plugin, settings, kind=kind)
    names, paths = files.names(models), [files.located(model, root) for model in models]
    suffixes = target.plugin.constants["SUFFIXES"]
    for path in paths:
        if path.suffix.lower() not in suffixes:
            raise ModelError(
                f"{str(path)!r} cannot be {verb} for {name!r}: expected a file that ends in {' or '.join(suffixes)}."
            )
    contents = [files.content(model, path) for model, path in zip(models, paths, strict=True)]
    availability.require(target.plugin, settings)
    return tuple(map(Model, names, paths, contents))
