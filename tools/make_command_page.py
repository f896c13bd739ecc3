#!/usr/bin/env python3
"""Writes docs/reference/command-line.md: every verb's --help, as click prints it.

Usage: .venv/bin/python tools/make_command_page.py
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import click

from edgekd import cli, storage

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "command-line.md"
COMMAND = ".venv/bin/python tools/make_command_page.py"

_WIDTH = 100
_HEAD = f"""\
# The command line

Made from the commands by `{COMMAND}`; a test fails when it is out of date.

`edgekd VERB --help` prints the same. With `--json` a verb prints one JSON document on standard output and nothing
else there.

| exit status | what it means |
|---|---|
| 0 | done, and every gate held |
| 1 | a gate failed: a file is not its reference, an accuracy or a latency is beyond its limit |
| 2 | bad input or usage; one line on standard error says what was received, what was expected and what to do |
| 3 | inconclusive: too little was measured to say |
| {cli.UNFORESEEN} | a mistake in edgekd itself |
| 130, 143 | stopped by Ctrl-C or SIGTERM, after saving; the same command goes on |
"""


def page() -> str:
    """Returns the whole page."""
    sections = (f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helped(cli.edgekd, None, "edgekd"))
    return "\n".join([_HEAD, *sections])


def _helped(command: click.Command, parent: click.Context | None, name: str) -> Iterator[tuple[str, str]]:
    """Yields the names and help texts of a command and of those below it."""
    settings = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            below = command.get_command(context, verb)
            assert below is not None, verb  # noqa: S101 - click has just listed it
            yield from _helped(below, context, verb)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    storage.write_text(PAGE, page())
