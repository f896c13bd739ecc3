"""Where a run lost accuracy: each of its networks and files on the test split, against what it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekd import recipe as recipes
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError, StorageError
from edgekd.pipeline.execution import load_data
from edgekd.pipeline.network_rows import errors_of, network_row, reconstruction_row
from edgekd.pipeline.stage import teacher_names
from edgekd.pipeline.summary import SUMMARY_FILE
from edgekd.recipe import RECIPE_FILE, Recipe
from edgekd.records import Artifact, ModelRecord, StageRow, Summary
from edgekd.runtime import predict
from edgekd.runtime.native_output import import_quietly
from edgekd.runtime.selection import all_for, variants
from edgekd.teachers.runnable import open_runnable
from edgekd.verify import stages
from edgekd.verify.records import StageTable

EVERY_RUNTIME = "all"


def stage_table(run: Path, *, runtimes: Sequence[str] = ()) -> StageTable:
    """Returns one row for each network of a finished run, and for each of its files in each runtime.

    A student is compared with the first teacher (the distilled one with the student on labels where nobody taught from
    outside), a sparse or quantised one with the student that it was made of, a file with its network, and a file in a
    further runtime with the same file in the first.

    Args:
      run: the run's folder.
      runtimes: which of these each file is run in, where they open it; "all" of them; its usual one by default.

    Raises:
      StorageError: the folder holds no finished run.
      DataError: the data is not what the run saw.
    """
    if not (run / SUMMARY_FILE).is_file():
        raise StorageError(f"{str(run)!r} holds no finished run (it has no {SUMMARY_FILE}): give a run's folder.")
    summary = Summary.read(run / SUMMARY_FILE)
    recipe = recipes.load(str(run / RECIPE_FILE))
    data = load_data(recipe.data, task=recipe.task)
    if data.fingerprint != summary.data.fingerprint:
        raise DataError(
            f"the data of {str(run)!r} has changed since (fingerprint {data.fingerprint[:12]}, then "
            f"{summary.data.fingerprint[:12]}): the run's networks learned and were tested on other samples."
        )
    if any(not model.foreign for model in summary.models.values()):
        import_quietly("keras")
    rows: list[StageRow] = []
    outputs: dict[str, np.ndarray] = {}
    images, _ = data.test.read(np.arange(len(data.test)))
    for role, model in summary.models.items():
        outputs[role] = _network_outputs(run, recipe, data, role, model)
        rows.append(_network_row(model, outputs, data, images))
    for artifact in summary.artifacts:
        before = artifact.source
        for name, runtime in _ways(run, artifact, runtimes):
            opened = open_runnable(run / artifact.path, runtime_name=runtime)
            with opened.runner as runner:
                outputs[name] = predict(runner, images)
            rows.append(_file_row(name, before, opened.runtime, outputs, data, images))
            before = name if before == artifact.source else before
    return StageTable(run=str(run), dataset=f"{data.name} test", samples=len(data.test), rows=tuple(rows))


def _network_row(model: ModelRecord, outputs: Mapping[str, np.ndarray], data: Dataset, images: np.ndarray) -> StageRow:
    if data.reconstructs:
        return reconstruction_row(model, outputs, errors_of(outputs, data, images))
    return network_row(model, outputs, data.test.labels)


def _file_row(
    name: str, before: str, runtime: str, outputs: Mapping[str, np.ndarray], data: Dataset, images: np.ndarray
) -> StageRow:
    given = outputs[name]
    if not data.reconstructs:
        earlier = (before, outputs[before])
        return stages.stage_row(name, given, data.test.labels, kind="file", runtime=runtime, before=earlier)
    errors = errors_of({each: outputs[each] for each in (name, before)}, data, images)
    return stages.reconstruction_row(
        name, given, errors[name], kind="file", runtime=runtime, before=(before, outputs[before], errors[before])
    )


def _network_outputs(run: Path, recipe: Recipe, data: Dataset, role: str, model: ModelRecord) -> np.ndarray:
    if model.foreign:
        from edgekd.pipeline import foreign

        section = recipe.teacher[teacher_names(recipe).index(role)]
        return foreign.logits(foreign.open_section(section, data), data.test)
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor

    return Predictor(architectures.load_model(run / model.path)).logits(data.test)


def _ways(run: Path, artifact: Artifact, runtimes: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    suffix = (run / artifact.path).suffix.lower()
    known = variants()
    able = [name for name in known if suffix in known[name].suffixes]
    chosen = (
        all_for(suffix)
        if EVERY_RUNTIME in runtimes
        else [name for name in runtimes if name in able or name not in known]
    )
    if not chosen:
        yield artifact.name, None
    for name in chosen:
        yield f"{artifact.name}@{name}", name
