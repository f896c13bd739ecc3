"""Whether other processors' kernels compute what this machine's do: calls the plug-in and makes the records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from edgekd import recipe, registry
from edgekd.bench import unmeasured
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact, Parity, ParityFindings

PARITIES = recipe.PARITIES


def is_parity(target: str) -> bool:
    """Returns whether outputs of a target are compared, instead of times measured.

    Raises:
      RecipeError: there is no such target.
    """
    return recipe.target_of(target).package == PARITIES


def check_parity(
    models: Sequence[Artifact | Path],
    *,
    target: str,
    root: Path = Path(),
    keep_refused: bool = False,
    **settings: Any,
) -> tuple[Parity, ...]:
    """Returns how far models' outputs elsewhere are from those here, one record each. Nothing is timed.

    Args:
      models: artifacts, whose paths are relative to `root` and whose bytes must still be those of their hash, or files.
      target: a plug-in of edgekd/bench/parities, such as `qemu-aarch64`.
      root: folder of the artifacts.
      keep_refused: whether a file that cannot be run there gives a record that says why, instead of an error.
      settings: the target's own, such as `samples=8`.

    Raises:
      RecipeError: no such target or setting, a value of the wrong type, no model, or one twice.
      TargetError: what the target needs is missing or does not work.
      StorageError: a file is missing.
      ModelError: a model cannot be run, or an artifact's file is not the one that was exported.
    """
    found = recipe.target_of(target)
    if found.package != PARITIES:
        raise RecipeError(f"target {target!r} is {unmeasured.TREATED[found.package]}: its outputs are not compared.")
    chosen = unmeasured.checked(models, found, settings, root=root, verb="run")
    module = registry.load(PARITIES, found.plugin.name)
    records = []
    for model in chosen:
        findings, refusal = None, None
        try:
            findings = cast(ParityFindings, module.compare(model.path, **settings))
        except ModelError as error:
            if not keep_refused:
                raise
            refusal = str(error)
        records.append(
            Parity(
                artifact=model.name,
                target=target,
                size_bytes=model.content.size_bytes,
                sha256=model.content.sha256,
                findings=findings,
                refusal=refusal,
            )
        )
    return tuple(records)
