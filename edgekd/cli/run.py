"""edgekd run: the whole pipeline."""

from pathlib import Path

import click

from edgekd.cli import _options


def _count(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Returns the number of workers."""
    if ":" in value:
        raise click.BadParameter(
            f"{value!r} names hosts, but workers are processes of this machine: give their number. A script can train "
            "on several machines with tf.distribute.MultiWorkerMirroredStrategy: see docs/workers.md.",
            context,
            parameter,
        )
    return int(click.IntRange(min=1)(value, parameter, context))


@click.command("run")
@click.argument("recipe")
@_options.recipe_options
@click.option(
    "--workers",
    callback=_count,
    default="1",
    show_default=True,
    metavar="N",
    help="Let N processes of this machine share each training.",
)
@click.option("--print", "only_print", is_flag=True, help="Print the recipe with every default, and do nothing.")
@_options.json_option
@_options.debug_option
def command(
    recipe: str,
    overrides: tuple[str, ...],
    seed: int | None,
    smoke: bool,
    out: Path | None,
    workers: int,
    only_print: bool,
    as_json: bool,
) -> None:
    """Run the whole pipeline of RECIPE: train, distil, export, verify, measure, report.

    RECIPE is a name that `edgekd list recipes` shows, or the path of a YAML file. What is done already, by the same
    settings on the same data, is not done again; a run that was stopped goes on.
    """
    from edgekd.cli import _recipes

    chosen = _recipes.read(recipe, overrides, seed, smoke=smoke)
    if only_print:
        click.echo(chosen.model_dump_json(indent=2) if as_json else chosen.to_yaml(), nl=as_json)
        return
    _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=None, as_json=as_json, smoke=smoke, workers=workers)
