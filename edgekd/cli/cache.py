"""edgekd cache: see, check and prune the stored outputs of teachers."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.distill.cache import Progress
    from edgekd.distill.cache.catalogue import EntryRecord, Pruning, Verification

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.IGNORECASE)

_dir_option = click.option(
    "--cache-dir",
    "root",
    type=click.Path(path_type=Path),
    help="Folder of the cache.  [default: $EDGEKD_CACHE_DIR, else edgekd/teacher in $XDG_CACHE_HOME or ~/.cache]",
)


def _bytes(text: str) -> int:
    """Returns the bytes of a size as people write it: 2GB, 500MB, 1.5GiB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise click.BadParameter(f"{text!r} is not a size such as 2GB, 500MB or 1.5GiB.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


@click.group("cache")
def command() -> None:
    """See, check and prune the stored outputs of teachers, which all runs share."""


@command.command("list")
@_dir_option
@_options.json_option
@_options.debug_option
def list_(root: Path | None, as_json: bool) -> None:
    """Show what is stored, what was used last first: output, shape, view, samples, size, how much of it is filled."""
    from edgekd.distill.cache import catalogue, default_root

    root = root or default_root()
    found = catalogue.entries_of(root)
    size = sum(entry.size_bytes for entry in found)
    if as_json:
        listed = [entry.model_dump(mode="json") for entry in found]
        click.echo(
            json.dumps({"schema_version": 1, "root": str(root), "size_bytes": size, "entries": listed}, indent=2)
        )
        return
    _print_entries(root, found, size)


@command.command("verify")
@_dir_option
@_options.json_option
@_options.debug_option
def verify(root: Path | None, as_json: bool) -> None:
    """Read everything and compare it with its checksums. Ends with exit status 1 if anything is damaged."""
    from edgekd.distill.cache import catalogue, default_root

    with _bar(quiet=as_json) as on_progress:
        found = catalogue.verify(root or default_root(), on_progress=on_progress)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **found.model_dump(mode="json")}, indent=2))
    else:
        _print_verification(found)
    if found.damaged:
        raise SystemExit(1)


@command.command("prune")
@click.option(
    "--older-than", metavar="DAYS", type=click.FloatRange(min=0), help="Remove what was not used for so long."
)
@click.option("--max-size", metavar="SIZE", type=_bytes, help="Remove until the cache is no larger, such as 2GB.")
@click.option("--damaged", is_flag=True, help="Remove what `edgekd cache verify` finds damaged.")
@click.option("--all", "everything", is_flag=True, help="Remove all entries, those of other versions of edgekd too.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_dir_option
@_options.json_option
@_options.debug_option
def prune(
    older_than: float | None,
    max_size: int | None,
    damaged: bool,
    everything: bool,
    dry_run: bool,
    root: Path | None,
    as_json: bool,
) -> None:
    """Remove stored outputs, what was used longest ago first. What a process uses stays; so does what is no entry."""
    from edgekd.distill.cache import catalogue, default_root

    if older_than is None and max_size is None and not damaged and not everything:
        raise click.UsageError("say what to remove: --older-than DAYS, --max-size SIZE, --damaged or --all.")
    with _bar(quiet=as_json) as on_progress:
        pruned = catalogue.prune(
            root or default_root(),
            now=time.time(),
            older_than_days=older_than,
            max_bytes=max_size,
            damaged=damaged,
            everything=everything,
            dry_run=dry_run,
            on_progress=on_progress,
        )
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **pruned.model_dump(mode="json")}, indent=2))
    else:
        _print_pruning(pruned)


@contextlib.contextmanager
def _bar(*, quiet: bool) -> "Iterator[Progress]":
    """Draws how far the reading is, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Bars(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task("", total=None)

        def show(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total, description=what)

        yield show


def _print_entries(root: Path, found: "tuple[EntryRecord, ...]", size: int) -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    if not found:
        click.echo(f"the teacher cache {root} is empty")
        return
    _tables.print_cache_entries(found)
    click.echo(f"{len(found)} entr{'y' if len(found) == 1 else 'ies'}, {formatting.size(size)} in {root}")
    for entry in found:
        if entry.problem is not None:
            click.echo(entry.problem)
        if entry.other_version is not None:
            click.echo(f"{entry.path}: of another version of edgekd; `edgekd cache prune --all` removes it")


def _print_verification(found: "Verification") -> None:
    for damage in found.damaged:
        click.echo(f"damaged: {damage.path}: {damage.problem}")
    click.echo(f"{found.entries} entries, {found.shards} shards in {found.root}: {len(found.damaged)} damaged")
    if found.other_versions:
        click.echo(f"{found.other_versions} of another version of edgekd: not looked into")
    if found.damaged:
        click.echo("Remove them with `edgekd cache prune --damaged`; the next training makes them again.")


def _print_pruning(pruned: "Pruning") -> None:
    from edgekd.report import formatting

    verb = "would remove" if pruned.dry_run else "removed"
    for removal in pruned.removed:
        click.echo(f"{verb} {removal.path} ({formatting.size(removal.size_bytes)}): {removal.reason}")
    for key in pruned.in_use:
        click.echo(f"left {key}: a process uses it")
    freed, kept = formatting.size(pruned.freed_bytes), formatting.size(pruned.kept_bytes)
    click.echo(f"{'would free' if pruned.dry_run else 'freed'} {freed}; {kept} stay in {pruned.root}")
