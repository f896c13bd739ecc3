"""The export stage: writes the student's files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.pipeline.results import ExportResult, TrainingResult
from edgekd.pipeline.stage import (
    EXPORT,
    MODEL_FILE,
    RECORD_FILE,
    STUDENT_QUANTIZED,
    Stage,
    Work,
    float_student,
)
from edgekd.provenance import Origin
from edgekd.recipe import Export, Recipe
from edgekd.records import OperatorCost

if TYPE_CHECKING:
    from edgekd.inspect import Inspection


def _settings(recipe: Recipe) -> Any:
    return {
        "seed": recipe.seed,
        "export": [export.model_dump(mode="json") for export in recipe.export],
        "calibration": recipe.calibration.model_dump(mode="json"),
    }


def _export(work: Work) -> list[Path]:
    from edgekd import architectures, quantize
    from edgekd.bench import tensors
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.export import export_model
    from edgekd.inspect import inspect_model

    recipe = work.recipe
    in_float = float_student(recipe)
    sources = [source_of(recipe, export) for export in recipe.export]
    students = {name: architectures.load_model(work.run / name / MODEL_FILE) for name in sorted(set(sources))}
    calibrated = [
        quantize.needs_calibration(export.scheme, export.layers) and source == in_float
        for export, source in zip(recipe.export, sources, strict=True)
    ]
    calibration = None
    if any(calibrated):
        samples = min(recipe.calibration.samples, calibratable(work.data.train))
        _, calibration = calibration_samples(work.data.train, samples=samples, seed=recipe.seed)
    artifacts = []
    for position, (export, source) in enumerate(zip(recipe.export, sources, strict=True)):
        work.progress.item(position, len(recipe.export), export.file_name)
        path = work.folder / export.file_name
        artifact = export_model(
            students[source],
            path,
            format=export.format,
            scheme=export.scheme,
            name=export.file_name,
            source=source,
            calibration=calibration if calibrated[position] else None,
            origin=_origin(work, source),
            shape=work.data.input_shape,  # of a student that leaves sizes open
            **options(recipe, export, source),
        )
        found = inspect_model(path, check=False)
        anatomy = {
            "operators": operator_costs(found),
            "tensors": tuple(each for each in tensors.sizes(artifact.name, found) if each.role == "constant"),
        }
        artifacts.append(artifact.model_copy(update={"path": path.relative_to(work.run).as_posix(), **anatomy}))
    ExportResult(artifacts=tuple(artifacts)).write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE, *(work.run / artifact.path for artifact in artifacts)]


def operator_costs(found: "Inspection") -> tuple[OperatorCost, ...]:
    """Returns what each operator of a file's main graph takes; a constant counts for the first that reads it."""
    counted: set[int] = set()
    costs = []
    for node in found.nodes:
        if node.subgraph == 0:
            read = {at for at in node.inputs if at is not None and found.tensors[at].role == "constant"} - counted
            counted |= read
            costs.append(
                OperatorCost(
                    operator=node.operator,
                    name=node.name,
                    macs=node.macs,
                    weights_bytes=sum(found.tensors[at].size_bytes or 0 for at in read),
                    live_bytes=node.live_bytes,
                )
            )
    return tuple(costs)


def _origin(work: Work, source: str) -> Origin:
    trained = TrainingResult.read(work.run / source / RECORD_FILE).model
    return Origin(
        recipe_sha256=work.key,
        data_fingerprint=work.data.fingerprint,
        seed=work.recipe.seed,
        validation_accuracy=trained.validation_accuracy,
    )


def options(recipe: Recipe, export: Export, source: str) -> dict[str, Any]:
    """Returns how a file is written; layers that the recipe has excluded are float operators in it.

    Args:
      recipe: of the run.
      export: the file.
      source: the stage whose network it is written from.
    """
    named = {}
    if recipe.task == "reconstruction" and export.arguments.get("output_name") == "logits":  # which is the default
        named = {"output_name": recipe.task}
    excluded = source == STUDENT_QUANTIZED and recipe.quantize is not None and recipe.quantize.exclude
    return {
        "batch": None if export.batch == "dynamic" else export.batch,
        "input_dtype": export.input_dtype,
        "output_dtype": export.output_dtype,
        "preprocessing": export.preprocessing,
        **export.arguments,
        **named,
        **({"allow_float_operators": True} if excluded else {}),
    }


def source_of(recipe: Recipe, export: Export) -> str:
    """Returns the stage whose network a file is written from."""
    return STUDENT_QUANTIZED if recipe.comes_from_quantize(export) else float_student(recipe)


def stage(recipe: Recipe) -> Stage:
    """Returns the stage; it reads the float student, and the quantised one where there is one."""
    quantized = (STUDENT_QUANTIZED,) if recipe.quantize is not None else ()
    return Stage(EXPORT, (float_student(recipe), *quantized), _settings, _export)
