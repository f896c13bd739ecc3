"""The export stage: writes the distilled student's files."""

from pathlib import Path
from typing import Any

from edgekd.pipeline.results import ExportResult
from edgekd.pipeline.stage import EXPORT, MODEL_FILE, RECORD_FILE, STUDENT_DISTILLED, Stage, Work
from edgekd.recipe import Recipe


def _settings(recipe: Recipe) -> Any:
    return {
        "seed": recipe.seed,
        "export": [export.model_dump(mode="json") for export in recipe.export],
        "calibration": recipe.calibration.model_dump(mode="json"),
    }


def _export(work: Work) -> list[Path]:
    from edgekd import architectures, quantize
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.export import export_model

    recipe = work.recipe
    source = work.run / STUDENT_DISTILLED / MODEL_FILE
    model = architectures.load_model(source)
    calibration = None
    if any(quantize.scheme(export.scheme).needs_calibration for export in recipe.export):
        samples = min(recipe.calibration.samples, calibratable(work.data.train))
        _, calibration = calibration_samples(work.data.train, samples=samples, seed=recipe.seed)
    artifacts = []
    for position, export in enumerate(recipe.export):
        work.progress.item(position, len(recipe.export), export.file_name)
        path = work.folder / export.file_name
        artifact = export_model(
            model,
            path,
            format=export.format,
            scheme=export.scheme,
            name=export.file_name,
            source=STUDENT_DISTILLED,
            calibration=calibration,
            batch=None if export.batch == "dynamic" else export.batch,
            input_dtype=export.input_dtype,
            output_dtype=export.output_dtype,
            **export.arguments,
        )
        artifacts.append(artifact.model_copy(update={"path": path.relative_to(work.run).as_posix()}))
    ExportResult(artifacts=tuple(artifacts)).write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE, *(work.run / artifact.path for artifact in artifacts)]


STAGE = Stage(EXPORT, (STUDENT_DISTILLED,), _settings, _export)
