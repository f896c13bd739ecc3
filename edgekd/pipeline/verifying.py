"""The verify stage: the one place that reads the test split."""

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.pipeline.results import ExportResult, TrainingResult, VerifyResult
from edgekd.pipeline.stage import (
    EXPORT,
    RECORD_FILE,
    STUDENT_DISTILLED,
    VERIFY,
    Stage,
    Work,
    roles,
    teacher_names,
)
from edgekd.recipe import Recipe


def _settings(recipe: Recipe) -> Any:
    return recipe.verify.model_dump(mode="json")


def _verify(work: Work) -> list[Path]:
    from edgekd import runtime
    from edgekd.verify import comparison, gates, metrics

    test = work.data.test
    logits = _logits(work)
    accuracies = {
        role: metrics.accuracy_interval(outputs.argmax(axis=-1), test.labels) for role, outputs in logits.items()
    }
    images, labels = test.read(np.arange(len(test)))
    artifacts = ExportResult.read(work.run / EXPORT / RECORD_FILE).artifacts
    comparisons = []
    for position, artifact in enumerate(artifacts):
        work.progress.item(position, len(artifacts), artifact.name)
        with runtime.open_runner(work.run / artifact.path, check=False) as runner:
            comparisons.append(
                comparison.compare(
                    logits[STUDENT_DISTILLED],
                    runner,
                    images,
                    labels,
                    names=(STUDENT_DISTILLED, artifact.name),
                    dataset=f"{work.data.name} test",
                )
            )
    result = VerifyResult(
        accuracies=accuracies,
        comparisons=tuple(comparisons),
        gates=gates.accuracy_gates(
            tuple(export.file_name for export in work.recipe.export),
            tuple(comparisons),
            max_accuracy_drop=work.recipe.verify.max_accuracy_drop,
            min_agreement=work.recipe.verify.min_agreement,
        )
        if work.recipe.export
        else (),
    )
    result.write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE]


def _logits(work: Work) -> dict[str, np.ndarray]:
    """Returns the test logits of every network of the run, by role."""
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor
    from edgekd.pipeline import foreign

    found = {}
    for role in roles(work.recipe):
        result = TrainingResult.read(work.run / role / RECORD_FILE)
        for record in (result.model, *result.companions):
            if record.foreign:
                section = work.recipe.teacher[teacher_names(work.recipe).index(role)]
                teacher = foreign.open_section(section, work.data)
                foreign.require_unchanged(work, role, teacher)
                found[record.role] = foreign.logits(teacher, work.data.test)
            else:
                found[record.role] = Predictor(architectures.load_model(work.run / record.path)).logits(work.data.test)
    return found


def stage(recipe: Recipe) -> Stage:
    """Returns the stage; it reads every network and every file."""
    return Stage(VERIFY, (*roles(recipe), EXPORT), _settings, _verify)
