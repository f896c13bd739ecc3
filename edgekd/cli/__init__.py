"""The command line: one file per verb; a verb's file is imported only when it is needed."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from edgekd import registry
from edgekd.errors import EdgekdError, printable
from edgekd.storage import in_words

PACKAGE = "edgekd.cli"

UNFORESEEN = 70
"""Exit status of an error that nobody foresaw, as EX_SOFTWARE of sysexits.h."""


class Verbs(click.Group):
    """Finds the verbs by their files."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Returns the verbs' names."""
        return [*registry.discover(PACKAGE)]  # `list` is a verb's module here, once that is imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Imports one verb."""
        return registry.load(PACKAGE, cmd_name).command if cmd_name in registry.discover(PACKAGE) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the nearest verb for an unknown one."""
        if args and not args[0].startswith("-"):
            registry.require(PACKAGE, args[0])
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="edgekd", message="%(prog)s %(version)s")
def edgekd() -> None:
    """Distil a teacher into a small student, export it to TFLite and ONNX, prove and measure the files.

    Start with `edgekd run quickstart`. Exit status: 0 done, 1 a gate failed, 2 bad input or usage, 3
    inconclusive, 70 a mistake in edgekd itself, 130 or 143 stopped by a signal after saving.
    """


def main() -> None:
    """Runs the command line: a user's mistake is one line on standard error and exit status 2."""
    # TensorFlow's own chatter would drown what we say; its errors still come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    state = {"debug": False}
    received = signal.SIGINT

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal received
        received = signal.Signals(number)
        raise KeyboardInterrupt  # so that what is open is closed, and half-written files and children are removed

    before = signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(edgekd.main(prog_name="edgekd", standalone_mode=False, obj=state))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"edgekd: stopped by {received.name}.", err=True)
        sys.exit(128 + received)
    except EdgekdError as error:
        _say(error, printable(" ".join(str(error).split())), debug=state["debug"])
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has left; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        problem = in_words(error)
        if problem is None:
            _unforeseen(error)
        _say(error, problem, debug=state["debug"])
        sys.exit(2)
    except Exception as error:
        _unforeseen(error)  # Python's own status for it is 1, which says that a gate failed
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(error: Exception, message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    else:
        click.echo(f"edgekd: {message}", err=True)


def _unforeseen(error: Exception) -> NoReturn:
    traceback.print_exception(error)
    click.echo(
        "edgekd: this is a mistake in edgekd, not in your input: please report it with the lines above.", err=True
    )
    sys.exit(UNFORESEEN)
