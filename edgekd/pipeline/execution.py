"""Runs the stages of a recipe, in order, each once."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import data, report
from edgekd.data.dataset import Dataset
from edgekd.errors import StorageError
from edgekd.pipeline import (
    distilling,
    exporting,
    measuring,
    networks,
    quantizing,
    sparsifying,
    training,
    verifying,
    workers,
)
from edgekd.pipeline.folder import TRIED_FILE, RunFolder, stage_key
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import CHECKPOINT_FILES, EXPORT, Stage, Work, roles
from edgekd.pipeline.summary import SUMMARY_FILE, summarise
from edgekd.recipe import RECIPE_FILE, Data, Recipe
from edgekd.records import Summary, Task
from edgekd.report import runs
from edgekd.runtime.native_output import import_quietly
from edgekd.storage import check_folder, write_text

if TYPE_CHECKING:  # importing it would import TensorFlow
    from edgekd.distill.stopping import StopRequest


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stages of a recipe, in order."""
    return (
        *training.stages(recipe),
        distilling.stage(recipe),
        *sparsifying.stages(recipe),
        *quantizing.stages(recipe),
        exporting.stage(recipe),
        verifying.stage(recipe),
        measuring.STAGE,
    )


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
    worker_processes: int = 1,
) -> RunResult:
    """Runs what of a recipe is not done yet, and writes the summary and the report.

    Args:
      recipe: what to do.
      out: the run's folder; made if missing. Stages that it holds already, of the same settings and data, are kept.
      until: run only these stages and those that they read; all by default.
      progress: is told what happens.
      stop: asked by trainings whether to save and stop.
      worker_processes: how many processes of this machine share each training; everything else is done by this one.

    Returns:
      The summary of all stages that are done for this recipe and this data, whoever asked for them.

    Raises:
      EdgekdError: bad input, as found before any stage works, or in a stage; finished stages are kept.
    """
    progress = progress or Progress()
    folder = RunFolder(out, recipe_name=recipe.name, dataset=recipe.data.dataset)
    folder.check_owner()
    check_folder(out)
    networks.check_paths(recipe)
    dataset = load_data(recipe.data, task=recipe.task)
    chosen = _with_inputs(stages(recipe), until)
    keys = _keys(recipe, fingerprint=dataset.fingerprint)
    states = {stage.name: folder.state(stage.name, keys[stage.name]) for stage in chosen}
    todo = [stage for stage in chosen if states[stage.name] != "done"]
    progress.run_started(dataset, states, out)
    if todo:
        import_quietly("keras")
    tried = False
    if any(stage.name in roles(recipe) for stage in todo):
        from edgekd.pipeline import preflight

        workers.check(recipe, dataset, worker_processes)
        names = {stage.name for stage in todo}
        before = folder.tried(keys[EXPORT])
        if before == "done":
            names.discard(EXPORT)
        elif before == "damaged" and EXPORT in names:
            progress.preflight_repeated(f"{TRIED_FILE}, which says that its exports were tried before, is damaged")
        preflight.check(recipe, dataset, stages=names)
        tried = EXPORT in names
    worked = []
    with folder:  # until here nothing was written
        write_text(out / RECIPE_FILE, recipe.to_yaml())
        if tried:
            folder.remember_tried(keys[EXPORT])
        for stage in chosen:
            state = folder.state(stage.name, keys[stage.name])
            if state == "done":
                progress.stage_kept(stage.name)
            else:
                if state == "damaged":
                    progress.stage_redone(stage.name, "a file that it wrote is missing or has changed")
                elif state == "stale":
                    progress.stage_redone(stage.name, "its settings, or what it reads, have changed since")
                begun = folder.begin(stage.name)
                work = Work(recipe, dataset, keys[stage.name], out, begun, progress, stop, worker_processes)
                _do(work, stage, folder)
                worked.append(stage.name)
            # Only when the stage is marked as done: a kill in between must not cost the training.
            for checkpoint in folder.stage(stage.name).glob(CHECKPOINT_FILES):
                checkpoint.unlink()
        summary = summarise(folder, recipe, dataset, _done(folder, recipe, keys, chosen))
        if worked or not _is_shown(summary, out):
            report.write([runs.opened(summary, out)], out)
            summary.write(out / SUMMARY_FILE)
    return RunResult(summary=summary, folder=out, worked=tuple(worked))


def load_data(section: Data, *, task: Task = "classification") -> Dataset:
    """Returns the dataset of a recipe's data section, for what networks are to give on it."""
    return data.load(
        section.dataset,
        validation_fraction=section.validation_fraction,
        test_fraction=section.test_fraction,
        split_seed=section.split_seed,
        train_limit=section.train_limit,
        validation_limit=section.validation_limit,
        test_limit=section.test_limit,
        **_unlabelled(section),
        arguments=section.arguments,
        task=task,
    )


def _unlabelled(section: Data) -> dict[str, Any]:
    further = section.unlabelled
    if further is None:
        return {}
    return {
        "unlabelled": further.dataset,
        "unlabelled_arguments": further.arguments,
        "unlabelled_limit": further.limit,
    }


def default_folder(recipe: Recipe) -> Path:
    """Returns `runs/<recipe's name>`."""
    return Path("runs") / recipe.name


def _do(work: Work, stage: Stage, folder: RunFolder) -> None:
    work.progress.stage_started(stage.name)
    started = time.monotonic()
    shared = work.workers > 1 and stage.name in workers.trained_stages(work.recipe)
    files = workers.train(work) if shared else stage.work(work)
    if work.stop:
        work.stop.check("before the stage was done")  # a library may have swallowed the signal, and done half
    seconds = time.monotonic() - started
    folder.finish(stage.name, work.key, files=files, seconds=seconds)
    work.progress.stage_finished(stage.name, seconds)


def _done(folder: RunFolder, recipe: Recipe, keys: dict[str, str], chosen: tuple[Stage, ...]) -> tuple[str, ...]:
    """Returns the chosen stages, and what earlier runs did of the others: it must not vanish from the summary."""
    done: list[str] = []
    chosen_names = {stage.name for stage in chosen}
    for stage in stages(recipe):
        whole = stage.name in chosen_names or folder.state(stage.name, keys[stage.name]) == "done"
        if whole and set(stage.inputs) <= set(done):
            done.append(stage.name)
    return tuple(done)


def _is_shown(summary: Summary, out: Path) -> bool:
    """Whether the summary and the report are there and hold what they should."""
    if not all((out / name).is_file() for name in (SUMMARY_FILE, report.HTML_FILE, report.MARKDOWN_FILE)):
        return False
    try:
        return Summary.read(out / SUMMARY_FILE) == summary
    except StorageError:
        return False


def _with_inputs(every: tuple[Stage, ...], until: tuple[str, ...] | None) -> tuple[Stage, ...]:
    wanted = {stage.name for stage in every if until is None or stage.name in until}
    for stage in reversed(every):
        if stage.name in wanted:
            wanted |= set(stage.inputs)
    return tuple(stage for stage in every if stage.name in wanted)


def _keys(recipe: Recipe, *, fingerprint: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for stage in stages(recipe):
        inputs = {"data": fingerprint} | {name: keys[name] for name in stage.inputs}
        keys[stage.name] = stage_key(stage.name, settings=stage.settings(recipe), inputs=inputs)
    return keys
