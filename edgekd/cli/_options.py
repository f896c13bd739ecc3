"""Options that verbs share, and how they print."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edgekd import storage
from edgekd.errors import printable, unknown_name

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.records import Record

STATUS = {"passed": 0, "failed": 1, "inconclusive": 3}
"""Exit statuses of what judges."""

_UNREAD = frozenset({"augment", "batch_size", "mixup", "unlabelled"})  # of a recipe's data, by a calibration

Function = TypeVar("Function", bound=Callable[..., Any])


class Choice(click.Choice):  # type: ignore[type-arg]
    """One of some texts; for another one the nearest is suggested."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Returns the message that names the choices."""
        return unknown_name("choice", value, map(str, self.choices))


def given(context: click.Context) -> dict[str, str]:
    """Returns the options that stand on the command line: {name of the parameter: option}."""
    return {
        str(each.name): each.opts[-1]
        for each in context.command.params
        if isinstance(each, click.Option)
        and context.get_parameter_source(str(each.name)) is ParameterSource.COMMANDLINE
    }


def debug_option(function: Function) -> Function:
    """Adds `--debug`: show the traceback of an error, and what native libraries say."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: ARG001
        if value:
            context.ensure_object(dict)["debug"] = True
            logging.getLogger("edgekd").setLevel(logging.DEBUG)  # native libraries are not silenced then

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show tracebacks, and what native libraries say.",
    )(function)


def json_option(function: Function) -> Function:
    """Adds `--json`: one JSON document on standard output and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def recipe_options(function: Function) -> Function:
    """Adds what every verb that takes a recipe takes."""
    for option in reversed(
        (
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="A.B=VALUE",
                help="Set a key of the recipe, such as student.epochs=3; repeatable. List items count from 0.",
            ),
            click.option("--seed", type=click.IntRange(min=0), help="Set the recipe's seed."),
            click.option(
                "--smoke",
                is_flag=True,
                help="Walk the same road on a few images, with wide gates: the numbers mean nothing.",
            ),
            out_option,
        )
    ):
        function = option(function)
    return function


def out_option(function: Function) -> Function:
    """Adds `--out`: the run's folder."""
    return click.option(
        "--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/<name of the recipe>]"
    )(function)


def require_page(plot: Path) -> None:
    """Raises before any work where `--plot` names no HTML page, or a place that cannot be written to.

    Raises:
      UsageError: the name does not end in .html.
      StorageError: its folder cannot be one, or cannot be written to.
    """
    if plot.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--plot writes an HTML page, and {str(plot)!r} does not end in .html: name it so.")
    storage.check_folder(plot.parent, option="--plot")


def refuse_with_recipe(plain: dict[str, Any]) -> None:
    """Raises UsageError if an option that describes what a recipe describes stands beside a recipe."""
    given = [name for name, value in plain.items() if value]
    if given:
        raise click.UsageError(f"{', '.join(given)} cannot be combined with a recipe: use --set instead.")


def data_of_model(dataset: str | None, overrides: tuple[str, ...], *, smoke: bool) -> dict[str, Any]:
    """Returns the keys of a recipe's data section that `--dataset` and `--set data.KEY=VALUE` give beside a model.

    Raises:
      UsageError: another key, one that calibration does not read, one without `--dataset`, or `--smoke`.
    """
    from edgekd import recipe

    if smoke:
        raise click.UsageError("--smoke is for recipes: leave it out beside a saved model.")
    keys = recipe.assigned(overrides)
    data = keys.pop("data", {})
    if keys or not isinstance(data, dict):
        raise click.UsageError(
            f"--set {next(iter(keys), 'data')}: beside a saved model --set is for keys of its data, such as "
            "data.image_size=32; others are for recipes."
        )
    if "dataset" in data:
        raise click.UsageError("--set data.dataset: beside a saved model the data are named once, by --dataset.")
    unread = sorted(_UNREAD & data.keys())
    if unread:
        raise click.UsageError(
            f"--set data.{unread[0]}: calibration reads the training images as they are, and takes nothing from this "
            "key: leave it out. It is for trainings, in recipes."
        )
    if data and dataset is None:
        raise click.UsageError(f"--set data.{next(iter(data))} is for the data of --dataset: give that, too.")
    return {"dataset": dataset, **data}


def require_without_recipe(plain: dict[str, Any], names: tuple[str, ...]) -> None:
    """Raises UsageError unless the options that replace a recipe are there."""
    missing = [name for name in names if not plain[name]]
    if missing:
        raise click.UsageError(f"give a RECIPE, or {' and '.join(missing)}.")


def as_name(text: str | None) -> str:
    """Returns a text as a part of a run's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text or "").strip("-")


def say(line: str = "") -> None:
    """Prints a line that may hold names out of a foreign file."""
    click.echo(printable(line))


def print_json(record: "Record") -> None:
    """Prints a record as one JSON document."""
    click.echo(record.model_dump_json(indent=2))
