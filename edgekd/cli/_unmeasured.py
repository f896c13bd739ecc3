"""edgekd bench on a target that is reckoned for, or whose outputs are compared: nothing is measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgekd.cli import _options

_ALSO_TAKEN = {"models", "target", "settings", "seed", "form", "as_json", "debug"}


def show(
    context: click.Context, models: Sequence[Path], target: str, settings: Mapping[str, Any], *, form: str
) -> None:
    """Prints what models would take, or how far their outputs are from those here.

    Args:
      context: of the command, whose other options are refused: they are of measuring.
      models: the files.
      target: an estimate or a parity.
      settings: the target's own.
      form: table or json.
    """
    from edgekd import bench

    reckoned = bench.is_estimate(target)
    given = [text for name, text in _options.given(context).items() if name not in _ALSO_TAKEN]
    if given:
        why = "is reckoned for" if reckoned else "compares outputs and never gives a time"
        raise click.UsageError(f"{given[0]} is for measuring, and {target} {why}: leave it out.")
    if form not in ("table", "json"):
        what = "an estimate" if reckoned else "a comparison of outputs"
        raise click.UsageError(f"--format {form} is for measurements: {what} is shown as table or json.")
    if not models:
        raise click.UsageError("name at least one MODEL.")
    if context.get_parameter_source("seed") is ParameterSource.COMMANDLINE:
        settings = {**settings, "seed": context.params["seed"]}
    (_show_estimates if reckoned else _show_parities)(models, target, settings, as_json=form == "json")


def _show_estimates(models: Sequence[Path], target: str, settings: Mapping[str, Any], *, as_json: bool) -> None:
    from edgekd import bench
    from edgekd.bench.report import EstimateReport
    from edgekd.cli import _tables
    from edgekd.report import estimates

    found = bench.estimate(models, target=target, **settings)
    if as_json:
        _options.print_json(EstimateReport(estimates=found))
        return
    _tables.print_rows(*estimates.table(found))
    _options.say(estimates.EXPLANATION)
    for note in estimates.notes(found):
        _options.say(note)


def _show_parities(models: Sequence[Path], target: str, settings: Mapping[str, Any], *, as_json: bool) -> None:
    from edgekd import bench
    from edgekd.bench.report import ParityReport
    from edgekd.cli import _tables
    from edgekd.report import parities

    found = bench.check_parity(models, target=target, **settings)
    if as_json:
        _options.print_json(ParityReport(parities=found))
        return
    _tables.print_rows(parities.HEADERS, parities.rows(found))
    _options.say(parities.EXPLANATION)
    for note in parities.notes(found):
        _options.say(note)
