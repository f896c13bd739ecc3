"""Checks an exported file against its golden record and its budgets."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekd import bench, storage
from edgekd.bench import stats
from edgekd.bench.samples import RawSamples
from edgekd.diff import diff_models
from edgekd.errors import ModelError, RecipeError, StorageError, unknown_name
from edgekd.golden import comparing, recording
from edgekd.golden.causes import causes, differences
from edgekd.golden.records import ConversionCheck, Finding, Golden, Was
from edgekd.pipeline import verification
from edgekd.records import Interval, TensorSpec
from edgekd.runtime import predict_arrays
from edgekd.runtime.selection import split_choice
from edgekd.teachers.runnable import open_runnable
from edgekd.verify import comparing as comparing_models
from edgekd.verify import judging
from edgekd.verify import metrics as measures
from edgekd.verify import samples as sampling
from edgekd.verify.comparing import Subject
from edgekd.verify.records import Status, Verification, worst
from edgekd.verify.samples import Samples
from edgekd.verify.tolerances import Limits

DEFAULT_SAMPLES = 16
KEPT_SAMPLES = 32
MAX_SIZE_GROWTH = 0.01

_EXPORTED = (".tflite", ".onnx")
# By runtime that a file may name: the settings with which latency is measured in it.
_MEASURED: Mapping[str | None, dict[str, Any]] = {
    None: {},
    "litert": {},
    "litert_builtin": {"delegate": "none"},
    "onnxruntime": {},
}


def check_conversion(
    model: Path | str,
    golden: Path | str,
    *,
    reference: Any = None,
    data: Any = None,
    seeded: int | None = None,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
    max_accuracy_drop: float | None = None,
    min_agreement: float | None = None,
    max_size_bytes: int | None = None,
    max_size_growth: float = MAX_SIZE_GROWTH,
    max_latency_ratio: float | None = None,
    baseline: Path | str | None = None,
    golden_limits: Mapping[str, Any] = MappingProxyType({}),
    reference_limits: Mapping[str, Any] = MappingProxyType({}),
    bench_settings: Mapping[str, Any] = MappingProxyType({}),
    regenerate: bool = False,
) -> ConversionCheck:
    """Returns whether an exported file is still what its golden record says, and within its budgets.

    A missing record is written, and the check has failed: nobody has looked at it yet.

    Args:
      model: a .tflite or .onnx file, with `@RUNTIME` behind it or not.
      golden: the JSON file of the record.
      reference: what the file was made from, see `edgekd.verify_models`: the two are compared on the same samples.
      data: samples, see `edgekd.verify_models`; seeded ones by default. Outputs of the first 32 are kept.
      seeded: how many seeded samples, 16 by default.
      seed: decides them.
      ranges: {input: (low, high)} of seeded samples; by default what the file declares, or did when it was recorded.
      shapes: {input: shape with the batch}, for inputs with open sizes.
      max_accuracy_drop: the reference's accuracy minus the file's; needs a reference and labelled data.
      min_agreement: the least fraction of samples with the same class as the reference's.
      max_size_bytes: of the file.
      max_size_growth: the fraction by which it may be larger than its golden record says.
      max_latency_ratio: the file's latency divided by the baseline's, both measured now, interleaved, in the runtime
        that the file names (LiteRT with or without its delegate, ONNX Runtime). Where the limit lies inside the 95 %
        interval, the finding is inconclusive.
      baseline: a .tflite or .onnx file; where something changed and it is of the same format, it is also told in what
        the file differs from it.
      golden_limits: `epsilons`, `max_abs`, `max_lsb`, `max_mismatch` of outputs against the golden ones, see
        `edgekd.verify.tolerances.Limits`.
      reference_limits: these and `min_sqnr_db`, `expect`, `by_interval` of outputs against the reference's.
      bench_settings: such as `processes=10`, see `edgekd list targets`.
      regenerate: write the record anew; the check still fails where something changed.

    Raises:
      RecipeError: options that do not go together.
      ModelError: a file that cannot be read or run, or is no exported one.
      NonFiniteError: NaN or infinite outputs.
      StorageError: a file that is missing, or a golden record that is damaged.
    """
    path, chosen = split_choice(str(model))
    if path.suffix.lower() not in _EXPORTED:
        raise ModelError(f"{str(model)!r} is no exported file: expected one that ends in {' or '.join(_EXPORTED)}.")
    _require_budgets(
        reference=reference,
        needing={"max_accuracy_drop": max_accuracy_drop, "min_agreement": min_agreement},
        reference_limits=reference_limits,
        baseline=baseline,
        max_latency_ratio=max_latency_ratio,
        bench_settings=bench_settings,
    )
    if data is not None and seeded is not None:
        raise RecipeError("data and a number of seeded samples were given: choose one of them.")
    if data is not None and (ranges or shapes):
        raise RecipeError("ranges and shapes are those of seeded samples, and data was given: leave them out.")
    settings = dict(bench_settings)
    if baseline is not None:
        baseline, of_baseline = split_choice(str(baseline))
        storage.require_file(baseline, "baseline")
        if max_latency_ratio is not None:
            settings |= _bench_runtime(chosen, of_baseline, settings)
    golden = Path(golden)
    limits = dataclasses.replace(_limits(golden_limits, _OF_GOLDEN), expect="same")
    compared = _limits(reference_limits, _OF_REFERENCE)
    before, unreadable = _read(golden, regenerate=regenerate)

    given = _Given(data, DEFAULT_SAMPLES if seeded is None else seeded, seed, ranges, shapes)
    verified = None
    if reference is not None:
        verified = verification.verify_models(
            reference,
            [model],
            data=data,
            seeded=seeded,
            seed=seed,
            ranges=ranges,
            shapes=shapes,
            limits=dataclasses.replace(compared, max_accuracy_drop=max_accuracy_drop, min_agreement=min_agreement),
        )
    now = _record(str(model), given, before, verified)

    was, findings = _against_golden(
        golden.name, before, now, unreadable, limits=limits, max_size_growth=max_size_growth, regenerate=regenerate
    )
    because: tuple[str, ...] = ()
    if before is not None and worst([each.status for each in findings]) != "passed":
        because = causes(before, now)
        if baseline is not None and baseline.suffix.lower() == path.suffix.lower():
            because += differences(diff_models(baseline, path))
    if max_size_bytes is not None:
        findings.append(_size(now.size_bytes, max_size_bytes))
    if verified is not None:
        findings += _against_reference(verified)
    if max_latency_ratio is not None and baseline is not None:
        findings.append(_latency(path, baseline, max_latency_ratio, settings))
    if was != "compared":  # last: what ended in an error has told nobody to look at the record
        now.write(golden)
    return ConversionCheck(
        file=Path(str(model)).name,
        golden=str(golden),
        golden_was=was,
        status=worst([each.status for each in findings]),
        findings=tuple(findings),
        causes=because,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
    """What a user says of the samples."""

    data: Any
    seeded: int
    seed: int
    ranges: Mapping[str, tuple[float, float]]
    shapes: Mapping[str, Sequence[int]]


_OF_GOLDEN = ("epsilons", "max_abs", "max_lsb", "max_mismatch")
_OF_REFERENCE = (*_OF_GOLDEN, "min_sqnr_db", "expect", "by_interval")


def _limits(given: Mapping[str, Any], known: Sequence[str]) -> Limits:
    for name in given:
        if name not in known:
            raise RecipeError(unknown_name("limit", name, known))
    return Limits(**given)


def _require_budgets(
    *,
    reference: Any,
    needing: Mapping[str, float | None],
    reference_limits: Mapping[str, Any],
    baseline: Path | str | None,
    max_latency_ratio: float | None,
    bench_settings: Mapping[str, Any],
) -> None:
    asked = [name for name, value in needing.items() if value is not None]
    asked += ["reference_limits"] if reference_limits else []
    if asked and reference is None:
        raise RecipeError(f"{' and '.join(asked)} need a reference, which the file is compared with: give `reference`.")
    if max_latency_ratio is not None and baseline is None:
        raise RecipeError("max_latency_ratio needs a baseline, which is measured in the same minutes: give `baseline`.")
    if max_latency_ratio is not None and max_latency_ratio <= 0:
        raise RecipeError(f"max_latency_ratio is {max_latency_ratio}: expected a number above 0.")
    if bench_settings and max_latency_ratio is None:
        raise RecipeError("bench_settings are for max_latency_ratio, which was not given.")


def _bench_runtime(chosen: str | None, of_baseline: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with which both files are measured in the runtime that was chosen for them.

    Args:
      chosen: of the file, None without an @RUNTIME.
      of_baseline: of the baseline, likewise.
      settings: that were given.

    Raises:
      RecipeError: two runtimes, or one that latency is not measured in.
    """
    if of_baseline is not None and of_baseline != chosen:
        raise RecipeError(
            f"the baseline is to be measured in {of_baseline!r} and the file in {chosen or 'its default runtime'!r}: "
            "latencies are compared in one runtime. Give both the same @RUNTIME, or only the file."
        )
    if chosen not in _MEASURED:
        known = ", ".join(repr(name) for name in _MEASURED if name is not None)
        raise RecipeError(
            f"max_latency_ratio cannot measure in {chosen!r}: it measures in {known}. Check latency in a test of its "
            "own, without @RUNTIME."
        )
    wanted = _MEASURED[chosen]
    if wanted.keys() & settings.keys():
        raise RecipeError(f"@{chosen} and bench_settings both choose a delegate: leave one of them out.")
    return wanted


