"""Runs the stages of a recipe, in order, each once."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import data
from edgekd.data.dataset import Dataset
from edgekd.pipeline import exporting, measuring, training, verifying
from edgekd.pipeline.folder import RunFolder, stage_key
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import Stage, Work
from edgekd.pipeline.summary import SUMMARY_FILE, summarise
from edgekd.recipe import Data, Recipe
from edgekd.records import Summary
from edgekd.runtime.native_output import import_quietly
from edgekd.storage import write_text

if TYPE_CHECKING:  # importing it would import TensorFlow
    from edgekd.distill.stopping import StopRequest

RECIPE_FILE = "recipe.yaml"
STAGES: tuple[Stage, ...] = (*training.STAGES, exporting.STAGE, verifying.STAGE, measuring.STAGE)


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run gives: its summary, its folder, and which stages had to work (none: there was nothing to do)."""

    summary: Summary
    folder: Path
    worked: tuple[str, ...]


def run(
    recipe: Recipe,
    *,
    out: Path,
    until: tuple[str, ...] | None = None,
    progress: Progress | None = None,
    stop: "StopRequest | None" = None,
) -> RunResult:
    """Runs what of a recipe is not done yet, and writes the summary and the report.

    Args:
      recipe: what to do.
      out: the run's folder; made if missing. Stages that it holds already, of the same settings and data, are kept.
      until: run only these stages and those that they read; all by default.
      progress: is told what happens.
      stop: asked by trainings whether to save and stop.

    Returns:
      The summary of the stages that ran or were kept.

    Raises:
      EdgekdError: bad input, as found before any stage works, or in a stage; finished stages are kept.
    """
    progress = progress or Progress()
    dataset = load_data(recipe.data)
    chosen = _with_inputs(until or tuple(stage.name for stage in STAGES))
    keys = _keys(recipe, fingerprint=dataset.fingerprint)
    with RunFolder(out, recipe_name=recipe.name) as folder:
        todo = [stage for stage in chosen if folder.state(stage.name, keys[stage.name]) != "done"]
        if todo:
            import_quietly("keras")
        if any(stage in training.STAGES for stage in todo):
            from edgekd.pipeline import preflight

            preflight.check(recipe, dataset)
        write_text(out / RECIPE_FILE, recipe.to_yaml())
        for stage in chosen:
            state = folder.state(stage.name, keys[stage.name])
            if state == "done":
                progress.stage_kept(stage.name)
                continue
            if state == "damaged":
                progress.stage_redone(stage.name, "a file that it wrote is missing or has changed")
            progress.stage_started(stage.name)
            started = time.monotonic()
            work = Work(recipe, dataset, keys[stage.name], out, folder.begin(stage.name), progress, stop)
            files = stage.work(work)
            seconds = time.monotonic() - started
            folder.finish(stage.name, keys[stage.name], files=files, seconds=seconds)
            progress.stage_finished(stage.name, seconds)
        summary = summarise(folder, recipe, dataset, tuple(stage.name for stage in chosen))
        if todo or not (out / SUMMARY_FILE).is_file() or Summary.read(out / SUMMARY_FILE) != summary:
            summary.write(out / SUMMARY_FILE)
            from edgekd import report

            report.write(summary, out)
    return RunResult(summary=summary, folder=out, worked=tuple(stage.name for stage in todo))


def load_data(section: Data) -> Dataset:
    """Returns the dataset of a recipe's data section."""
    return data.load(
        section.dataset,
        validation_fraction=section.validation_fraction,
        test_fraction=section.test_fraction,
        split_seed=section.split_seed,
        train_limit=section.train_limit,
        validation_limit=section.validation_limit,
        test_limit=section.test_limit,
        arguments=section.arguments,
    )


def default_folder(recipe: Recipe) -> Path:
    """Returns `runs/<recipe's name>`."""
    return Path("runs") / recipe.name


def _with_inputs(names: tuple[str, ...]) -> tuple[Stage, ...]:
    wanted = set(names)
    for stage in reversed(STAGES):
        if stage.name in wanted:
            wanted |= set(stage.inputs)
    return tuple(stage for stage in STAGES if stage.name in wanted)


def _keys(recipe: Recipe, *, fingerprint: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for stage in STAGES:
        inputs = {"data": fingerprint} | {name: keys[name] for name in stage.inputs}
        keys[stage.name] = stage_key(stage.name, settings=stage.settings(recipe), inputs=inputs)
    return keys
