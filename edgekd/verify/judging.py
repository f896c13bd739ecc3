"""Whether a candidate's outputs are the reference's: functions of what two models returned for the same samples."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekd.errors import DataError, ShapeError, unknown_name
from edgekd.records import Comparison, Gate, Interval, OutputError
from edgekd.verify import activations, gates, identity, matching, metrics, tolerances
from edgekd.verify.activations import Activation
from edgekd.verify.identity import Identity
from edgekd.verify.records import NO_CLASSES, Pair, Status, Tolerance, Verdict, worst
from edgekd.verify.tolerances import Limits

Array = np.ndarray[Any, Any]

_LEAST_SHOWN = 1e-5  # a smaller fraction is shown as 0
_SLACK = 1e-3  # of a step: what float32 makes of whole ones


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """One output of a model for all samples.

    Attributes:
      name: the model's own.
      values: [samples, ...] float32, or integers that stand for themselves.
      step: the distance of neighbouring values where they come from integers; None for floats.
      activation: the steep function that they come out of, if it reads integers.
    """

    name: str
    values: Array
    step: float | None = None
    activation: Activation | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What a model returned for the samples.

    Attributes:
      label: what to call the model.
      arithmetic: how it computes, see `edgekd.verify.arithmetic`.
      outputs: in the model's order.
      identity: what its network can be recognised by; None where nothing is known.
    """

    label: str
    arithmetic: str
    outputs: tuple[Output, ...]
    identity: Identity | None = None


def judge(
    reference: Answers,
    candidate: Answers,
    *,
    dataset: str,
    labels: Array | None = None,
    classes: str | None = None,
    paired: Mapping[str, str] = MappingProxyType({}),
    limits: Limits | None = None,
    together: int = 1,
) -> Pair:
    """Returns how far the candidate is from the reference, within which tolerances, and whether that is enough.

    NaN or infinity in either model's outputs is a failure. An output of the reference that is zero everywhere decides
    nothing: it is inconclusive.

    Args:
      reference: what the candidate should return.
      candidate: for the same samples.
      dataset: what to call the samples.
      labels: [samples] integer classes, or None: then no accuracy is computed.
      classes: the output of the reference whose argmax is the class; by default the only one of shape
        [samples, classes]; NO_CLASSES where none is.
      paired: {output of the reference: output of the candidate}; by name or position where it is empty.
      limits: what a user asks for.
      together: how many samples in a row depend on each other, since the models had a state between them.

    Raises:
      ShapeError: different numbers of outputs or different shapes, no samples, or labels where no output gives classes.
      DataError: labels that are no classes of the output.
      ModelError: an output that is named and not there.
    """
    limits = limits or Limits()
    names = [output.name for output in reference.outputs]
    models = (reference.label, candidate.label)
    order, rule = matching.pair(
        names, [output.name for output in candidate.outputs], what="output", models=models, given=paired
    )
    pairs = [(output, candidate.outputs[position]) for output, position in zip(reference.outputs, order, strict=True)]
    for first, second in pairs:
        _require_one_shape(first, second, models)
    by_class = _class_output(pairs, classes, labels, reference.label)
    if by_class is not None and labels is not None:
        require_classes(labels, pairs[by_class][0].values.shape[1], output=pairs[by_class][0].name, dataset=dataset)
    found = [
        _judge_output(
            first,
            second,
            reference,
            candidate,
            limits,
            is_class=by_class == at and labels is not None,
            together=together,
        )
        for at, (first, second) in enumerate(pairs)
    ]
    verdicts = tuple(verdict for verdict, _ in found)
    comparison = Comparison(
        reference=reference.label,
        candidate=candidate.label,
        samples=len(pairs[0][0].values),
        dataset=dataset,
        outputs=tuple(error for _, error in found if error is not None),
    )
    if by_class is not None:
        comparison = comparison.model_copy(update=_by_class(*pairs[by_class], labels))
    judged = _gates(comparison, limits, labelled=labels is not None)
    statuses: list[Status] = [verdict.status for verdict in verdicts]
    statuses += ["passed" if gate.passed else "inconclusive" if gate.inconclusive else "failed" for gate in judged]
    return Pair(
        reference=reference.label,
        candidate=candidate.label,
        status=worst(statuses),
        outputs_by=rule,
        comparison=comparison,
        verdicts=verdicts,
        gates=judged,
    )


