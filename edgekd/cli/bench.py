"""edgekd bench: latency and memory of exported files, measured or, for chips that are not at hand, reckoned."""

import contextlib
import inspect
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd import storage
from edgekd.cli import _options

if TYPE_CHECKING:
    from edgekd.bench.history import Trend
    from edgekd.bench.report import BenchReport
    from edgekd.bench.roofline import Roofline
    from edgekd.bench.samples import RawSamples
    from edgekd.records import Measurement, TensorSize

_OF_SAMPLES = ("google-benchmark", "pytest-benchmark")
FORMATS = ("table", "json", "csv", "google-benchmark", "pytest-benchmark")
_PROCESSES = 10
_OF_PROFILES = {"models", "target", "profile", "plot", "processes", "seed", "form", "as_json", "debug"}


class _Share(click.ParamType[float]):
    """A share as `2%` or `0.02`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the share as a number."""
        if isinstance(value, float):
            return value
        text, percent, rest = str(value).partition("%")
        try:
            number = float(text) / (100 if percent else 1)
        except ValueError:
            number = -1.0
        if rest or not 0 < number < 1:
            self.fail(f"{value!r} is not a share such as 2% or 0.02.", param, ctx)
        return number


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers as `1,2`."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Returns the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.strip().isdigit() for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers such as 1,2.", param, ctx)
        return tuple(int(part) for part in parts)


