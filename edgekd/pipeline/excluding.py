"""Sensitivity analyses of a recipe's student and of a saved model, each of which ends in a recipe with exclusions."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import storage
from edgekd.data.dataset import Dataset
from edgekd.errors import RecipeError
from edgekd.pipeline import sensitivity
from edgekd.pipeline.execution import load_data, run
from edgekd.pipeline.folder import RunFolder
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import MODEL_FILE, float_student
from edgekd.recipe import Recipe, from_document
from edgekd.records import Sensitivity
from edgekd.runtime.native_output import import_quietly

if TYPE_CHECKING:  # importing it would import TensorFlow
    from edgekd.distill.stopping import StopRequest

FOLDER = "sensitivity"  # in a run's folder
_STUDENT = "student"


def analyse_student(
    recipe: Recipe, out: Path, *, progress: Progress, stop: "StopRequest | None" = None, **limits: Any
) -> tuple[Sensitivity, Path | None]:
    """Analyses a recipe's float student, distilled and made sparse; that is done first where it is not yet.

    Calibration is the recipe's, and so are layers that it excludes already. Whether the int8 student is trained further
    makes no difference here: layers are judged as calibrated.

    Args:
      recipe: with a section `quantize`.
      out: the run's folder; what comes out lies in its folder `sensitivity`.
      progress: whom to tell.
      stop: asked by trainings whether to save and stop.
      **limits: `max_accuracy_drop`, `images` and `processes` of `sensitivity.analyse`.

    Returns:
      The record, and the path of the recipe with exclusions; None where no file fits, or nothing had to be excluded.

    Raises:
      RecipeError: the recipe has no such section, or its networks have no accuracy; and what `sensitivity.analyse`
        raises.
    """
    from edgekd import architectures

    if recipe.task != "classification":
        raise RecipeError(
            f"recipe {recipe.name!r} is of task {recipe.task}, and layers are judged by the accuracy that they cost: "
            "expected a classifier's. `edgekd verify --layers` shows where a file's error grows."
        )
    if recipe.quantize is None:
        raise RecipeError(
            f"recipe {recipe.name!r} has no quantize section, whose layers could be excluded: add one, such as --set "
            "quantize.scheme=int8."
        )
    student = float_student(recipe)
    run(recipe, out=out, until=(student,), progress=progress, stop=stop)
    with RunFolder(out, recipe_name=recipe.name, dataset=recipe.data.dataset):  # nobody else writes there meanwhile
        record = sensitivity.analyse(
            architectures.load_model(out / student / MODEL_FILE),
            load_data(recipe.data),
            out / FOLDER,
            name=_STUDENT,
            exclude=recipe.quantize.exclude,
            calibration=recipe.quantize.calibration,
            samples=recipe.calibration.samples,
            seed=recipe.seed,
            progress=progress,
            **limits,
            **recipe.quantize.arguments,
        )
        document = recipe.model_dump(mode="json")
        document["quantize"]["exclude"] = list(record.exclude)
        return record, _written(document, record, out / FOLDER / f"{_STUDENT}-mixed.yaml")


def analyse_saved(
    model: Path, section: Mapping[str, Any], data: Dataset, folder: Path, *, progress: Progress, **settings: Any
) -> tuple[Sensitivity, Path | None]:
    """Analyses a saved model.

    The recipe goes on from the model, its own teacher, for an epoch and then makes the int8 student.

    Args:
      model: a Keras file.
      section: what calibrates and judges it, as a recipe's data section says it.
      data: that, loaded.
      folder: where everything goes.
      progress: whom to tell.
      **settings: of `sensitivity.analyse`.

    Returns:
      As `analyse_student`.

    Raises:
      What `sensitivity.analyse` raises, and errors of the files.
    """
    from edgekd import architectures

    import_quietly("keras")
    record = sensitivity.analyse(
        architectures.load_model(model), data, folder, name=model.stem, progress=progress, **settings
    )
    return record, write_recipe_of_saved(model, section, record, folder)


def write_recipe_of_saved(model: Path, section: Mapping[str, Any], record: Sensitivity, folder: Path) -> Path | None:
    """Writes NAME-mixed.yaml, the recipe of a saved model with the exclusions of its analysis, and returns its path.

    Returns None, and removes an older one, where no file fits, or where nothing more must be excluded than was.
    """
    document = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{model.stem}-mixed").lstrip("-_."),
        "seed": record.seed,
        "data": dict(section),
        "teacher": {"model": str(model.resolve())},
        "student": {"model": str(model.resolve()), "epochs": 1, "learning_rate": 0.001},
        "quantize": {
            "calibration": record.calibration,
            **record.calibration_settings,
            "exclude": list(record.exclude),
        },
        "calibration": {"samples": record.calibration_samples},
    }
    return _written(document, record, folder / f"{model.stem}-mixed.yaml")


def _written(document: dict[str, Any], record: Sensitivity, path: Path) -> Path | None:
    if record.kept is None or set(record.exclude) == set(record.always_excluded):
        path.unlink(missing_ok=True)  # of an earlier analysis
        return None
    recipe = from_document(document, origin=path.name)
    title = f"# int8 with {', '.join(record.exclude)} in float, found by edgekd quantize --sensitivity."
    storage.write_text(path, f"{title}\n{recipe.to_yaml()}")
    return path
