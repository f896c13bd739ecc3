"""edgekd bench: latency and memory of exported files, measured or, for chips that are not at hand, reckoned."""

import contextlib
import dataclasses
import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd import storage
from edgekd.cli import _bench_modes, _options
from edgekd.errors import EdgekdError

if TYPE_CHECKING:
    from edgekd.bench.history import Trend
    from edgekd.bench.report import BenchReport
    from edgekd.bench.roofline import Roofline
    from edgekd.bench.samples import RawSamples
    from edgekd.records import Measurement, TensorSize

_OF_SAMPLES = ("google-benchmark", "pytest-benchmark")
FORMATS = _bench_modes.FORMATS[_bench_modes.MEASURE]
_PROCESSES = 10


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
        if not all(part.strip().isdecimal() for part in parts):
            self.fail(f"{value!r} is not a list of whole numbers such as 1,2.", param, ctx)
        return tuple(int(part) for part in parts)


class _Positive(click.FloatRange):
    """A finite number above 0."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def _only_target(context: click.Context, parameter: click.Parameter, targets: tuple[str, ...]) -> str:  # noqa: ARG001
    """Returns the only target: of an option that is given twice, click would take the last without a word."""
    if len(targets) > 1:
        raise click.UsageError(
            f"--target is given {len(targets)} times ({', '.join(targets)}): a call measures on one. Call once for "
            "each, or list them in a recipe's bench.targets."
        )
    return targets[0]


@click.command("bench")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--target",
    multiple=True,
    default=("local",),
    show_default=True,
    callback=_only_target,
    help="What to measure on: see `edgekd list targets`.",
)
@click.option("--threads", type=_Numbers(), default="1", show_default=True, help="Numbers of threads, such as 1,2.")
@click.option(
    "--batch", type=_Numbers(), help="Sizes of the inputs' first dimension, such as 1,8.  [default: the file's]"
)
@click.option(
    "--processes", type=click.IntRange(min=1), help="Fresh processes each.  [default: 10, or what a goal takes]"
)
@click.option("--precision", type=_Share(), help="Stop when the intervals are this narrow, such as 2%.")
@click.option("--seconds", type=_Positive(), help="Measure for at most about so long.")
@click.option("--compare", is_flag=True, help="Say whether the others are faster or slower than the first.")
@click.option("--floor", type=_Share(), help="Smallest difference that matters to --compare.  [default: 3%]")
@click.option("--max-ratio", type=_Positive(), help="Gate: the others' time over the first's.")
@click.option("--interval-ms", type=_Positive(), help="Start a run every so often (periodic).")
@click.option("--minutes", type=_Positive(), help="Run for so long, to see throttling.")
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
@click.option("--plot", type=click.Path(path_type=Path), help="With --profile: write an .html page with a graph.")
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
    self_test: bool,  # noqa: ARG001 - read by _bench_modes, as profile is
    roofline: bool,
    details: bool,
    profile: bool,  # noqa: ARG001
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

    target = given["target"]
    unmeasured = bench.is_estimate(target) or bench.is_parity(target)
    mode = _bench_modes.chosen(click.get_current_context(), unmeasured=unmeasured)
    chosen = "json" if as_json else form
    options: dict[str, Any] = {
        **_settings(settings),
        **{name: value for name, value in given.items() if value is not None},
        "num_threads": threads,
    }
    further = {"cores": cores, "inputs": None if inputs is None else str(inputs), "batches": batch}
    options |= {name: value for name, value in further.items() if value is not None}
    if mode != _bench_modes.PROFILE and not {"processes", "precision", "seconds", "minutes"} & set(options):
        options["processes"] = _PROCESSES
    if mode == _bench_modes.PROFILE:
        _profile(models, plot, options, as_json=chosen == "json")
    elif mode == _bench_modes.UNMEASURED:
        from edgekd.cli import _unmeasured

        _unmeasured.show(click.get_current_context(), models, target, _settings(settings), form=chosen)
    elif mode == _bench_modes.SELF_TEST:
        _self_test(models, floor, options, as_json=chosen == "json")
    else:
        wanted = _Wanted(compare=compare, floor=floor, max_ratio=max_ratio, details=details, roofline=roofline)
        _measure(models, options, wanted, out=out, history=history, form=chosen)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What is to be found out besides the measurements."""

    compare: bool
    floor: float | None
    max_ratio: float | None
    details: bool
    roofline: bool

    @property
    def comparing(self) -> bool:
        return self.compare or self.max_ratio is not None


