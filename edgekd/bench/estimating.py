"""Estimates of files for chips that are not at hand: finds the plug-in, checks its settings, makes the records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from edgekd import recipe, registry
from edgekd.bench import availability, files
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact, Estimate, Figures

ESTIMATES = recipe.ESTIMATES


def is_estimate(target: str) -> bool:
    """Returns whether a target is reckoned for, instead of measured on.

    Raises:
      RecipeError: there is no such target.
    """
    return recipe.target_of(target).package == ESTIMATES


def takes(target: str, path: Path) -> bool:
    """Returns whether an estimate is for files of that suffix."""
    return path.suffix.lower() in recipe.target_of(target).plugin.constants["SUFFIXES"]


def estimate(
    models: Sequence[Artifact | Path],
    *,
    target: str,
    root: Path = Path(),
    keep_refused: bool = False,
    **settings: Any,
) -> tuple[Estimate, ...]:
    """Returns what models would take on a chip, one record each. Nothing is measured.

    Args:
      models: artifacts, whose paths are relative to `root` and whose bytes must still be those of their hash, or files.
      target: a plug-in of edgekd/bench/estimates, such as `ethos-u`.
      root: folder of the artifacts.
      keep_refused: whether a file that the target cannot run gives a record that says why, instead of an error.
      settings: the target's own, such as `accelerator="ethos-u55-128"`.

    Raises:
      RecipeError: no such estimate or setting, a value of the wrong type, no model, or one twice.
      TargetError: the program that reckons is not installed.
      StorageError: a file is missing.
      ModelError: the target cannot run a model, or an artifact's file is not the one that was exported.
    """
    found = recipe.target_of(target)
    if found.package != ESTIMATES:
        raise RecipeError(f"target {target!r} is measured on, not reckoned for: use edgekd.bench.measure.")
    if not models:
        raise RecipeError(f"received no model to estimate on {target!r}: give at least one.")
    kind = f"setting of target {found.plugin.name!r}"
    registry.check_arguments(found.plugin, settings, kind=kind)
    registry.check_types(found.plugin, settings, kind=kind)
    names, paths = files.names(models), [files.located(model, root) for model in models]
    for path in paths:
        if not takes(target, path):
            suffixes = " or ".join(found.plugin.constants["SUFFIXES"])
            raise ModelError(
                f"{str(path)!r} cannot be reckoned for {target!r}: expected a file that ends in {suffixes}."
            )
    hashes = [files.checked_sha256(model, path) for model, path in zip(models, paths, strict=True)]
    availability.require(found.plugin)
    module = registry.load(ESTIMATES, found.plugin.name)
    records = []
    for name, path, sha256 in zip(names, paths, hashes, strict=True):
        figures, refusal = None, None
        try:
            figures = cast(Figures, module.estimate(path, **settings))
        except ModelError as error:
            if not keep_refused:
                raise
            refusal = str(error)
        size = path.stat().st_size
        records.append(
            Estimate(artifact=name, target=target, size_bytes=size, sha256=sha256, figures=figures, refusal=refusal)
        )
    return tuple(records)
