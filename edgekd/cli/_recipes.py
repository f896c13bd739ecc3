"""From a verb's arguments to a run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgekd import recipe as recipes
from edgekd.cli import _options, _tables
from edgekd.cli._progress import TerminalProgress
from edgekd.errors import printable
from edgekd.pipeline import RunResult, default_folder, run
from edgekd.recipe import Recipe
from edgekd.records import Gate, ModelRecord, Summary
from edgekd.report import formatting, headline, merit, soundness, table


def read(name: str, overrides: tuple[str, ...], seed: int | None, *, smoke: bool) -> Recipe:
    """Returns the recipe that the options describe."""
    seeds = () if seed is None else (f"seed={seed}",)
    recipe = recipes.load(name, overrides=(*overrides, *seeds))
    return recipes.smoke(recipe) if smoke else recipe


def from_options(document: dict[str, Any], overrides: tuple[str, ...], seed: int | None, *, smoke: bool) -> Recipe:
    """Returns the recipe of a verb that was given options instead of one."""
    seeds = () if seed is None else (f"seed={seed}",)
    recipe = recipes.from_document(document, overrides=(*overrides, *seeds), origin="of these options")
    return recipes.smoke(recipe) if smoke else recipe


def folder(recipe: Recipe, out: Path | None, seed: int | None) -> Path:
    """Returns where the run lives: runs of several seeds stand side by side."""
    if out is not None:
        return out
    default = default_folder(recipe)
    return default if seed is None else default.with_name(f"{default.name}-seed{seed}")


def work(
    recipe: Recipe, out: Path, *, until: tuple[str, ...] | None, as_json: bool, smoke: bool, workers: int = 1
) -> None:
    """Runs the recipe, prints what came out, and leaves with exit status 1 if a gate failed.

    The gates of an earlier run judge no verb that stops before them.
    """
    from edgekd.distill.stopping import StopRequest

    stop = StopRequest()
    with stop.handling_signals(), TerminalProgress(quiet=as_json, merit=merit.of_task(recipe.task)) as progress:
        result = run(recipe, out=out, until=until, progress=progress, stop=stop, worker_processes=workers)
    gates = result.summary.gates if until is None else ()
    if as_json:
        _options.print_json(result.summary)
    else:
        _print(result, gates, smoke=smoke)
    if not all(gate.passed for gate in gates):
        sys.exit(1)


def _print(result: RunResult, gates: Sequence[Gate], *, smoke: bool) -> None:
    table.print_to_terminal(result.summary)
    _tables.print_sparsity(result.summary)
    _tables.print_elsewhere(result.summary)
    for role, model in result.summary.models.items():
        if model.accuracy is None and model.reconstruction is None:  # the test split is for `run` and `verify`
            epoch = f", epoch {model.best_epoch}" if model.best_epoch else ""
            where = f"from {model.path}" if model.foreign else f"saved as {result.folder / model.path}"
            click.echo(f"{role}: {_validated(model, result.summary)}{epoch}, {where}")
    _tables.print_failed(gates)
    if gates:
        held = sum(gate.passed for gate in gates)
        click.echo(f"{held} of {len(gates)} gates held" + (headline.proven(gates) if held == len(gates) else ""))
    if smoke:
        click.echo(headline.SMOKE)
    measured = result.summary.measurements
    noisy = sum(bool(measurement.warnings) for measurement in measured)
    if noisy:
        click.echo(f"{noisy} of {len(measured)} latencies have warnings, such as of noise: see the report")
    _print_training_warnings(result.summary, smoke=smoke)
    if not result.worked:
        click.echo("nothing to do: every stage is done for this recipe and this data")
    click.echo(f"report: {result.folder / 'report.html'}")


def _validated(model: ModelRecord, summary: Summary) -> str:
    if merit.of(summary).names_classes:
        return f"validation accuracy {formatting.percent(model.validation_accuracy)}"
    return f"validation loss {formatting.number(model.validation_loss)}"


def _print_training_warnings(summary: Summary, *, smoke: bool) -> None:
    """Prints where a training went wrong, and what to do; of a smoke run, whose numbers mean nothing, how often."""
    found = summary.training_warnings or ()
    if found and smoke:
        counted = formatting.counted(len(found), "warning")
        click.echo(f"{counted} about the training, as a smoke run may well have: see the report")
        return
    for seen, advice in soundness.together(found):
        for each in seen:
            click.echo(f"warning: {printable(each)}")
        click.echo(f"  {advice}")