def require_classes(labels: Array, classes: int, *, output: str, dataset: str) -> None:
    """Raises where labels are none of the classes that an output tells apart.

    Args:
      labels: [samples] integers.
      classes: how many there are.
      output: its name.
      dataset: what to call the samples.

    Raises:
      DataError: a label is below 0, or not below `classes`.
    """
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise DataError(
            f"{wrong.size} of {labels.size} labels of {dataset} are no class of output {output!r}, such as {wrong[0]}: "
            f"it tells {classes} apart, 0 to {classes - 1}. Number the labels so, or give samples without them."
        )


def _require_one_shape(first: Output, second: Output, models: tuple[str, str]) -> None:
    if first.values.shape != second.values.shape:
        raise ShapeError(
            f"output {first.name!r} of {models[0]!r} has shape {list(first.values.shape)} and {second.name!r} of "
            f"{models[1]!r} {list(second.values.shape)}: these are not the same output. Say which belong together, or "
            "compare another file."
        )
    if first.values.size == 0:
        raise ShapeError(f"output {first.name!r} of {models[0]!r} is empty: nothing can be compared.")


def _class_output(
    pairs: Sequence[tuple[Output, Output]], chosen: str | None, labels: Array | None, label: str
) -> int | None:
    if chosen == NO_CLASSES:
        return None
    able = [
        at
        for at, (first, _) in enumerate(pairs)
        if first.values.ndim == 2 and first.values.shape[1] > 1 and first.values.dtype.kind == "f"
    ]
    if chosen is not None:
        names = [first.name for first, _ in pairs]
        if chosen not in names:
            raise ShapeError(unknown_name(f"output of {label!r}:", chosen, names))
        able = [at for at in able if names[at] == chosen]
    if len(able) == 1:
        return able[0]
    if labels is None and chosen is None:
        return None
    shapes = ", ".join(f"{first.name} {list(first.values.shape)}" for first, _ in pairs)
    raise ShapeError(
        f"labels need one output of shape [samples, classes], and {label!r} has {shapes}: say which output gives the "
        "classes, or compare on data without labels."
    )


def _judge_output(
    first: Output,
    second: Output,
    reference: Answers,
    candidate: Answers,
    limits: Limits,
    *,
    is_class: bool,
    together: int,
) -> tuple[Verdict, OutputError | None]:
    def verdict(status: Status, tolerance: Tolerance, reason: str = "", mismatch: Interval | None = None) -> Verdict:
        return Verdict(
            reference=reference.label,
            candidate=candidate.label,
            output=first.name,
            candidate_output=second.name,
            status=status,
            tolerance=tolerance,
            mismatch=None if mismatch is None else mismatch.value,
            mismatch_interval=mismatch,
            reason=reason,
        )

    none = Tolerance(kind="exact" if first.values.dtype.kind in "iub" else "float", origin="nothing was derived")
    for output, model in ((first, reference), (second, candidate)):
        bad = int(np.count_nonzero(~np.isfinite(output.values)))
        if bad:
            reason = f"{bad} of {output.values.size} values of {model.label!r} are NaN or infinite"
            return verdict("failed", none, reason), None
    if first.values.dtype.kind in "iub" or second.values.dtype.kind in "iub":
        return _judge_integers(first, second, reference, candidate, limits, verdict, together)
    if not first.values.any():
        reason = f"every value of {reference.label!r} is zero: that tells nothing, use other samples"
        return verdict("inconclusive", none, reason), None
    arithmetics, likeness = (reference.arithmetic, candidate.arithmetic), _likeness(reference, candidate)
    tolerance = tolerances.derive(
        first.values,
        arithmetics=arithmetics,
        steps=(first.step, second.step),
        judged_by_class=is_class,
        limits=limits,
        likeness=likeness,
        activation=_activation(first, second),
    )
    error = _errors(first.values, second)
    reason = _excess(tolerance, error)
    if tolerance.step is None or tolerance.max_lsb is None:
        decided = tolerances.is_decided_by(tolerance, arithmetics=arithmetics, limits=limits, likeness=likeness)
        undecided = "" if reason or decided or error.max_abs == 0 else _undecided(likeness)
        status: Status = "failed" if reason else "inconclusive" if undecided else "passed"
        return verdict(status, tolerance, reason or undecided), error
    mismatch = _mismatch(are_beyond(first.values, second.values, tolerance), together)
    if reason:
        return verdict("failed", tolerance, reason, mismatch), error
    what = f"of the values are off by more than {tolerance.max_lsb:g} LSB (up to {error.max_lsb:.4g})"
    status, reason = _too_many(mismatch, tolerance, limits, what, "may be")
    return verdict(status, tolerance, reason, mismatch), error


