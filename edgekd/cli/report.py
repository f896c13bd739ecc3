"""edgekd report: the report of one run, or of several side by side, from their summaries."""

from pathlib import Path

import click

from edgekd.cli import _options
from edgekd.report import FORMATS, PAGES

_SEVERAL = Path("runs") / "report"


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=f"Folder of the report.  [default: the run's own; {_SEVERAL} for several]",
)
@click.option(
    "--format",
    "formats",
    type=_options.Choice(tuple(FORMATS)),
    multiple=True,
    default=PAGES,
    show_default=True,
    help="What to write; repeatable.",
)
@_options.json_option
@_options.debug_option
def command(runs: tuple[Path, ...], out: Path | None, formats: tuple[str, ...], as_json: bool) -> None:
    """Write the report of a run anew, or of several side by side.

    RUN is a run's folder, or its summary.json. The files are report.html, report.md and report.json; --json prints what
    the last one holds.
    """
    from edgekd import report
    from edgekd.cli import _tables
    from edgekd.report import document
    from edgekd.report.runs import read

    found = read(runs)
    folder = out or (_SEVERAL if len(runs) > 1 else _folder(runs[0]))
    paths = report.write(found, folder, formats=tuple(dict.fromkeys(formats)))
    if as_json:
        _options.print_json(document.document(found))
        return
    for run in found:
        if len(found) > 1:
            _options.say(run.label)
        report.table.print_to_terminal(run.summary)
        _tables.print_sparsity(run.summary)
    click.echo(f"report: {' and '.join(map(str, paths))}")


def _folder(run: Path) -> Path:
    return run if run.is_dir() else run.parent
