"""The verify stage: the one place that reads the test split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.pipeline.results import ExportResult, TrainingResult, VerifyResult
from edgekd.pipeline.stage import (
    EXPORT,
    RECORD_FILE,
    STUDENT_DISTILLED,
    STUDENT_QUANTIZED,
    STUDENT_SPARSE,
    VERIFY,
    Stage,
    Work,
    float_student,
    roles,
    teacher_names,
)
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Comparison, Gate


def _settings(recipe: Recipe) -> Any:
    return recipe.verify.model_dump(mode="json")


def _verify(work: Work) -> list[Path]:
    from edgekd import runtime
    from edgekd.verify import comparison, gates, metrics

    test = work.data.test
    logits, steps = _logits(work)
    accuracies = {
        role: metrics.accuracy_interval(outputs.argmax(axis=-1), test.labels) for role, outputs in logits.items()
    }
    images, labels = test.read(np.arange(len(test)))
    artifacts = ExportResult.read(work.run / EXPORT / RECORD_FILE).artifacts
    comparisons: list[Comparison] = []
    found_gates: list[Gate] = []
    for position, artifact in enumerate(artifacts):
        work.progress.item(position, len(artifacts), artifact.name)
        # A file is judged twice: what sparsity and integers cost, and whether it is the network that it was made from.
        references = dict.fromkeys((STUDENT_DISTILLED, float_student(work.recipe), artifact.source))
        with runtime.open_runner(work.run / artifact.path, check=False) as runner:
            comparisons += [
                comparison.compare(
                    logits[reference],
                    runner,
                    images,
                    labels,
                    names=(reference, artifact.name),
                    dataset=f"{work.data.name} test",
                    step=steps.get(reference),
                )
                for reference in references
            ]
        if artifact.source == STUDENT_QUANTIZED:
            found_gates += gates.same_network_gates(
                comparisons[-1],
                max_beyond_one_lsb=work.recipe.verify.max_beyond_one_lsb if STUDENT_QUANTIZED in steps else None,
                min_agreement=work.recipe.verify.min_agreement_with_int8_student,
            )
    result = VerifyResult(
        accuracies=accuracies,
        comparisons=tuple(comparisons),
        gates=(*_accuracy_gates(work.recipe, artifacts, comparisons), *found_gates, *_sparsity_gates(work, artifacts))
        if work.recipe.export
        else (),
    )
    result.write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE]


def _accuracy_gates(
    recipe: Recipe, artifacts: Sequence[Artifact], comparisons: Sequence[Comparison]
) -> tuple[Gate, ...]:
    """Returns the gates of every file: its accuracy against the distilled student, its agreement with the float one.

    A file of a student that was trained further may well see other images right: only its accuracy is judged.
    """
    from edgekd.verify import gates

    trained_further = recipe.quantize is not None and recipe.quantize.aware is not None
    others = {artifact.name for artifact in artifacts if artifact.source == STUDENT_QUANTIZED and trained_further}
    limits = recipe.verify
    found: list[Gate] = []
    for export in recipe.export:
        name = export.file_name
        found += gates.accuracy_gates(
            (name,),
            tuple(each for each in comparisons if (each.candidate, each.reference) == (name, STUDENT_DISTILLED)),
            max_accuracy_drop=limits.max_accuracy_drop,
            min_agreement=None if name in others else limits.min_agreement,
            agreeing=tuple(
                each for each in comparisons if (each.candidate, each.reference) == (name, float_student(recipe))
            ),
        )
    return tuple(found)


def _sparsity_gates(work: Work, artifacts: Sequence[Artifact]) -> tuple[Gate, ...]:
    """Returns the gates of every file on what makes the student sparse: files may have been trained further."""
    from edgekd.verify import gates

    sparsify = work.recipe.sparsify
    if sparsify is None or sparsify.shrink is not None:
        return ()
    kernels = TrainingResult.read(work.run / STUDENT_SPARSE / RECORD_FILE).model.kernels
    assert kernels is not None  # noqa: S101 - its stage has counted them
    gate = gates.pruned_gate if sparsify.prune is not None else gates.clustered_gate
    return tuple(gate(artifact, kernels) for artifact in artifacts)


def _logits(work: Work) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns the test logits of every network of the run, by role, and the steps between those of integer networks."""
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor
    from edgekd.pipeline import foreign
    from edgekd.quantize import aware

    found, steps = {}, {}
    for role in roles(work.recipe):
        result = TrainingResult.read(work.run / role / RECORD_FILE)
        for record in (result.model, *result.companions):
            if record.foreign:
                section = work.recipe.teacher[teacher_names(work.recipe).index(role)]
                teacher = foreign.open_section(section, work.data)
                foreign.require_unchanged(work, role, teacher)
                found[record.role] = foreign.logits(teacher, work.data.test)
            else:
                model = architectures.load_model(work.run / record.path)
                found[record.role] = Predictor(model).logits(work.data.test)
                step = aware.output_scale(model)
                if step is not None:
                    steps[record.role] = step
    return found, steps


def stage(recipe: Recipe) -> Stage:
    """Returns the stage; it reads every network and every file."""
    return Stage(VERIFY, (*roles(recipe), EXPORT), _settings, _verify)