def _activation(first: Output, second: Output) -> Activation | None:
    """Returns the steep function that outputs come out of, with the smaller step: a wrong file may enlarge its own."""
    known = [each.activation for each in (first, second) if each.activation is not None]
    return min(known, key=lambda each: each.step, default=None)


def _likeness(reference: Answers, candidate: Answers) -> identity.Likeness:
    if reference.identity is None or candidate.identity is None:
        return tolerances.UNKNOWN
    return identity.likeness(reference.identity, candidate.identity)


def _undecided(likeness: identity.Likeness) -> str:
    return (
        f"nothing shows that this is the reference's network ({likeness.why}), and another one, or one that was "
        f"rounded wrongly, may have {tolerances.MIN_SQNR_DB:g} dB too: give data with labels, or say what it must be "
        "with min_sqnr_db, or expect same or close"
    )


def are_beyond(expected: Array, received: Array, tolerance: Tolerance) -> Array:
    """Returns which elements are further off than steps of the output, and of what it is made of, explain.

    Args:
      expected: the reference's output, any shape.
      received: the candidate's.
      tolerance: of kind `integer`.

    Returns:
      Booleans of that shape.
    """
    step, steps = tolerance.step or 0.0, tolerance.max_lsb or 0.0
    found = metrics.are_beyond_lsb(expected, received, scale=step, steps=steps)
    if tolerance.activation is None or tolerance.activation_step is None:
        return found
    before = Activation(tolerance.activation, tolerance.activation_step)
    low, high = activations.reach(expected, before, step=step, steps=steps)
    return found & ((received < low - _SLACK * step) | (received > high + _SLACK * step))


def _mismatch(beyond: Array, together: int) -> Interval:
    """Returns the fraction of elements that are beyond, with its interval over what is independent of each other."""
    rows = beyond.reshape(len(beyond), -1)
    starts = np.arange(0, len(rows), together)
    runs = np.add.reduceat(rows.mean(axis=1), starts) / np.diff([*starts, len(rows)])
    # The last run may be shorter, so that the mean of runs is not the fraction itself: that is what was measured.
    found = metrics.clustered_interval(runs, elements=together * rows.shape[1])
    value = float(rows.mean())
    return found.model_copy(update={"value": value, "low": min(found.low, value), "high": max(found.high, value)})


def _too_many(mismatch: Interval, tolerance: Tolerance, limits: Limits, what: str, may: str) -> tuple[Status, str]:
    """Returns whether more elements mismatch than may; inconclusive where the samples are too few to tell."""
    allowed = tolerance.max_mismatch or 0.0
    if mismatch.value <= allowed:
        return "passed", ""
    reason = f"{100 * mismatch.value:.4g} % {what}; at most {100 * allowed:.4g} % {may}"
    if mismatch.low > allowed or allowed == 0 or limits.only_these_samples:
        return "failed", reason
    return "inconclusive", (
        f"{reason}. With so few samples it may be {_percent(mismatch.low)} to {_percent(mismatch.high)} % of others: "
        "give more, or say what may be with max_lsb or max_mismatch"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g}" if fraction >= _LEAST_SHOWN else "0"