def _measure(
    models: Sequence[Path],
    options: dict[str, Any],
    wanted: _Wanted,
    *,
    out: Path | None,
    history: Path | None,
    form: str,
) -> None:
    """Measures, prints what there is, and then raises what broke the measurement off."""
    _check(models, options, wanted, out=out, history=history)
    tensors = _tensors(models) if wanted.details else ()
    with _samples_folder(out) as folder:
        found, samples, broken_off = _measured(models, folder, options, wanted, quiet=form != "table")
    found = found.model_copy(update={"tensors": tensors})
    if wanted.roofline and broken_off is None:
        try:
            found = found.model_copy(update={"roofline": _roofline(found.measurements, models, options)})
        except (KeyboardInterrupt, EdgekdError) as error:
            broken_off = error
    if out is None:
        unkept = tuple(each.model_copy(update={"samples_path": None}) for each in found.measurements)
        found = found.model_copy(update={"measurements": unkept})
    if history is not None:
        try:
            found = found.model_copy(update={"trends": _appended(history, found.measurements)})
        except EdgekdError as error:
            broken_off = broken_off or error
    if broken_off is not None:
        reason = "stopped by a signal" if isinstance(broken_off, KeyboardInterrupt) else str(broken_off)
        found = found.model_copy(update={"broken_off": reason})
        if len(samples) < len(found.measurements) and form in _OF_SAMPLES:
            raise broken_off
    _print(form, found, samples, details=wanted.details)
    if broken_off is not None:
        _say_what_is_missing(found.measurements, models, options)
        raise broken_off
    if found.status != "passed":
        raise SystemExit(_options.STATUS[found.status])


def _say_what_is_missing(
    measurements: Sequence["Measurement"], models: Sequence[Path], options: Mapping[str, Any]
) -> None:
    """Says on standard error of which parts of a sweep, and of which models within one, there are no numbers."""
    from edgekd.bench import files

    for threads, batch in itertools.product(options["num_threads"], options.get("batches", (None,))):
        there = {each.artifact for each in measurements if (each.num_threads, each.batch) == (threads, batch)}
        missing = [name for name in files.names(models) if name not in there]
        sizes = f"{threads} thread{'s'[: threads != 1]}" + ("" if batch is None else f" and batch {batch}")
        if not there:
            click.echo(f"edgekd: with {sizes} nothing was measured.", err=True)
        elif missing:
            click.echo(f"edgekd: with {sizes} nothing was measured of {', '.join(missing)}.", err=True)


def _settings(assignments: Sequence[str]) -> dict[str, Any]:
    from edgekd import bench, recipe

    given = recipe.assigned(assignments)
    options = _options.given(click.get_current_context())
    twice = sorted(set(given) & set(options))
    if twice:
        raise click.UsageError(f"--set {twice[0]} and {options[twice[0]]} say the same: give one of them.")
    taken = sorted(set(given) & set(inspect.signature(bench.measure).parameters))
    if taken:
        raise click.UsageError(f"--set {taken[0]}: that is no setting of a target; see `edgekd bench --help`.")
    return given


def _check(
    models: Sequence[Path], options: Mapping[str, Any], wanted: _Wanted, *, out: Path | None, history: Path | None
) -> None:
    """Raises before anything is measured where its result would be lost."""
    if not models:
        raise click.UsageError("name at least one MODEL, or give --self-test.")
    if wanted.comparing and len(models) < 2:
        raise click.UsageError(
            "--compare and --max-ratio need two models or more: the first is what the others are held to."
        )
    if wanted.floor is not None and not wanted.comparing:
        raise click.UsageError("--floor is for --compare, --max-ratio and --self-test.")
    if wanted.roofline and (options["target"] != "local" or len(options["num_threads"]) > 1):
        raise click.UsageError("--roofline is of this machine and one number of threads.")
    if out is not None:
        storage.check_folder(out)
    if history is not None:
        from edgekd.bench import history as histories

        if history.exists():
            histories.read(history)
            if histories.torn_end(history):
                click.echo(
                    f"edgekd: the last line of {str(history)!r} was cut off, as by a crash: it is moved to "
                    f"{str(histories.torn_path(history))!r}, and the history goes on after the line before.",
                    err=True,
                )
        storage.check_folder(history.parent, option="--history")


