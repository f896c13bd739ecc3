"""edgekd report: the report of a run, from its summary."""

from pathlib import Path

import click

from edgekd.cli import _options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@_options.out_option
@_options.json_option
@_options.debug_option
def command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write report.html and report.md anew from RUN's summary.json (the folder, or the file)."""
    from edgekd import report
    from edgekd.cli import _tables
    from edgekd.records import Summary

    summary_file = run / "summary.json" if run.is_dir() else run
    summary = Summary.read(summary_file)
    html, markdown = report.write(summary, out or summary_file.parent)
    if as_json:
        _options.print_json(summary)
    else:
        report.table.print_to_terminal(summary)
        _tables.print_sparsity(summary)
        click.echo(f"report: {html} and {markdown}")
