"""edgekd train: one network on labels."""

from pathlib import Path

import click

from edgekd.cli import _options


@click.command("train")
@click.argument("recipe", required=False)
@_options.recipe_options
@click.option("--dataset", help="Without a recipe: the data, such as embedded, tfds:NAME or image_folder:DIR.")
@click.option(
    "--architecture",
    help="Without a recipe: a name of `edgekd list architectures`, or package.module:function.",
)
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
    architecture: str | None,
    epochs: int | None,
    as_json: bool,
) -> None:
    """Train on labels: the teacher and the student of RECIPE, or one network given by options.

    The saved network is OUT/teacher/model.keras. Further settings of a network given by options go under `teacher`,
    such as `--set teacher.width=32 --set teacher.learning_rate=0.05`.
    """
    from edgekd.cli import _recipes
    from edgekd.pipeline.stage import STUDENT_LABELS, TEACHER

    plain = {"--dataset": dataset, "--architecture": architecture, "--epochs": epochs}
    if recipe is not None:
        _options.refuse_with_recipe(plain)
        chosen = _recipes.read(recipe, overrides, seed, smoke=smoke)
        until: tuple[str, ...] = (TEACHER, STUDENT_LABELS)
    else:
        _options.require_without_recipe(plain, ("--architecture", "--dataset"))
        network = {"architecture": architecture, "epochs": epochs or 10}
        document = {
            "name": f"train-{_options.as_name(architecture)}",
            "data": {"dataset": dataset},
            "teacher": network,
            "student": {"architecture": architecture},  # not trained here, but a recipe has one
        }
        chosen = _recipes.from_options(document, overrides, seed, smoke=smoke)
        until = (TEACHER,)
    _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=until, as_json=as_json, smoke=smoke)
