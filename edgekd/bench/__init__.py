"""Measures exported models: latency percentiles, first inference, loading and memory, with the raw samples kept.

`measure`, `estimate` and `check_parity` are all that other parts call. Measuring needs no TensorFlow and no Keras:
`worker` measures in fresh processes with NumPy and one runtime, `targets` says where, `stats` turns samples into
numbers and warnings.
"""

import collections
import dataclasses
import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import inspect, recipe, registry, storage
from edgekd.bench import availability, comparing, files, noise, stats, sustain
from edgekd.bench.collecting import MOST_PROCESSES, Collected, Goal
from edgekd.bench.estimating import ESTIMATES, estimate, is_estimate
from edgekd.bench.parity import PARITIES, check_parity, is_parity
from edgekd.bench.plan import Plan, make_plan
from edgekd.bench.rounds import OnProgress, Round
from edgekd.bench.samples import Process, RawSamples, sampled
from edgekd.bench.unmeasured import takes
from edgekd.bench.worker import ENGINES
from edgekd.errors import EdgekdError, ModelError, RecipeError, StorageError
from edgekd.records import Artifact, LatencyComparison, Measurement

TARGETS = recipe.TARGETS

__all__ = [
    "ESTIMATES",
    "PARITIES",
    "TARGETS",
    "check_parity",
    "compare",
    "estimate",
    "is_estimate",
    "is_parity",
    "measure",
    "supports",
    "takes",
]


def supports(path: Path) -> bool:
    """Returns whether a file is of a format that can be measured; its content is not looked at."""
    return path.suffix.lower() in ENGINES


def measure(
    models: Sequence[Artifact | Path],
    *,
    root: Path = Path(),
    raw_folder: Path,
    target: str = "local",
    num_threads: Sequence[int] = (1,),
    batches: Sequence[int | None] = (None,),
    seed: int = 0,
    precision: float | None = None,
    seconds: float | None = None,
    of_ratios: bool = False,
    on_broken_off: Callable[[BaseException], None] | None = None,
    on_progress: OnProgress | None = None,
    **settings: Any,
) -> tuple[Measurement, ...]:
    """Measures models on one target and returns one record per model, number of threads and batch.

    The models of one number of threads and batch are measured together, their blocks interleaved.

    Args:
      models: artifacts, whose paths are relative to `root` and whose bytes must still be those of their hash, or files.
      root: folder of the artifacts.
      raw_folder: folder for the raw samples, one JSON file per record; `samples_path` is relative to its parent.
      target: what to measure on: a plug-in of edgekd/bench/targets, with its address where it has one, such as
        `ssh://pi@board`.
      num_threads: numbers of threads, each measured on its own.
      batches: sizes of the inputs' first dimension, each measured on its own; None: as the file says.
      seed: of the inputs and of the order of the blocks.
      precision: stop when the interval of every model is at most this far from its value, as a share of it, such as
        0.02. Where `processes` is not given, up to 100 are used.
      seconds: start no round that would not end within this time, shared by all numbers of threads and batches. The
        first round always runs. Where `processes` is not given, up to 100 are used.
      of_ratios: whether `precision` is that of the ratios to the first model instead, of which there must be two.
      on_broken_off: called with the KeyboardInterrupt or EdgekdError that breaks the measurement off after at least one
        whole round, or one block of a sustained measurement, instead of raising it; what was measured is returned,
        marked as interrupted or failed, and models that were not are left out. The raw samples are kept in any case.
      on_progress: called with (steps done, steps in all, what was done).
      settings: the target's own and those of `edgekd.bench.plan.make_plan`, such as `processes=5`, `blocks=4`,
        `min_runs=25`, `min_block_ms=50.0`.

    Raises:
      RecipeError: unknown target or setting, or a value of the wrong type or out of range.
      StorageError: a file is missing.
      ModelError: a model cannot be measured, or an artifact's file is not the one that was exported.
    """
    chosen = recipe.target_of(target)
    if chosen.package == ESTIMATES:
        raise RecipeError(f"target {target!r} is reckoned for and cannot be measured on: use edgekd.bench.estimate.")
    if chosen.package == PARITIES:
        raise RecipeError(
            f"target {target!r} compares outputs and never gives a time, so it cannot be measured on: use "
            "edgekd.bench.check_parity."
        )
    own = _own_settings(chosen, settings)
    goal = Goal.checked(
        precision=precision, seconds=seconds, of_ratios=of_ratios, parts=len(num_threads) * len(batches)
    )
    availability.require(chosen.plugin)
    if not models or not num_threads or not batches or _repeats(num_threads) or _repeats(batches):
        raise RecipeError(
            f"received {len(models)} models, num_threads={list(num_threads)} and batches={list(batches)}: give at "
            "least one of each, and each number once."
        )
    if goal.is_open and "processes" not in settings:
        settings["processes"] = MOST_PROCESSES
    names, paths = files.names(models), [_path(model, root) for model in models]
    safe_names = files.safe_names(names)
    contents = [files.content(model, path) for model, path in zip(models, paths, strict=True)]
    given = {key: value for key, value in settings.items() if key in own}
    if chosen.address is not None:
        given["address"] = chosen.address
    shared = {key: value for key, value in settings.items() if key not in own}
    plans = [
        make_plan(num_threads=threads, batch=batch, seed=seed, **shared)
        for threads, batch in itertools.product(num_threads, batches)
    ]
    module = registry.load(TARGETS, chosen.plugin.name)
    _try_batches(batches[1:], functools.partial(module.measure, paths, **given), plans[0])
    arithmetic = {path: _Arithmetic.of(path) for path in paths}

    found = []
    for index, plan in enumerate(plans):
        shifted = _shifted(on_progress, index, len(plans))
        collected = Collected()
        baseline: Sequence[Process] | None = None
        error = collected.gather(module.measure(paths, plan, on_progress=shifted, **given), goal)
        for position, (name, file, path, content) in enumerate(zip(names, safe_names, paths, contents, strict=True)):
            processes = tuple(each[position] for each in collected.rounds if position < len(each))
            if not processes:
                break
            raw = RawSamples(
                artifact=name,
                sha256=content.sha256,
                target=target,
                num_threads=plan.num_threads,
                batch=plan.batch,
                settings={**_settings_of(plan, own, given), "precision": goal.precision},
                ended=collected.ended,
                processes=processes,
            )
            sizes = f"{plan.num_threads}-threads" + ("" if plan.batch is None else f".batch-{plan.batch}")
            raw_path = raw_folder / f"{file}.{files.safe_names([target])[0]}.{sizes}.json"
            if position == 0 and goal.of_ratios:
                baseline = raw.processes
            kept: Path | None = raw_path
            try:
                storage.write_text(raw_path, raw.model_dump_json() + "\n")
            except StorageError as failure:  # the numbers are not lost with the samples
                kept, error = None, error or failure
            size_bytes = content.size_bytes
            record = _measurement(
                raw, plan, goal, baseline, size_bytes=size_bytes, arithmetic=arithmetic[path], raw_path=kept
            )
            found.append(record.model_copy(update={"failure": str(error)} if isinstance(error, EdgekdError) else {}))
        if error is not None:
            if on_broken_off is None or not found or not isinstance(error, KeyboardInterrupt | EdgekdError):
                raise error
            on_broken_off(error)
            break
    return tuple(found)


