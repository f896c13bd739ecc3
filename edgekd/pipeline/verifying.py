"""The verify stage: the one place that reads the test split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.pipeline import outputs, reconstructing
from edgekd.pipeline.results import ExportResult, VerifyResult
from edgekd.pipeline.stage import (
    EXPORT,
    LATER_STUDENTS,
    PREDICTIONS_FILE,
    RECORD_FILE,
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    STUDENT_QUANTIZED,
    VERIFY,
    Stage,
    Work,
    float_student,
    roles,
)
from edgekd.recipe import OF_RECONSTRUCTION, Recipe, Verify
from edgekd.records import Artifact, Comparison, Gate, Interval


def _settings(recipe: Recipe) -> Any:
    other = OF_RECONSTRUCTION if recipe.task == "classification" else ()
    return recipe.verify.model_dump(mode="json", exclude=set(other))


def _verify(work: Work) -> list[Path]:
    if work.data.reconstructs:
        return reconstructing.verify(work)
    from edgekd import runtime
    from edgekd.pipeline import network_rows, operator_errors, predicting, sparsifying
    from edgekd.verify import comparison, gates, metrics, stages

    test = work.data.test
    models, logits, steps = outputs.of_networks(work)
    accuracies = {role: metrics.accuracy_interval(given.argmax(axis=-1), test.labels) for role, given in logits.items()}
    rows = [network_rows.network_row(model, logits, test.labels) for model in models]
    classes = {role: given.argmax(axis=-1) for role, given in logits.items()}
    images, labels = test.read(np.arange(len(test)))
    artifacts = ExportResult.read(work.run / EXPORT / RECORD_FILE).artifacts
    limits = _within_reach(work.recipe.verify, samples=len(test), outputs=logits[STUDENT_DISTILLED].size)
    comparisons: list[Comparison] = []
    found_gates: list[Gate] = []
    for position, artifact in enumerate(artifacts):
        work.progress.item(position, len(artifacts), artifact.name)
        # A file is judged twice: what sparsity and integers cost, and whether it is the network that it was made from.
        references = dict.fromkeys((STUDENT_DISTILLED, float_student(work.recipe), artifact.source))
        path = work.run / artifact.path
        given, specification = outputs.of_file(path, images)
        comparisons += [
            comparison.compare_outputs(
                logits[reference],
                given,
                labels,
                output=specification,
                names=(reference, artifact.name),
                dataset=f"{work.data.name} test",
                step=steps.get(reference),
            )
            for reference in references
        ]
        before = (artifact.source, logits[artifact.source])
        engine = runtime.engine_of(path)
        rows.append(stages.stage_row(artifact.name, given, labels, kind="file", runtime=engine, before=before))
        classes[artifact.name] = given.argmax(axis=-1)
        if artifact.source == STUDENT_QUANTIZED:
            found_gates += gates.same_network_gates(
                comparisons[-1],
                max_beyond_one_lsb=limits.max_beyond_one_lsb if STUDENT_QUANTIZED in steps else None,
                min_agreement=limits.min_agreement_with_int8_student,
            )
    predicting.predictions(test, classes, artifacts).write(work.folder / PREDICTIONS_FILE)
    result = VerifyResult(
        accuracies=accuracies,
        comparisons=tuple(comparisons),
        gates=(
            *_accuracy_gates(work.recipe, limits, artifacts, comparisons),
            *found_gates,
            *sparsifying.gates(work, artifacts),
        )
        if work.recipe.export
        else (),
        gains=_gains(classes, labels, [model.role for model in models]),
        stages=tuple(rows),
        layers=operator_errors.of_files(work, artifacts, images),
        predictions=PREDICTIONS_FILE,
    )
    result.write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE, work.folder / PREDICTIONS_FILE]


def _gains(classes: Mapping[str, np.ndarray], labels: np.ndarray, found: Sequence[str]) -> dict[str, Interval]:
    """Returns the accuracy of each later student minus that of the student on labels."""
    from edgekd.verify import metrics

    later = [role for role in LATER_STUDENTS if role in found and STUDENT_LABELS in found]
    # What the student on labels loses, seen from the later one, is what that one has gained.
    return {role: metrics.paired_drop_interval(classes[role], classes[STUDENT_LABELS], labels) for role in later}


def _within_reach(limits: Verify, *, samples: int, outputs: int) -> Verify:
    """Returns the limits, none finer than one of so many samples or outputs: nothing finer can be seen."""
    from edgekd.verify.gates import all_but_one_at_most, one_at_least

    drop = limits.max_accuracy_drop
    return limits.model_copy(
        update={
            "max_accuracy_drop": None if drop is None else one_at_least(drop, samples),
            "min_agreement": all_but_one_at_most(limits.min_agreement, samples),
            "max_beyond_one_lsb": one_at_least(limits.max_beyond_one_lsb, outputs),
            "min_agreement_with_int8_student": all_but_one_at_most(limits.min_agreement_with_int8_student, samples),
        }
    )


def _accuracy_gates(
    recipe: Recipe, limits: Verify, artifacts: Sequence[Artifact], comparisons: Sequence[Comparison]
) -> tuple[Gate, ...]:
    """Returns the gates of every file: its accuracy against the distilled student, its agreement with the float one.

    A file of a student that was trained further may well see other images right: only its accuracy is judged.
    """
    from edgekd.verify import gates

    trained_further = recipe.quantize is not None and recipe.quantize.aware is not None
    others = {artifact.name for artifact in artifacts if artifact.source == STUDENT_QUANTIZED and trained_further}
    found: list[Gate] = []
    for export in recipe.export:
        name = export.file_name
        found += gates.accuracy_gates(
            (name,),
            tuple(each for each in comparisons if (each.candidate, each.reference) == (name, STUDENT_DISTILLED)),
            max_accuracy_drop=limits.max_accuracy_drop,
            min_agreement=None if name in others else limits.min_agreement,
            min_accuracy=limits.min_accuracy,
            agreeing=tuple(
                each for each in comparisons if (each.candidate, each.reference) == (name, float_student(recipe))
            ),
        )
    return tuple(found)


def stage(recipe: Recipe) -> Stage:
    """Returns the stage; it reads every network and every file."""
    return Stage(VERIFY, (*roles(recipe), EXPORT), _settings, _verify)
