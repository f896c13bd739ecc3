"""Estimates of files for chips that are not at hand: calls the plug-in and makes the records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from edgekd import recipe, registry
from edgekd.bench import unmeasured
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact, Estimate, Figures

ESTIMATES = recipe.ESTIMATES


def is_estimate(target: str) -> bool:
    """Returns whether a target is reckoned for, instead of measured on.

    Raises:
      RecipeError: there is no such target.
    """
    return recipe.target_of(target).package == ESTIMATES


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
        raise RecipeError(f"target {target!r} is {unmeasured.TREATED[found.package]}, not reckoned for.")
    chosen = unmeasured.checked(models, found, settings, root=root, verb="reckoned")
    module = registry.load(ESTIMATES, found.plugin.name)
    records = []
    for model in chosen:
        figures, refusal = None, None
        try:
            figures = cast(Figures, module.estimate(model.path, **settings))
        except ModelError as error:
            if not keep_refused:
                raise
            refusal = str(error)
        records.append(
            Estimate(
                artifact=model.name,
                target=target,
                size_bytes=model.content.size_bytes,
                sha256=model.content.sha256,
                figures=figures,
                refusal=refusal,
            )
        )
    return tuple(records)