def compare(
    measurements: Sequence[Measurement], folder: Path, *, floor: float = comparing.FLOOR
) -> tuple[LatencyComparison, ...]:
    """Returns verdicts on all models but the first, for each number of threads and batch; see `comparing.judge`.

    Args:
      measurements: of one call of `measure`.
      folder: that their `samples_path` starts at.
      floor: the smallest difference that matters, as a share.

    Raises:
      DataError: fewer than two models, or a floor that is not above 0.
      StorageError: the raw samples are missing or damaged.
    """
    groups: dict[tuple[str, int, int | None], list[Measurement]] = {}
    for each in measurements:
        groups.setdefault((each.target, each.num_threads, each.batch), []).append(each)
    found: list[LatencyComparison] = []
    for (target, threads, batch), group in groups.items():
        if any(each.samples_path is None for each in group):  # they could not be kept, which was said
            continue
        raw = [RawSamples.read(folder / str(each.samples_path)) for each in group]
        found += comparing.compare(
            [each.artifact for each in group],
            [each.processes for each in raw],
            target=target,
            num_threads=threads,
            batch=batch,
            floor=floor,
            watched=raw[0].settings.get("precision") is not None,
        )
    return tuple(found)


def _own_settings(target: recipe.Target, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the settings' names and types, and returns the target's own with their defaults."""
    name, plugin = target.name, target.plugin
    supplied = {"num_threads", "batch", "seed", "on_progress", "address"}
    takes_address = "address" in plugin.parameters
    if (target.address is not None) != takes_address:
        raise RecipeError(
            f"target {name!r} is written {name + '://ADDRESS' if takes_address else name!r}: "
            + ("name what to measure on." if takes_address else "it has no address.")
        )
    offered = {key: value for key, value in plugin.parameters.items() if key not in supplied}
    kind = f"setting of target {name!r}"
    registry.check_arguments(dataclasses.replace(plugin, parameters=offered), settings, kind=kind)
    registry.check_types(plugin, settings, kind=kind)
    shared = {field.name for field in dataclasses.fields(Plan)}
    return {key: value for key, value in offered.items() if key not in shared}


def _try_batches(batches: Sequence[int | None], measure: Callable[[Plan], Iterable[Round]], plan: Plan) -> None:
    """Raises where a model does not carry one of these batches, before much time is spent on another."""
    for batch in batches:
        collections.deque(measure(dataclasses.replace(plan.shortest(), batch=batch)), maxlen=0)


def _settings_of(plan: Plan, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("num_threads", "batch")  # of which the record has fields
    shared = {key: value for key, value in dataclasses.asdict(plan).items() if key not in hidden}
    return {**shared, **own, **{key: value for key, value in given.items() if key != "address"}}


@dataclasses.dataclass(frozen=True)
class _Arithmetic:
    """A file's multiply-accumulates with its own batch, and that batch; None where not known."""

    macs: int | None
    batch: int | None

    @classmethod
    def of(cls, path: Path) -> "_Arithmetic":
        try:
            found = inspect.inspect_model(path)
        except ModelError:  # the runtime has the last word on what it can run
            return cls(None, None)
        batches = {each.shape[0] or 1 if each.shape else None for each in found.inputs}
        return cls(found.macs, batches.pop() if len(batches) == 1 else None)

    def of_run(self, batch: int | None) -> int | None:
        """Returns the multiply-accumulates of one run with a batch, None for the file's own."""
        if batch is None or self.macs is None or self.batch is None:
            return self.macs if batch is None else None
        return self.macs * batch // self.batch


def _measurement(
    raw: RawSamples,
    plan: Plan,
    goal: Goal,
    baseline: Sequence[Process] | None,
    *,
    size_bytes: int,
    arithmetic: _Arithmetic,
    raw_path: Path | None,
) -> Measurement:
    processes = raw.processes
    first = processes[0]
    delegate = f" ({first.delegate})" if first.delegate else ""
    latency = stats.summarise(processes, watched=goal.precision is not None)
    with_samples = sampled(processes)
    late = [block.late_runs for process in with_samples for block in process.blocks if block.late_runs is not None]
    sustained = sustain.judge(with_samples[0]) if plan.mode == "sustained" else None
    memory = [process.peak_memory_bytes for process in processes if process.peak_memory_bytes is not None]
    disturbed = noise.warnings(processes, logical_cores=first.machine.logical_cores, single=sustained is not None)
    missed = goal.missed(latency.interval) if baseline is None else None
    if baseline is not None and baseline is not processes:
        missed = goal.missed(stats.ratio_interval(processes, baseline, watched=goal.precision is not None))
    run_macs = arithmetic.of_run(raw.batch)
    return Measurement(
        artifact=raw.artifact,
        target=raw.target,
        machine=first.machine,
        runtime=f"{first.runtime} {first.runtime_version}{delegate}",
        num_threads=raw.num_threads,
        batch=raw.batch,
        mode=plan.mode,
        interval_ms=plan.interval_ms,
        latency_ms=latency,
        first_inference_ms=statistics.median(process.first_inference_ms for process in processes),
        load_ms=statistics.median(process.ready_ms for process in processes),
        import_ms=_median(process.cold.import_ms for process in with_samples),
        allocate_ms=_median(process.cold.allocate_ms for process in with_samples),
        peak_memory_bytes=max(memory, default=None),
        size_bytes=size_bytes,
        sha256=raw.sha256,
        macs=arithmetic.macs,
        run_macs=run_macs,
        gmacs_per_second=run_macs / latency.p50 / 1e6 if run_macs else None,
        operators=first.operators,
        delegated_operators=first.delegated_operators,
        delegate_partitions=with_samples[0].delegate_partitions if with_samples else None,
        processes=len(processes),
        num_runs=sum(process.num_runs for process in processes),
        warmup_runs=sum(process.warmup_runs for process in processes),
        outliers=noise.outliers_of(with_samples) if with_samples else None,
        unsteady_processes=sum(each.steady is not True for each in with_samples) if with_samples else None,
        loop_ms=noise.loop_ms(with_samples),
        governor=with_samples[0].system_before.governor if with_samples else None,
        settings=raw.settings,
        late_runs=sum(late) if late else None,
        minute_medians_ms=() if sustained is None else sustained.minute_medians_ms,
        throttled=None if sustained is None else sustained.throttled,
        ended=raw.ended,
        samples_path=None if raw_path is None else raw_path.relative_to(raw_path.parent.parent).as_posix(),
        warnings=(*disturbed, *([] if missed is None else [missed])),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _path(model: Artifact | Path, root: Path) -> Path:
    path = files.located(model, root)
    if not supports(path):
        raise ModelError(f"{str(path)!r} cannot be measured: expected a file that ends in {' or '.join(ENGINES)}.")
    return path


def _repeats(values: Sequence[object]) -> bool:
    return len(set(values)) < len(values)


def _shifted(on_progress: OnProgress | None, index: int, parts: int) -> OnProgress | None:
    """Returns a progress callback for one of several equal parts of the work."""
    if on_progress is None:
        return None
    return lambda done, total, text: on_progress(index * total + done, parts * total, text)
