"""Puts the stages' records together into the summary."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgekd import environment
from edgekd.data.batches import steps_per_epoch
from edgekd.data.dataset import Dataset
from edgekd.pipeline.folder import RunFolder
from edgekd.pipeline.results import BenchResult, ExportResult, TrainingResult, VerifyResult
from edgekd.pipeline.stage import (
    BENCH,
    EXPORT,
    RECORD_FILE,
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    VERIFY,
    roles,
    teacher_names,
)
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Comparison, EpochRecord, Gate, ModelRecord, Summary, TrainingWarning
from edgekd.report import runs, soundness
from edgekd.verify import metrics

SUMMARY_FILE = "summary.json"


def summarise(folder: RunFolder, recipe: Recipe, data: Dataset, stages: tuple[str, ...]) -> Summary:
    """Returns the summary of the stages that are done; what others would add is absent or None."""
    verified = VerifyResult.read(folder.stage(VERIFY) / RECORD_FILE) if VERIFY in stages else None
    models: dict[str, ModelRecord] = {}
    curves: dict[str, tuple[EpochRecord, ...]] = {}
    for stage in (role for role in roles(recipe) if role in stages):
        result = TrainingResult.read(folder.stage(stage) / RECORD_FILE)
        curves[stage] = result.curve
        for model in (result.model, *result.companions):
            interval = verified.accuracies.get(model.role) if verified else None
            measured = {
                "accuracy": interval.value if interval else None,
                "accuracy_interval": interval,
                "reconstruction": verified.reconstructions.get(model.role) if verified else None,
            }
            models[model.role] = model.model_copy(update=measured)
    artifacts = ExportResult.read(folder.stage(EXPORT) / RECORD_FILE).artifacts if EXPORT in stages else ()
    comparisons = (
        {
            comparison.candidate: comparison
            for comparison in verified.comparisons
            if comparison.reference == STUDENT_DISTILLED
        }
        if verified
        else {}
    )
    benched = BenchResult.read(folder.stage(BENCH) / RECORD_FILE) if BENCH in stages else None
    here = environment.describe()
    records = {stage: folder.record(stage) for stage in stages}
    summary = Summary(
        name=recipe.name,
        task=recipe.task,
        smoke=recipe.smoke,
        seed=recipe.seed,
        recipe_sha256=recipe.sha256,
        experiment_sha256=recipe.experiment_sha256,
        environment=here,
        earlier_environments={
            name: record.environment for name, record in records.items() if record.environment != here
        },
        taught=recipe.distill.in_words(own="inputs" if data.reconstructs else "labels"),
        data=data.record(),
        models=models,
        curves=curves,
        artifacts=tuple(_judged(artifact, comparisons.get(artifact.name), verified) for artifact in artifacts),
        comparisons=verified.comparisons if verified else (),
        measurements=benched.measurements if benched else (),
        profiles=benched.profiles if benched else (),
        estimates=benched.estimates if benched else (),
        parities=benched.parities if benched else (),
        gates=verified.gates if verified else (),
        gains=verified.gains if verified else {},
        stages=verified.stages if verified else (),
        layers=verified.layers if verified else (),
        predictions_path=f"{VERIFY}/{verified.predictions}" if verified and verified.predictions else None,
        seconds={name: record.seconds for name, record in records.items()},
    )
    warnings = soundness.found(
        runs.opened(summary, folder.path), steps=_steps(recipe, data, models), validated=_validated(data, models)
    )
    gates = (*summary.gates, *_training_gates(recipe, warnings)) if verified else summary.gates
    return summary.model_copy(update={"training_warnings": warnings, "gates": gates})


def _training_gates(recipe: Recipe, warnings: Sequence[TrainingWarning]) -> tuple[Gate, ...]:
    most = recipe.verify.max_training_warnings
    if most is None:
        return ()
    passed = len(warnings) <= most
    gate = Gate(
        name="training_warnings", passed=passed, observed=len(warnings), limit=most, relation="<=", subject="run"
    )
    return (gate,)


def _steps(recipe: Recipe, data: Dataset, models: Mapping[str, ModelRecord]) -> dict[str, int]:
    """Returns how many steps an epoch of each training has."""
    on_labels = {*teacher_names(recipe), STUDENT_LABELS}
    return {
        role: steps_per_epoch(
            data.labelled_train if role in on_labels else data.train, batch_size=recipe.data.batch_size
        )
        for role, model in models.items()
        if model.epochs is not None
    }


def _validated(data: Dataset, models: Mapping[str, ModelRecord]) -> dict[str, soundness.Chance]:
    """Returns each network beside the most frequent class of the validation split."""
    counts = np.bincount(data.validation.labels)
    samples, most = len(data.validation), int(counts.argmax())
    return {
        role: soundness.Chance(
            split="validation",
            samples=samples,
            accuracy=metrics.wilson_interval(round(model.validation_accuracy * samples), samples),
            class_name=data.class_names[most],
            share=int(counts[most]) / samples,
        )
        for role, model in models.items()
        if model.validation_accuracy is not None
    }


def _judged(artifact: Artifact, comparison: Comparison | None, verified: VerifyResult | None) -> Artifact:
    if comparison is None or verified is None:
        return artifact
    return artifact.model_copy(
        update={
            "accuracy": comparison.candidate_accuracy,
            "accuracy_drop": comparison.accuracy_drop.value if comparison.accuracy_drop else None,
            "agreement": comparison.agreement.value if comparison.agreement else None,
            "reconstruction": verified.reconstructions.get(artifact.name),
        }
    )
