"""Running models on the same samples, and judging every candidate by its reference."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from edgekd.errors import ModelError, RecipeError, ShapeError, unknown_name
from edgekd.runtime import Runner, predict_arrays
from edgekd.runtime.preprocessing import raw_range
from edgekd.verify import matching
from edgekd.verify.arithmetic import Arithmetic
from edgekd.verify.identity import Identity
from edgekd.verify.judging import Answers, Output, judge
from edgekd.verify.records import INTEGER, NO_CLASSES, ModelUse, Verification, worst
from edgekd.verify.samples import Samples
from edgekd.verify.tolerances import Limits

EXPECTED = ("auto", "same", "close")


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model that takes part.

    Attributes:
      label: what to call it; each model has another one.
      path: where it lies.
      runtime: what runs it.
      runner: runs it.
      arithmetic: how it computes.
      identity: what its network can be recognised by; None where nothing is known.
    """

    label: str
    path: str
    runtime: str
    runner: Runner
    arithmetic: Arithmetic
    identity: Identity | None = None


def verify(
    subjects: Sequence[Subject],
    samples: Samples,
    *,
    matrix: bool = False,
    limits: Limits | None = None,
    classes: str | None = None,
    paired: Mapping[str, str] = MappingProxyType({}),
    batch_size: int = 64,
    reset_every: int = 1,
) -> Verification:
    """Returns whether every candidate is its reference, on the same samples.

    Args:
      subjects: the reference first, then the candidates.
      samples: for the first one's inputs; the others' are paired with them by name or position.
      matrix: compare every model with every earlier one, instead of with the first one only.
      limits: what a user asks for.
      classes: the output whose argmax is the class; NO_CLASSES where none is, and labels are not read.
      paired: {a name of the reference's inputs or outputs: a candidate's name for it}.
      batch_size: samples per run of models whose batch may vary.
      reset_every: samples between two resets of models with a state.

    Raises:
      ShapeError: fewer than two models, models that do not fit together, or samples that do not fit them.
      RecipeError: an unknown expectation, limits that would judge nothing here, or names in `paired` that no model has.
      ModelError: a model could not be run.
    """
    limits = limits or Limits()
    if classes == NO_CLASSES:
        samples = dataclasses.replace(samples, labels=None)
    if len(subjects) < 2:
        raise ShapeError(f"{len(subjects)} model was given: a reference and at least one candidate are needed.")
    if limits.expect not in EXPECTED:
        raise RecipeError(unknown_name("expectation", limits.expect, EXPECTED))
    if reset_every < 1:
        raise RecipeError(f"a state can be reset every 1 or more samples, not every {reset_every}.")
    _require_judged(subjects, samples, limits)
    _require_names(subjects, paired)
    given = {name: other for name, other in paired.items() if name in _names(subjects[0], "outputs")}
    for subject in subjects[1:]:  # before anything is run
        models = (subjects[0].label, subject.label)
        _inputs(subjects[0], subject, paired)
        matching.pair(
            *(_names(each, "outputs") for each in (subjects[0], subject)), what="output", models=models, given=given
        )
    answers, uses = [], []
    for subject in subjects:
        order, rule = _inputs(subjects[0], subject, paired)
        found = predict_arrays(
            subject.runner, [samples.arrays[at] for at in order], batch_size=batch_size, reset_every=reset_every
        )
        answers.append(_answers(subject, found))
        uses.append(
            ModelUse(
                label=subject.label,
                path=subject.path,
                runtime=subject.runtime,
                arithmetic=subject.arithmetic.kind,
                stateful=subject.runner.stateful,
                inputs_by=rule,
            )
        )
    pairs = tuple(
        judge(
            answers[first],
            answers[second],
            dataset=samples.name,
            labels=samples.labels,
            classes=classes,
            paired=given if first == 0 else {},
            limits=limits,
            together=reset_every if any(subjects[at].runner.stateful for at in (first, second)) else 1,
        )
        for second in range(1, len(answers))
        for first in (range(second) if matrix else (0,))
    )
    return Verification(
        status=worst([pair.status for pair in pairs]),
        samples=len(samples.arrays[0]),
        dataset=samples.name,
        seeded=samples.seeded,
        labelled=samples.labels is not None,
        matrix=matrix,
        inputs=samples.inputs,
        models=tuple(uses),
        pairs=pairs,
        comparisons=tuple(pair.comparison for pair in pairs),
        verdicts=tuple(verdict for pair in pairs for verdict in pair.verdicts),
        gates=tuple(gate for pair in pairs for gate in pair.gates),
    )


