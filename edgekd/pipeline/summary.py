"""Puts the stages' records together into the summary."""

from edgekd import environment
from edgekd.data.dataset import Dataset
from edgekd.pipeline.folder import RunFolder
from edgekd.pipeline.results import BenchResult, ExportResult, TrainingResult, VerifyResult
from edgekd.pipeline.stage import BENCH, EXPORT, RECORD_FILE, STUDENT_DISTILLED, VERIFY, roles
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Comparison, EpochRecord, ModelRecord, Summary

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
            interval = verified.accuracies[model.role] if verified else None
            measured = {"accuracy": interval.value if interval else None, "accuracy_interval": interval}
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
    return Summary(
        name=recipe.name,
        seed=recipe.seed,
        recipe_sha256=recipe.sha256,
        experiment_sha256=recipe.experiment_sha256,
        environment=here,
        earlier_environments={
            name: record.environment for name, record in records.items() if record.environment != here
        },
        taught=recipe.distill.in_words(),
        data=data.record(),
        models=models,
        curves=curves,
        artifacts=tuple(_with_accuracy(artifact, comparisons.get(artifact.name)) for artifact in artifacts),
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


def _with_accuracy(artifact: Artifact, comparison: Comparison | None) -> Artifact:
    if comparison is None:
        return artifact
    return artifact.model_copy(
        update={
            "accuracy": comparison.candidate_accuracy,
            "accuracy_drop": comparison.accuracy_drop.value if comparison.accuracy_drop else None,
            "agreement": comparison.agreement.value if comparison.agreement else None,
        }
    )