@contextlib.contextmanager
def _samples_folder(out: Path | None) -> Iterator[Path]:
    with storage.temporary_folder("edgekd-bench-") as temporary:
        yield out or temporary / "samples"


def _measured(
    models: Sequence[Path], folder: Path, options: dict[str, Any], wanted: _Wanted, *, quiet: bool
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
            of_ratios=wanted.comparing,
            on_broken_off=broken_off.append,
            on_progress=progress.item,
            **options,
        )
    samples = tuple(RawSamples.read(folder.parent / each.samples_path) for each in measurements if each.samples_path)
    floor = verdicts.FLOOR if wanted.floor is None else wanted.floor
    comparisons = bench.compare(measurements, folder.parent, floor=floor) if wanted.comparing else ()
    judged = () if wanted.max_ratio is None else gates(comparisons, wanted.max_ratio)
    report = BenchReport(measurements=measurements, comparisons=comparisons, gates=judged)
    return report, samples, next(iter(broken_off), None)


def _tensors(models: Sequence[Path]) -> tuple["TensorSize", ...]:
    from edgekd.bench import files, tensors
    from edgekd.inspect import inspect_model

    for model in models:
        files.located(model, Path())
    return tuple(
        itertools.chain.from_iterable(
            tensors.sizes(name, inspect_model(model)) for name, model in zip(files.names(models), models, strict=True)
        )
    )


def _roofline(measurements: Sequence["Measurement"], models: Sequence[Path], options: dict[str, Any]) -> "Roofline":
    from edgekd.bench import roofline

    kept = {name: options[name] for name in ("cores", "seed") if name in options}
    return roofline.measure(measurements, models, num_threads=options["num_threads"][0], processes=3, **kept)


def _profile(models: Sequence[Path], plot: Path | None, options: Mapping[str, Any], *, as_json: bool) -> None:
    if not models:
        raise click.UsageError("name at least one MODEL.")
    if options["target"] != "local":
        raise click.UsageError("--profile runs on this machine: leave --target out.")
    batches = options.get("batches", (None,))
    if len(batches) > 1:
        raise click.UsageError(f"--profile takes one batch, got {len(batches)}.")
    if plot is not None:
        _options.require_page(plot)
    from edgekd.bench import profiling
    from edgekd.bench.report import ProfileReport
    from edgekd.cli import _latency
    from edgekd.report import profiles

    taken = {name: options[name] for name in ("seed", "processes", "inputs") if name in options}
    found = [profiling.profile_model(model, batch=batches[0], **taken) for model in models]
    if as_json:
        _options.print_json(ProfileReport(profiles=tuple(found)))
    else:
        for each in found:
            _latency.print_profile(each)
    if plot is not None:
        profiles.write_page(found, plot)
        click.echo(f"time of all operators: {plot}", err=True)


def _self_test(models: Sequence[Path], floor: float | None, options: dict[str, Any], *, as_json: bool) -> None:
    from edgekd.bench import comparing, self_test
    from edgekd.cli import _latency
    from edgekd.cli._progress import TerminalProgress

    if len(models) > 1:
        raise click.UsageError(f"--self-test takes one model or none, got {len(models)}.")
    if len(options["num_threads"]) > 1 or len(options.get("batches", ())) > 1:
        raise click.UsageError("--self-test takes one number of threads and one batch.")
    broken_off: list[BaseException] = []
    with storage.temporary_folder("edgekd-bench-") as temporary, TerminalProgress(quiet=as_json) as progress:
        if models:
            model = models[0]
        else:
            model = temporary / "four_convolutions.onnx"
            self_test.write_model(model)
        found = self_test.run(
            model,
            floor=comparing.FLOOR if floor is None else floor,
            on_progress=progress.item,
            on_broken_off=broken_off.append,
            **options,
        )
    if as_json:
        _options.print_json(found)
    else:
        _latency.print_self_test(found)
    if broken_off:
        raise broken_off[0]


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
    if form not in ("table", "json"):
        for gate in (each for each in found.gates if not each.passed):
            result = "inconclusive" if gate.inconclusive else "failed"
            click.echo(f"edgekd: gate {result}: {gate.subject}: {gate.name} <= {gate.limit:g}.", err=True)