def _read(golden: Path, *, regenerate: bool) -> tuple[Golden | None, str]:
    """Returns the record, or None where there is none, and why it cannot be read where it is to be replaced."""
    if not golden.exists():
        return None, ""
    try:
        return Golden.read(golden), ""
    except StorageError as error:
        if regenerate:
            return None, str(error)
        raise StorageError(
            f"{str(golden)!r} is not a golden record that this edgekd reads: restore it from version control, or "
            f"regenerate it (--edgekd-regen). {error}"
        ) from error


def _against_golden(
    name: str,
    before: Golden | None,
    now: Golden,
    unreadable: str,
    *,
    limits: Limits,
    max_size_growth: float,
    regenerate: bool,
) -> tuple[Was, list[Finding]]:
    """Compares with the record, and says what becomes of it: all but "compared" is to be written."""
    if before is None:
        why = f"was damaged ({unreadable})" if unreadable else "did not exist"
        message = f"{name} {why} and was written: look at it, commit it, and run the test again"
        return "regenerated" if unreadable else "written", [_golden(message)]
    findings = list(comparing.compare(before, now, limits=limits, max_size_growth=max_size_growth))
    if not regenerate or before == now:
        return "compared", findings
    if worst([each.status for each in findings]) != "passed":
        findings.append(_golden(f"{name} was regenerated: review what changed, and commit it"))
    return "regenerated", findings