def declared_ranges(subjects: Sequence[Subject]) -> dict[str, tuple[float, float, str]]:
    """Returns, for the first model's inputs, the range that the first model which declares one was made for.

    A file that computes in integers declares the range of its input by the scale and zero point that turn it into
    integers.
    """
    found: dict[str, tuple[float, float, str]] = {}
    for subject in subjects:
        order, _ = _inputs(subjects[0], subject, {})
        for spec, position in zip(subject.runner.inputs, order, strict=True):
            name = subjects[0].runner.inputs[position].name
            if name not in found and spec.name in subject.arithmetic.ranges:
                low, high = subject.arithmetic.ranges[spec.name]
                for record in subject.runner.preprocessing:
                    if record.input == spec.name:
                        low, high = raw_range(low, high, record)
                found[name] = (low, high, f"what {subject.label} can represent")
    return found


def _inputs(reference: Subject, candidate: Subject, paired: Mapping[str, str]) -> tuple[list[int], str]:
    """Returns, for each input of the candidate, the position of the reference's that it is, and the rule."""
    names = _names(reference, "inputs")
    if candidate is reference:
        return list(range(len(names))), "its own"
    order, rule = matching.pair(
        names,
        _names(candidate, "inputs"),
        what="input",
        models=(reference.label, candidate.label),
        given={name: other for name, other in paired.items() if name in names},
    )
    return [order.index(at) for at in range(len(order))], rule


def _answers(subject: Subject, found: Sequence[object]) -> Answers:
    specs, steps, activations = subject.runner.outputs, subject.arithmetic.steps, subject.arithmetic.activations
    return Answers(
        label=subject.label,
        arithmetic=subject.arithmetic.kind,
        outputs=tuple(
            Output(
                spec.name,
                values,  # type: ignore[arg-type]
                spec.scale if spec.scale is not None else steps.get(spec.name),
                activations.get(spec.name),
            )
            for spec, values in zip(specs, found, strict=True)
        ),
        identity=subject.identity,
    )


def _names(subject: Subject, what: str) -> list[str]:
    return [spec.name for spec in (subject.runner.inputs if what == "inputs" else subject.runner.outputs)]


def _require_judged(subjects: Sequence[Subject], samples: Samples, limits: Limits) -> None:
    """Raises where a limit was given that nothing here would be held to."""
    if samples.labels is None:
        if limits.max_accuracy_drop is not None:
            raise RecipeError(
                f"max_accuracy_drop needs labelled data, and {samples.name} have no labels: give data with labels, or "
                "judge by min_agreement."
            )
        if limits.by_interval and limits.min_agreement is None:
            raise RecipeError(
                f"by_interval judges accuracy and agreement, and nothing asks for them: {samples.name} have no labels "
                "and min_agreement was not given."
            )
    outputs = [spec for each in subjects for spec in each.runner.outputs]
    integers = any(each.arithmetic.kind == INTEGER or each.arithmetic.steps for each in subjects)
    integers = integers or any(spec.scale is not None for spec in outputs)
    exact = any(np.dtype(spec.dtype).kind in "iub" for spec in outputs)
    for name in ("max_lsb", "max_mismatch"):
        used = integers or (name == "max_mismatch" and exact)
        if getattr(limits, name) is not None and not used:
            raise RecipeError(f"{name} is for models that compute in integers, and none here does: use max_abs.")


def _require_names(subjects: Sequence[Subject], paired: Mapping[str, str]) -> None:
    known = [{*_names(subject, "inputs"), *_names(subject, "outputs")} for subject in subjects]
    for name, other in paired.items():
        if name not in known[0]:
            raise ModelError(unknown_name(f"input or output of {subjects[0].label!r}:", name, known[0]))
        if not any(other in names for names in known[1:]):
            raise ModelError(unknown_name("input or output of the candidates:", other, set().union(*known[1:])))
