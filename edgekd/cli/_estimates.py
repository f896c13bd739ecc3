"""edgekd bench on a target that is reckoned for: estimates instead of measurements."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgekd.cli import _options

_ALSO_FOR_ESTIMATES = {"models", "target", "settings", "seed", "form", "as_json", "debug"}


def show(
    context: click.Context, models: Sequence[Path], target: str, settings: Mapping[str, Any], *, form: str
) -> None:
    """Prints what models would take.

    Args:
      context: of the command, whose other options are refused: they are of measuring.
      models: the files.
      target: an estimate.
      settings: the target's own.
      form: table or json.
    """
    from edgekd import bench
    from edgekd.bench.report import EstimateReport
    from edgekd.cli import _tables
    from edgekd.report import estimates

    given = [
        parameter
        for parameter in context.command.params
        if parameter.name not in _ALSO_FOR_ESTIMATES
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{given[0].opts[-1]} is for measuring, and {target} is reckoned for: leave it out.")
    if form not in ("table", "json"):
        raise click.UsageError(f"--format {form} is for measurements: an estimate is shown as table or json.")
    if not models:
        raise click.UsageError("name at least one MODEL.")
    if context.get_parameter_source("seed") is ParameterSource.COMMANDLINE:
        settings = {**settings, "seed": context.params["seed"]}
    found = bench.estimate(models, target=target, **settings)
    if form == "json":
        _options.print_json(EstimateReport(estimates=found))
        return
    _tables.print_rows(*estimates.table(found))
    _options.say(estimates.EXPLANATION)
    for note in estimates.notes(found):
        _options.say(note)
