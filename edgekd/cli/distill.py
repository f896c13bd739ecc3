"""edgekd distill: a student taught by a teacher."""

from pathlib import Path

import click

from edgekd.cli import _options


@click.command("distill")
@click.argument("recipe", required=False)
@_options.recipe_options
@click.option("--dataset", help="Without a recipe: the data, such as embedded, tfds:NAME or image_folder:DIR.")
@click.option(
    "--teacher",
    help="Without a recipe: a Keras or tf_keras file, a SavedModel folder, a .tflite or .onnx file, or "
    "package.module:function.",
)
@click.option("--architecture", help="Without a recipe: the student, likewise as for `edgekd train`.")
@click.option("--epochs", type=click.IntRange(min=1), help="Without a recipe: how long to train.")
@_options.json_option
@_options.debug_option
def command(
    recipe: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    smoke: bool,
    out: Path | None,
    dataset: str | None,
    teacher: str | None,
    architecture: str | None,
    epochs: int | None,
    as_json: bool,
) -> None:
    """Train the student taught by the teacher, and the same student on labels only, to compare with.

    Takes a RECIPE, or a teacher and a student given by options: then soft logits at temperature 4 teach it
    unless `--set distill.losses=...` says otherwise. The saved student is OUT/student_distilled/model.keras.
    """
    from edgekd.cli import _recipes
    from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS

    plain = {"--dataset": dataset, "--teacher": teacher, "--architecture": architecture, "--epochs": epochs}
    if recipe is not None:
        _options.refuse_with_recipe(plain)
        chosen = _recipes.read(recipe, overrides, seed, smoke=smoke)
    else:
        _options.require_without_recipe(plain, ("--teacher", "--architecture", "--dataset"))
        document = {
            "name": f"distill-{_options.as_name(architecture)}",
            "data": {"dataset": dataset},
            "teacher": {"model": teacher},
            "student": {"architecture": architecture, "epochs": epochs or 10},
        }
        chosen = _recipes.from_options(document, overrides, seed, smoke=smoke)
    until = (STUDENT_LABELS, STUDENT_DISTILLED)
    _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=until, as_json=as_json, smoke=smoke)
