"""In what a file differs from its golden record: pure functions of two records."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgekd.golden import recording
from edgekd.golden.causes import has_other_labels, paired_constants, unpaired_constants
from edgekd.golden.records import Finding, Golden, Values
from edgekd.records import TensorSpec
from edgekd.verify import judging
from edgekd.verify.records import Tolerance, Verdict
from edgekd.verify.tolerances import MAX_MISMATCH, Limits

Array = np.ndarray[Any, Any]

_PLACES = 3  # where it differs most
_ROUNDING = 1e-9  # of a difference of two fractions


def compare(golden: Golden, now: Golden, *, limits: Limits, max_size_growth: float) -> tuple[Finding, ...]:
    """Returns what was looked at: everything that the golden record holds.

    Args:
      golden: what the file was.
      now: what it is.
      limits: of outputs; they are judged as two computations of one network.
      max_size_growth: the fraction by which the file may be larger.
    """
    return (
        _interface(golden, now),
        _dtypes(golden, now),
        _operators(golden, now),
        _constants(golden, now),
        _size(golden, now, max_size_growth),
        *_labels(golden, now),
        *_outputs(golden, now, limits),
        *_metrics(golden, now),
    )


def _finding(kind: Any, wrong: Sequence[str]) -> Finding:
    return Finding(kind=kind, status="failed" if wrong else "passed", message="; ".join(wrong) or "as it was")


def _interface(golden: Golden, now: Golden) -> Finding:
    wrong = []
    for side, before, after in (("input", golden.inputs, now.inputs), ("output", golden.outputs, now.outputs)):
        names = [[spec.name for spec in specs] for specs in (before, after)]
        if len(before) != len(after):
            wrong.append(f"{len(before)} {side}(s) ({', '.join(names[0])}) -> {len(after)} ({', '.join(names[1])})")
            continue
        if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
            wrong.append(f"order of {side}s {', '.join(names[0])} -> {', '.join(names[1])}")
        wrong += [
            change for pair in enumerate(zip(before, after, strict=True)) for change in _spec(side, pair[0], *pair[1])
        ]
    before_, after_ = ([each.model_dump(mode="json") for each in record.signatures] for record in (golden, now))
    if before_ != after_:
        wrong.append(f"signatures {json.dumps(before_)} -> {json.dumps(after_)}")
    return _finding("interface", wrong)


def _spec(side: str, number: int, before: TensorSpec, after: TensorSpec) -> Iterator[str]:
    for what in ("name", "shape", "dtype", "scale", "zero_point"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            yield f"{what.replace('_', ' ')} of {side} {number} ({before.name}) {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _dtypes(golden: Golden, now: Golden) -> Finding:
    wrong = []
    if golden.arithmetic != now.arithmetic:
        wrong.append(f"the file computes in {now.arithmetic}, and did in {golden.arithmetic}")
    wrong += [
        f"constant {after.name} of {after.operator} {before.dtype} -> {after.dtype}"
        for before, after in paired_constants(golden.constants, now.constants)
        if before.dtype != after.dtype
    ]
    was = {each.name: each.dtype for each in golden.activations}
    wrong += [
        f"tensor {each.name} {was[each.name]} -> {each.dtype}"
        for each in now.activations
        if was.get(each.name, each.dtype) != each.dtype
    ]
    return _finding("dtype", wrong)


def _operators(golden: Golden, now: Golden) -> Finding:
    before, after = Counter(golden.operators), Counter(now.operators)
    names = sorted({*before, *after})
    return _finding(
        "operators", [f"{name} {before[name]} -> {after[name]}" for name in names if before[name] != after[name]]
    )


def _constants(golden: Golden, now: Golden) -> Finding:
    """Judges which constants there are; what is in them shows in the outputs."""
    gone, new = unpaired_constants(golden.constants, now.constants)
    wrong = [f"{each.name} of {each.operator} {list(each.shape)} was removed" for each in gone]
    wrong += [f"{each.name} of {each.operator} {list(each.shape)} was added" for each in new]
    return _finding("constants", wrong)


def _size(golden: Golden, now: Golden, max_size_growth: float) -> Finding:
    growth = now.size_bytes / golden.size_bytes - 1
    if growth <= max_size_growth:
        return _finding("size", [])
    return _finding(
        "size",
        [
            f"{golden.size_bytes:,} -> {now.size_bytes:,} bytes ({100 * growth:+.1f} %); at most "
            f"{100 * max_size_growth:+g} % is allowed"
        ],
    )


def _labels(golden: Golden, now: Golden) -> Iterator[Finding]:
    if has_other_labels(golden, now):
        message = f"the labels of {now.run_on.name} are other ones than those that the record's accuracy is of"
        yield Finding(kind="data", status="failed", message=message)


def _outputs(golden: Golden, now: Golden, limits: Limits) -> Iterator[Finding]:
    if golden.run_on.sha256 != now.run_on.sha256:
        yield Finding(
            kind="data",
            status="failed",
            message=f"the golden outputs are of {golden.run_on.name}, {golden.run_on.samples} samples, and this run "
            f"has {now.run_on.name}, {now.run_on.samples} samples, with other numbers: outputs were not compared",
        )
        return
    shapes = [[(each.name, each.shape, each.every) for each in record.values] for record in (golden, now)]
    if shapes[0] != shapes[1]:
        yield Finding(
            kind="outputs",
            status="failed",
            message=f"they were {_described(golden.values)} and are {_described(now.values)}: not compared",
        )
        return
    before, after = (recording.answers(golden, "the golden record"), recording.answers(now, now.file))
    # What a changed file says of its steps before a sigmoid must not loosen the tolerance.
    of_golden = zip(before.outputs, after.outputs, strict=True)
    after = dataclasses.replace(
        after, outputs=tuple(dataclasses.replace(new, activation=old.activation) for old, new in of_golden)
    )
    limits = dataclasses.replace(limits, only_these_samples=True)
    pair = judging.judge(before, after, dataset=golden.run_on.name, limits=limits)
    for verdict, kept, first, second in zip(pair.verdicts, golden.values, before.outputs, after.outputs, strict=True):
        yield Finding(
            kind="outputs",
            status=verdict.status,
            message=_where(verdict, kept, first.values, second.values),
        )


def _described(values: Sequence[Values]) -> str:
    return ", ".join(f"{each.name} {list(each.shape)}" for each in values)


def _where(verdict: Verdict, kept: Values, before: Array, after: Array) -> str:
    """Returns how many values are off, how far, and where they are the most."""
    if verdict.status == "inconclusive":
        return f"output {verdict.output!r}: {verdict.reason}"
    tolerance = verdict.tolerance
    distance = np.abs(after.astype(np.float64) - before.astype(np.float64))
    off = _off(before, after, tolerance)
    count = int(np.count_nonzero(off))
    if verdict.status == "passed":
        return f"output {verdict.output!r}: {count} of {off.size} values off; tolerance: {tolerance.origin}"
    places = []
    worst = np.argsort(np.where(off, -distance, np.inf), axis=None, kind="stable")[: min(_PLACES, count)]
    for flat in worst:
        sample, element = (int(each) for each in np.unravel_index(flat, off.shape))
        index = [sample, *(int(each) for each in np.unravel_index(element * kept.every, kept.shape or (1,)))]
        places.append(f"{index} {before[sample, element]:.6g} -> {after[sample, element]:.6g}")
    steps = f" ({distance.max() / tolerance.step:.4g} LSB)" if tolerance.step else ""
    return (
        f"output {verdict.output!r}: {count} of {off.size} values are off, by up to {distance.max():.4g}{steps}, most "
        f"at {', '.join(places)}. {verdict.reason}. Tolerance: {tolerance.origin}"
    )


def _off(before: Array, after: Array, tolerance: Tolerance) -> Array:
    if tolerance.step is not None:
        return judging.are_beyond(before, after, tolerance)
    return np.abs(after.astype(np.float64) - before.astype(np.float64)) > (tolerance.max_abs or 0.0)


def _metrics(golden: Golden, now: Golden) -> Iterator[Finding]:
    """Judges fractions by what may flip: as many samples as outputs may be off, and at least one."""
    if golden.run_on.sha256 != now.run_on.sha256 or has_other_labels(golden, now):
        return  # which has failed: fractions of other samples say nothing
    before, after = (dict(record.metrics) for record in (golden, now))
    samples = before.pop("samples", 0.0), after.pop("samples", 0.0)
    for name, was in sorted(before.items()):
        if name not in after:
            yield _finding("metrics", [f"{name} was {was:.4f} and was not measured now"])
        elif samples[0] != samples[1]:
            yield _finding("metrics", [f"{name} was measured on {samples[0]:g} samples, and now on {samples[1]:g}"])
        else:
            allowed = max(MAX_MISMATCH, 1 / samples[1])
            fell = was - after[name] > allowed + _ROUNDING
            message = f"{name} {was:.4f} -> {after[name]:.4f}; it may fall by {allowed:.4g}"
            yield _finding("metrics", [message] if fell else [])