@click.command("bench")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1)
@click.option("--target", default="local", show_default=True, help="What to measure on: see `edgekd list targets`.")
@click.option("--threads", type=_Numbers(), default="1", show_default=True, help="Numbers of threads, such as 1,2.")
@click.option(
    "--batch", type=_Numbers(), help="Sizes of the inputs' first dimension, such as 1,8.  [default: the file's]"
)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Fresh processes each.  [default: 10, or what a goal takes]"
)
@click.option("--precision", type=_Share(), help="Stop when the intervals are this narrow, such as 2%.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Measure for at most about so long.")
@click.option("--compare", is_flag=True, help="Say whether the others are faster or slower than the first.")
@click.option("--floor", type=_Share(), help="Smallest difference that matters to --compare.  [default: 3%]")
@click.option(
    "--max-ratio", type=click.FloatRange(min=0, min_open=True), help="Gate: the others' time over the first's."
)
@click.option(
    "--interval-ms", type=click.FloatRange(min=0, min_open=True), help="Start a run every so often (periodic)."
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Run for so long, to see throttling.")
@click.option(
    "--delegate", type=_options.Choice(["xnnpack", "none"]), help="LiteRT's delegate.  [default: its own choice]"
)
@click.option("--cores", type=_Numbers(), help="Pin the processes to these cores, such as 0 or 2,3.")
@click.option("--inputs", type=click.Path(path_type=Path), help="An .npz with one array per input.  [default: seeded]")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Another setting of the target; repeatable."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of inputs and order.")
@click.option("--self-test", is_flag=True, help="Measure copies of a model: which differences can this machine show?")
@click.option("--roofline", is_flag=True, help="Hold each model to what this machine can do at all.")
@click.option("--details", is_flag=True, help="Also print the cold start, more percentiles, and each tensor's bytes.")
@click.option("--profile", is_flag=True, help="Say where the time goes, operator by operator, on one thread.")
@click.option("--plot", type=click.Path(path_type=Path), help="With --profile: write a page with a graph.")
@click.option("--history", type=click.Path(path_type=Path), help="Append to this file, and show the trend.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the raw samples in this folder.")
@click.option(
    "--format", "form", type=_options.Choice(FORMATS), default="table", show_default=True, help="What to print."
)
@_options.json_option
@_options.debug_option
def command(
    models: tuple[Path, ...],
    *,
    threads: tuple[int, ...],
    batch: tuple[int, ...] | None,
    compare: bool,
    floor: float | None,
    max_ratio: float | None,
    cores: tuple[int, ...] | None,
    inputs: Path | None,
    settings: tuple[str, ...],
    self_test: bool,
    roofline: bool,
    details: bool,
    profile: bool,
    plot: Path | None,
    history: Path | None,
    out: Path | None,
    form: str,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure MODELS (TFLite, ONNX): fresh processes, warm-up, interleaved blocks, percentiles with an interval.

    With --compare each model but the first is called faster, slower, equivalent or inconclusive; with --max-ratio the
    exit status is 0 where all are within it, 1 where one is beyond, 3 where the measurement cannot tell. Ctrl-C prints
    what was measured so far, marked as interrupted, and so does an error. Targets such as tflite-micro, ethos-u and
    cortex-m are reckoned for instead, and of qemu-aarch64 outputs are compared: nothing is measured.
    """
    from edgekd import bench

    chosen = "json" if as_json else form
    if plot is not None and not profile:
        raise click.UsageError("--plot is for --profile.")
    if profile:
        _profile(models, plot, given, form=chosen)
        return
    if bench.is_estimate(given["target"]) or bench.is_parity(given["target"]):
        from edgekd.cli import _unmeasured

        _unmeasured.show(click.get_current_context(), models, given["target"], _settings(settings), form=chosen)
        return
    comparing = compare or max_ratio is not None
    if roofline and (given["target"] != "local" or len(threads) > 1 or batch is not None or self_test):
        raise click.UsageError("--roofline is of this machine, one number of threads and the files' own batch.")
    if self_test and details:
        raise click.UsageError("--details is for models that are measured: leave it out of --self-test.")
    _check(models, comparing=comparing, floor=floor, form=chosen, history=history, self_test=self_test)
    options: dict[str, Any] = {
        **_settings(settings),
        **{name: value for name, value in given.items() if value is not None},
        "num_threads": threads,
    }
    further = {"cores": cores, "inputs": None if inputs is None else str(inputs), "batches": batch}
    options |= {name: value for name, value in further.items() if value is not None}
    if not {"processes", "precision", "seconds", "minutes"} & set(options):
        options["processes"] = _PROCESSES
    if self_test:
        _self_test(models, floor, options, as_json=chosen == "json")
        return
    tensors = _tensors(models) if details else ()
    with _samples_folder(out) as folder:
        found, samples, broken_off = _measured(
            models, folder, options, floor, max_ratio, comparing=comparing, quiet=chosen != "table"
        )
    found = found.model_copy(update={"tensors": tensors})
    if roofline and broken_off is None:
        found = found.model_copy(update={"roofline": _roofline(found.measurements, models, options)})
    if out is None:
        unkept = tuple(each.model_copy(update={"samples_path": None}) for each in found.measurements)
        found = found.model_copy(update={"measurements": unkept})
    if history is not None:
        found = found.model_copy(update={"trends": _appended(history, found.measurements)})
    if broken_off is not None and len(samples) < len(found.measurements) and chosen in _OF_SAMPLES:
        raise broken_off
    _print(chosen, found, samples, details=details)
    if broken_off is not None:
        raise broken_off
    if found.status != "passed":
        raise SystemExit(_options.STATUS[found.status])


def _settings(assignments: Sequence[str]) -> dict[str, Any]:
    from edgekd import bench, recipe

    given = recipe.assigned(assignments)
    taken = sorted(set(given) & set(inspect.signature(bench.measure).parameters))
    if taken:
        raise click.UsageError(f"--set {taken[0]}: that is no setting of a target; see `edgekd bench --help`.")
    return given


def _check(
    models: Sequence[Path], *, comparing: bool, floor: float | None, form: str, history: Path | None, self_test: bool
) -> None:
    if self_test:
        if comparing or history is not None or form not in ("table", "json"):
            raise click.UsageError(
                "--self-test goes with neither --compare, --max-ratio nor --history, nor with a format."
            )
        if len(models) > 1:
            raise click.UsageError(f"--self-test takes one model or none, got {len(models)}.")
        return
    if not models:
        raise click.UsageError("name at least one MODEL, or give --self-test.")
    if comparing and len(models) < 2:
        raise click.UsageError(
            "--compare and --max-ratio need two models or more: the first is what the others are held to."
        )
    if floor is not None and not comparing:
        raise click.UsageError("--floor is for --compare, --max-ratio and --self-test.")


@contextlib.contextmanager
def _samples_folder(out: Path | None) -> Iterator[Path]:
    with storage.temporary_folder("edgekd-bench-") as temporary:
        yield out or temporary / "samples"


def _measured(
    models: Sequence[Path],
    folder: Path,
    options: dict[str, Any],
    floor: float | None,
    max_ratio: float | None,
    *,
    comparing: bool,
    quiet: bool,
) -> tuple["BenchReport", tuple["RawSamples", ...], BaseException | None]:
    from edgekd import bench
    from edgekd.bench import comparing as verdicts
    from edgekd.bench.report import BenchReport, gates
    from edgekd.bench.samples import RawSamples
    from edgekd.cli._progress import TerminalProgress

    broken_off: list[BaseException] = []
    with TerminalProgress(quiet=quiet) as progress:
        measurements = bench.measure(
            models,
            raw_folder=folder,
            of_ratios=comparing,
            on_broken_off=broken_off.append,
            on_progress=progress.item,
            **options,
        )
    samples = tuple(RawSamples.read(folder.parent / each.samples_path) for each in measurements if each.samples_path)
    comparisons = (
        bench.compare(measurements, folder.parent, floor=verdicts.FLOOR if floor is None else floor)
        if comparing
        else ()
    )
    judged = () if max_ratio is None else gates(comparisons, max_ratio)
    report = BenchReport(measurements=measurements, comparisons=comparisons, gates=judged)
    return report, samples, next(iter(broken_off), None)


def _tensors(models: Sequence[Path]) -> tuple["TensorSize", ...]:
    from edgekd.bench import files, tensors

    for model in models:
        files.located(model, Path())
    return tuple(
        itertools.chain.from_iterable(
            tensors.sizes(name, model) for name, model in zip(files.names(models), models, strict=True)
        )
    )


def _roofline(measurements: Sequence["Measurement"], models: Sequence[Path], options: dict[str, Any]) -> "Roofline":
    from edgekd.bench import roofline

    kept = {name: options[name] for name in ("cores", "seed") if name in options}
    return roofline.measure(measurements, models, num_threads=options["num_threads"][0], processes=3, **kept)


def _profile(models: Sequence[Path], plot: Path | None, given: dict[str, Any], *, form: str) -> None:
    if not models:
        raise click.UsageError("name at least one MODEL.")
    if click.get_current_context().params["target"] != "local":
        raise click.UsageError("--profile runs on this machine: leave --target out.")
    other = [text for name, text in _options.given(click.get_current_context()).items() if name not in _OF_PROFILES]
    if other:
        raise click.UsageError(f"{other[0]} is not for --profile, which runs on one thread: leave it out.")
    if form not in ("table", "json"):
        raise click.UsageError(f"--format {form} is for measurements: a profile is shown as table or json.")
    from edgekd.bench import profiling
    from edgekd.bench.report import ProfileReport
    from edgekd.cli import _latency
    from edgekd.report import profiles

    count = {} if given["processes"] is None else {"processes": given["processes"]}
    found = [profiling.profile_model(model, seed=given["seed"], **count) for model in models]
    if plot is not None:
        profiles.write_page(found, plot)
        click.echo(f"time of all operators: {plot}", err=True)
    if form == "json":
        _options.print_json(ProfileReport(profiles=tuple(found)))
        return
    for each in found:
        _latency.print_profile(each)


def _self_test(models: Sequence[Path], floor: float | None, options: dict[str, Any], *, as_json: bool) -> None:
    from edgekd.bench import comparing, self_test
    from edgekd.cli import _latency
    from edgekd.cli._progress import TerminalProgress

    if len(options["num_threads"]) > 1 or len(options.get("batches", ())) > 1:
        raise click.UsageError("--self-test takes one number of threads and one batch.")
    with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as temporary, TerminalProgress(quiet=as_json) as progress:
        if models:
            model = models[0]
        else:
            model = Path(temporary, "four_convolutions.onnx")
            self_test.write_model(model)
        found = self_test.run(
            model, floor=comparing.FLOOR if floor is None else floor, on_progress=progress.item, **options
        )
    if as_json:
        _options.print_json(found)
    else:
        _latency.print_self_test(found)


def _appended(history: Path, measurements: Sequence["Measurement"]) -> tuple["Trend", ...]:
    import datetime

    from edgekd import environment
    from edgekd.bench import history as histories

    version = environment.installed_version("edgekd") or "not installed"
    now = datetime.datetime.now(datetime.UTC)
    whole = [each for each in measurements if each.ended not in ("interrupted", "failed")]
    entries = [histories.Entry(time=now, edgekd=version, measurement=each) for each in whole]
    return histories.append(history, entries) if entries else ()


def _print(form: str, found: "BenchReport", samples: Sequence["RawSamples"], *, details: bool) -> None:
    from edgekd import environment
    from edgekd.bench import formats
    from edgekd.cli import _latency

    version = environment.installed_version("edgekd") or "not installed"
    match form:
        case "json":
            _options.print_json(found)
        case "csv":
            click.echo(formats.to_csv(found.measurements, found.comparisons), nl=False)
        case "google-benchmark":
            click.echo(formats.to_google_benchmark(found.measurements, samples, version=version), nl=False)
        case "pytest-benchmark":
            click.echo(formats.to_pytest_benchmark(found.measurements, samples, version=version), nl=False)
        case _:
            _latency.print_report(found, details=details)
