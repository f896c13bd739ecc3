"""Where a run lost accuracy: each of its networks and files on the test split, against what it was made from."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgekd import recipe as recipes
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError, NonFiniteError, StorageError
from edgekd.pipeline.execution import load_data
from edgekd.pipeline.stage import (
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    STUDENT_QUANTIZED,
    STUDENT_SPARSE,
    TEACHER,
    teacher_names,
)
from edgekd.pipeline.summary import SUMMARY_FILE
from edgekd.recipe import RECIPE_FILE, Recipe
from edgekd.records import Artifact, ModelRecord, Summary
from edgekd.runtime import predict
from edgekd.runtime.native_output import import_quietly
from edgekd.runtime.selection import variants
from edgekd.teachers.runnable import open_runnable
from edgekd.verify import metrics
from edgekd.verify.records import StageRow, StageTable

EVERY_RUNTIME = "all"

# The networks that each is compared with: the first that there is.
_MADE_OF = {
    STUDENT_LABELS: (TEACHER,),
    STUDENT_DISTILLED: (TEACHER, STUDENT_LABELS),
    STUDENT_SPARSE: (STUDENT_DISTILLED,),
    STUDENT_QUANTIZED: (STUDENT_SPARSE, STUDENT_DISTILLED),
}


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
    data = load_data(recipe.data)
    if data.fingerprint != summary.data.fingerprint:
        raise DataError(
            f"the data of {str(run)!r} has changed since (fingerprint {data.fingerprint[:12]}, then "
            f"{summary.data.fingerprint[:12]}): the run's networks learned and were tested on other samples."
        )
    if any(not model.foreign for model in summary.models.values()):
        import_quietly("keras")
    rows: list[StageRow] = []
    outputs: dict[str, np.ndarray] = {}
    for role, model in summary.models.items():
        outputs[role] = _network_outputs(run, recipe, data, role, model)
        rows.append(_row(role, "network", _runner_of(model), outputs, _before(role, outputs), data))
    images, _ = data.test.read(np.arange(len(data.test)))
    for artifact in summary.artifacts:
        before = artifact.source
        for name, runtime in _ways(run, artifact, runtimes):
            opened = open_runnable(run / artifact.path, runtime_name=runtime)
            with opened.runner as runner:
                outputs[name] = predict(runner, images)
            rows.append(_row(name, "file", opened.runtime, outputs, before, data))
            before = name if before == artifact.source else before
    return StageTable(run=str(run), dataset=f"{data.name} test", samples=len(data.test), rows=tuple(rows))


def _network_outputs(run: Path, recipe: Recipe, data: Dataset, role: str, model: ModelRecord) -> np.ndarray:
    if model.foreign:
        from edgekd.pipeline import foreign

        section = recipe.teacher[teacher_names(recipe).index(role)]
        return foreign.logits(foreign.open_section(section, data), data.test)
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor

    return Predictor(architectures.load_model(run / model.path)).logits(data.test)


def _runner_of(model: ModelRecord) -> str:
    return model.architecture.rpartition("run by ")[2] if model.foreign else "keras"


def _before(role: str, earlier: dict[str, np.ndarray]) -> str | None:
    """Returns which of the earlier networks this one came from."""
    chosen = _MADE_OF.get(role, () if role.startswith(TEACHER) else (TEACHER,))
    return next((name for name in chosen if name in earlier), None)


def _ways(run: Path, artifact: Artifact, runtimes: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    suffix = (run / artifact.path).suffix.lower()
    known = variants()
    able = [name for name in known if suffix in known[name].suffixes]
    chosen = able if EVERY_RUNTIME in runtimes else [name for name in runtimes if name in able or name not in known]
    if not chosen:
        yield artifact.name, None
    for name in chosen:
        yield f"{artifact.name}@{name}", name


def _row(
    name: str, kind: str, runtime: str, outputs: dict[str, np.ndarray], before: str | None, data: Dataset
) -> StageRow:
    logits, labels = outputs[name], data.test.labels
    if not np.isfinite(logits).all():
        raise NonFiniteError(f"{name!r} gives NaN or infinity on the test split: something before it is broken.")
    classes = logits.argmax(axis=-1)
    row = StageRow.model_validate(
        {"name": name, "kind": kind, "runtime": runtime, "accuracy": metrics.accuracy_interval(classes, labels)}
    )
    if before is None:
        return row
    earlier = outputs[before].argmax(axis=-1)
    ratio = metrics.sqnr_db(outputs[before], logits)
    return row.model_copy(
        update={
            "before": before,
            "accuracy_drop": metrics.paired_drop_interval(earlier, classes, labels),
            "agreement": metrics.accuracy_interval(classes, earlier),
            "sqnr_db": None if math.isinf(ratio) else ratio,
            "identical": math.isinf(ratio),
        }
    )