def _record(model: str, given: _Given, before: Golden | None, verified: Verification | None) -> Golden:
    path, _ = split_choice(model)
    opened = open_runnable(model)
    with opened.runner as runner:
        subject = Subject(path.name, opened.path, opened.runtime, runner, opened.arithmetic)
        samples, ranges = _samples(subject, given, before)
        arrays = predict_arrays(runner, samples.arrays)
    inspection, constants = recording.read(path)
    return recording.record(
        inspection,
        constants,
        arithmetic=opened.arithmetic.kind,
        specs=runner.outputs,
        steps=opened.arithmetic.steps,
        activations=opened.arithmetic.activations,
        arrays=[each[:KEPT_SAMPLES] for each in arrays],
        run_on=recording.inputs_of(samples, seed=given.seed).model_copy(update={"ranges": ranges}),
        runtime_name=opened.runtime,
        metrics=_metrics(samples, runner.outputs, arrays, verified),
    )


def _samples(subject: Subject, given: _Given, before: Golden | None) -> tuple[Samples, dict[str, tuple[float, float]]]:
    """Returns samples and the ranges of seeded ones: as given, else as they were recorded, else as declared."""
    inputs = subject.runner.inputs
    if given.data is not None:
        return verification.read_samples(given.data, inputs), {}
    names = {spec.name for spec in inputs}
    recorded = {} if before is None else {name: each for name, each in before.run_on.ranges.items() if name in names}
    asked = {name: (low, high, "as given") for name, (low, high) in {**recorded, **given.ranges}.items()}
    ranges = {**comparing_models.declared_ranges([subject]), **asked}
    samples = sampling.seeded_samples(inputs, samples=given.seeded, seed=given.seed, ranges=ranges, shapes=given.shapes)
    return samples, {spec.name: sampling.range_of(spec, ranges)[:2] for spec in inputs}