def _judge_integers(
    first: Output,
    second: Output,
    reference: Answers,
    candidate: Answers,
    limits: Limits,
    verdict: Any,
    together: int,
) -> tuple[Verdict, OutputError | None]:
    """Judges an output that is made of integers that stand for themselves."""
    kinds = {"b" if output.values.dtype.kind == "b" else output.values.dtype.kind for output in (first, second)}
    tolerance = tolerances.derive(
        first.values if first.values.dtype.kind in "iub" else second.values,
        arithmetics=(reference.arithmetic, candidate.arithmetic),
        steps=(None, None),
        judged_by_class=False,
        limits=limits,
    )
    if "f" in kinds:
        reason = f"one is {first.values.dtype.name} and the other {second.values.dtype.name}"
        return verdict("failed", tolerance, reason), None
    differ = _mismatch(first.values != second.values, together)
    status, reason = _too_many(differ, tolerance, limits, "of the values differ", "may")
    found = verdict(status, tolerance, reason, differ)
    return found, _errors(first.values, second) if first.values.any() else None


def _errors(expected: Array, second: Output) -> OutputError:
    received, scale = second.values, second.step
    ratio_db = metrics.sqnr_db(expected, received)
    return OutputError(
        output=second.name,
        elements=expected.size,
        max_abs=metrics.max_abs(expected, received),
        relative_l2=metrics.relative_l2(expected, received),
        cosine=metrics.cosine(expected, received) if received.any() else None,
        sqnr_db=None if math.isinf(ratio_db) else ratio_db,
        max_lsb=None if scale is None else metrics.max_lsb(expected, received, scale=scale),
        beyond_one_lsb=None if scale is None else metrics.beyond_lsb(expected, received, scale=scale),
    )


def _excess(tolerance: Tolerance, error: OutputError) -> str:
    """Returns what goes beyond the tolerance, in words; nothing where nothing does."""
    if tolerance.max_abs is not None and error.max_abs > tolerance.max_abs:
        return f"off by up to {error.max_abs:.4g}; at most {tolerance.max_abs:.4g} may be"
    if tolerance.min_sqnr_db is not None and error.sqnr_db is not None and error.sqnr_db < tolerance.min_sqnr_db:
        return f"SQNR {error.sqnr_db:.1f} dB; at least {tolerance.min_sqnr_db:g} dB must be"
    return ""


def _by_class(first: Output, second: Output, labels: Array | None) -> dict[str, float | Interval]:
    if not (np.isfinite(first.values).all() and np.isfinite(second.values).all()):
        return {}
    expected, received = first.values.argmax(axis=-1), second.values.argmax(axis=-1)
    found: dict[str, float | Interval] = {"agreement": metrics.accuracy_interval(received, expected)}
    if labels is not None:
        found["reference_accuracy"] = metrics.accuracy(expected, labels)
        found["candidate_accuracy"] = metrics.accuracy(received, labels)
        found["accuracy_drop"] = metrics.paired_drop_interval(expected, received, labels)
    return found


def _gates(comparison: Comparison, limits: Limits, *, labelled: bool) -> tuple[Gate, ...]:
    found: list[Gate] = []
    if labelled:
        drop, same = limits.max_accuracy_drop, limits.min_agreement
        found += gates.accuracy_gates(
            (comparison.candidate,),
            (comparison,),
            max_accuracy_drop=tolerances.MAX_ACCURACY_DROP if drop is None else drop,
            min_agreement=tolerances.MIN_AGREEMENT if same is None else same,
        )
    elif limits.min_agreement is not None:
        found.append(gates.agreement_gate(comparison, min_agreement=limits.min_agreement))
    return gates.by_interval(found, comparison) if limits.by_interval else tuple(found)
