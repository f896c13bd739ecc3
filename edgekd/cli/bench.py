"""edgekd bench: latency and memory of exported files."""

import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

import click

from edgekd.cli import _options


@click.command("bench")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--target", default="local", show_default=True, help="What to measure on: see `edgekd list targets`.")
@click.option("--threads", default="1", show_default=True, help="Numbers of threads, such as 1,2.")
@click.option("--processes", type=click.IntRange(min=1), default=10, show_default=True, help="Fresh processes each.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of inputs and order.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the target; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the raw samples in this folder.")
@_options.json_option
@_options.debug_option
def command(
    models: tuple[Path, ...],
    target: str,
    threads: str,
    processes: int,
    seed: int,
    settings: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure MODELS (TFLite, ONNX): fresh processes, warm-up, interleaved blocks, percentiles with an interval."""
    from edgekd import bench
    from edgekd.cli import _tables
    from edgekd.cli._progress import TerminalProgress

    with tempfile.TemporaryDirectory() as temporary, TerminalProgress(quiet=as_json) as progress:
        measurements = bench.measure(
            models,
            raw_folder=out or Path(temporary) / "samples",
            target=target,
            num_threads=_numbers(threads),
            **{"processes": processes, "seed": seed, **_settings(settings)},
            on_progress=progress.item,
        )
    if out is None:
        measurements = tuple(m.model_copy(update={"samples_path": None}) for m in measurements)
    if as_json:
        document = {"schema_version": 1, "measurements": [m.model_dump(mode="json") for m in measurements]}
        click.echo(json.dumps(document, indent=2))
    else:
        _tables.print_measurements(measurements)


def _settings(assignments: tuple[str, ...]) -> dict[str, Any]:
    from edgekd import bench, recipe

    given = recipe.assigned(assignments)
    taken = sorted(set(given) & set(inspect.signature(bench.measure).parameters))
    if taken:
        raise click.UsageError(f"--set {taken[0]}: that is no setting of a target; see `edgekd bench --help`.")
    return given


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is not a list of whole numbers such as 1,2.", param_hint="--threads")
    return tuple(int(part) for part in parts)