def _metrics(
    samples: Samples, outputs: Sequence[TensorSpec], arrays: Sequence[Any], verified: Verification | None
) -> dict[str, float]:
    """Returns the fractions that a record keeps; none where there is nothing to compare classes with."""
    found: dict[str, float] = {}
    if samples.labels is not None and len(arrays) == 1 and arrays[0].ndim == 2 and arrays[0].shape[1] > 1:
        name = outputs[0].name
        judging.require_classes(samples.labels, arrays[0].shape[1], output=name, dataset=samples.name)
        found["accuracy"] = measures.accuracy(arrays[0].argmax(axis=-1), samples.labels)
    if verified is not None and verified.comparisons[0].agreement is not None:
        found["agreement"] = verified.comparisons[0].agreement.value
    count = len(arrays[0]) if verified is None else verified.samples
    return {"samples": count, **found} if found else {}


def _golden(message: str) -> Finding:
    return Finding(kind="golden", status="failed", message=message)


def _size(size: int, limit: int) -> Finding:
    relation = "within" if size <= limit else "over"
    return Finding(
        kind="size",
        status="passed" if size <= limit else "failed",
        message=f"{size:,} bytes, {relation} the budget of {limit:,}",
    )


def _against_reference(verified: Verification) -> list[Finding]:
    name = verified.models[0].label
    found = [
        Finding(
            kind="reference",
            status=verdict.status,
            message=f"output {verdict.output!r} against {name}: {verdict.reason or 'within the tolerance'}. "
            f"Tolerance: {verdict.tolerance.origin}",
        )
        for verdict in verified.verdicts
    ]
    for gate in verified.gates:
        status: Status = "passed" if gate.passed else "inconclusive" if gate.inconclusive else "failed"
        observed = "not measured" if gate.observed is None else f"{gate.observed:.4f}"
        words = f"{gate.name} against {name}: {observed}, must be {gate.relation} {gate.limit:g}"
        interval = getattr(verified.comparisons[0], gate.name, None)
        if interval is not None:
            words += f" (95 % interval {interval.low:.4f} to {interval.high:.4f}, {verified.samples} samples)"
        found.append(Finding(kind="reference", status=status, message=words))
    return found


def judged_ratio(ratio: Interval | None, limit: float) -> Status:
    """Returns passed where the whole interval is within the limit, failed where all of it is beyond."""
    if ratio is None:
        return "inconclusive"
    return "passed" if ratio.high <= limit else "failed" if ratio.low > limit else "inconclusive"


def _latency(path: Path, baseline: Path, limit: float, settings: Mapping[str, Any]) -> Finding:
    with tempfile.TemporaryDirectory(prefix="edgekd-golden-") as folder:
        measured = bench.measure([path, baseline], raw_folder=Path(folder, "samples"), **settings)
        new, old = (RawSamples.read(Path(folder, str(each.samples_path))) for each in measured)
    ratio = stats.ratio_interval(new.processes, old.processes)
    status = judged_ratio(ratio, limit)
    if ratio is None:
        words = f"{len(new.processes)} processes are too few for an interval; at least {stats.MIN_PROCESSES} are needed"
    else:
        words = (
            f"{ratio.value:.3f} of {baseline.name} (95 % interval {ratio.low:.3f} to {ratio.high:.3f}); at most "
            f"{limit:g} is allowed"
        )
    noise = dict.fromkeys((*measured[0].warnings, *measured[1].warnings))
    if status != "passed" and noise:
        words += ". " + " ".join(noise)
    return Finding(kind="latency", status=status, message=words)
