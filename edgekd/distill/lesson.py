"""What a step minimises, from images and the teacher's outputs to weighted terms; reduction happens here only."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from edgekd.data import randomness
from edgekd.distill.distribution import known_per_replica
from edgekd.distill.learners import Learners
from edgekd.distill.objective import LOGITS, Objective, Term, teacher_output
from edgekd.distill.taps import Outputs
from edgekd.errors import EdgekdError, ModelError, ShapeError
from edgekd.schedules import Schedule

Shapes = Mapping[str, tuple[int, ...]]
Adapters = Mapping[str, layers.Layer]


class Targets(NamedTuple):
    """What a batch is to give.

    Attributes:
      labels: [batch] integers; -1 where the class is not known.
      partner_labels: [batch] integers, of the images that were mixed in; None without mixup.
      partner_weight: [batch] float, the share of those images; None without mixup.
      complete: whether no label is -1.
      inputs: [batch, ...] the samples themselves, where networks reconstruct.
    """

    labels: Any
    partner_labels: Any = None
    partner_weight: Any = None
    complete: bool = True
    inputs: Any = None


class Lesson:
    """Learners, their objective and the adapters between them and who teaches them."""

    def __init__(
        self,
        learners: Learners,
        objective: Objective,
        *,
        input_shape: tuple[int, ...],
        teacher_shapes: Shapes | None = None,
        seed: int = 0,
    ) -> None:
        """Builds the adapters.

        Args:
          learners: who learns.
          objective: what is minimised; a learner without a teacher learns from labels alone, with weight 1.
          input_shape: of one sample.
          teacher_shapes: of what the outside teacher gives, without the batch axis; None without one.
          seed: of the adapters' initial weights.

        Raises:
          ModelError: terms that nobody teaches.
          ShapeError: an adapter cannot fit the shapes at its taps.
        """
        self.learners = learners
        self._objective = objective
        shapes = learners.shapes(input_shape)
        outside = None if teacher_shapes is None else Outputs(teacher_shapes.get(LOGITS), teacher_shapes)
        taught_by = learners.teachers(tuple(Outputs(each[LOGITS], each) for each in shapes), outside)
        if objective.terms and not any(taught_by):
            names = ", ".join(term.name for term in objective.terms)
            raise ModelError(f"the terms {names} need a teacher, but none is given.")
        self._adapters: dict[tuple[int, int], Adapters] = {}
        for own, teachers in enumerate(taught_by):
            for other, teacher in enumerate(teachers):
                self._adapters[own, other] = _build_adapters(
                    objective, shapes[own], teacher.taps, seed=randomness.key("adapters", seed, own, other)
                )
        self._alone = Objective(label_smoothing=objective.label_smoothing, reconstructs=objective.reconstructs)
        self.names = tuple(
            _named(name, each)
            for name, teachers in zip(learners.names, taught_by, strict=True)
            for each in self._objective_of(teachers).names
        )

    @property
    def reconstructs(self) -> bool:
        """Whether the networks are to give back their inputs."""
        return self._objective.reconstructs

    @property
    def helpers(self) -> tuple[layers.Layer, ...]:
        """The layers that are trained and dropped: the learners' own, and the adapters."""
        adapters = (adapter for each in self._adapters.values() for adapter in each.values())
        return (*self.learners.helpers, *adapters)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the optimizer moves."""
        return [variable for each in self._parts() for variable in each.trainable_variables]

    @property
    def variables(self) -> list[keras.Variable]:
        """All that training changes, in a fixed order; the networks' variables come first."""
        return [variable for each in self._parts() for variable in each.variables]

    def _parts(self) -> tuple[layers.Layer, ...]:
        return (*self.learners.models, *self.helpers)

    def terms(
        self,
        images: Any,
        targets: Targets,
        teacher: Mapping[str, Any] | None,
        values: Mapping[str, Any] | None = None,
        *,
        training: bool,
    ) -> tuple[dict[str, Any], Any]:
        """Returns each weighted term by name, and the student's [batch, classes] logits, or reconstructions.

        Args:
          images: [batch, ...] float.
          targets: the labels.
          teacher: what the outside teacher gives for these images, by key.
          values: of the objective's schedules at this step, by name.
          training: whether the networks are in training mode.
        """
        outputs = self.learners.forward(images, training=training)
        targets = targets._replace(inputs=images) if self.reconstructs else targets
        outside = None if teacher is None else Outputs(teacher.get(LOGITS), teacher)
        terms: dict[str, Any] = {}
        for own, teachers in enumerate(self.learners.teachers(outputs, outside)):
            adapters = [self._adapters[own, other] for other in range(len(teachers))]
            found = weighted_terms(
                self._objective_of(teachers),
                targets,
                outputs[own],
                *teachers,
                values=values,
                adapters=adapters,
                training=training,
            )
            terms |= {_named(self.learners.names[own], name): value for name, value in found.items()}
        regularised = [loss for model in self.learners.models for loss in model.losses]
        if regularised:  # a user's own network may bring weight regularisers; Keras' fit adds them, and so do we
            terms["regularization"] = ops.sum(ops.stack([ops.cast(loss, "float32") for loss in regularised]))
        return terms, outputs[0].logits

    def _objective_of(self, teachers: Sequence[Outputs]) -> Objective:
        return self._objective if teachers or not self._objective.terms else self._alone


def weighted_terms(
    objective: Objective,
    targets: Any,
    student: Outputs,
    *teachers: Outputs,
    values: Mapping[str, Any] | None = None,
    adapters: Sequence[Adapters] | None = None,
    training: bool = True,
) -> dict[str, Any]:
    """Returns each term's batch mean times its weight; their sum is the loss. No gradient reaches a teacher.

    Args:
      objective: the terms.
      targets: Targets, or [batch] integer labels.
      student: of the learner.
      *teachers: one or more; with several, each term is the mean over them.
      values: of the objective's schedules at this step, by name.
      adapters: for each teacher, the adapters by the name of their term.
      training: passed on to the adapters.
    """
    targets = targets if isinstance(targets, Targets) else Targets(targets)
    values = values or {}
    terms: dict[str, Any] = {}
    if objective.uses_labels:
        weight = _now(objective.labels_weight, f"{objective.own_term}.weight", values)
        terms[objective.own_term] = weight * _own_loss(objective, student.logits, targets)
    for term in objective.terms:
        found = []
        for position, teacher in enumerate(teachers):
            adapter = adapters[position].get(term.name) if adapters else None
            found.append(_value(term, targets, student, teacher, values=values, adapter=adapter, training=training))
        terms[term.name] = _now(term.weight, f"{term.name}.weight", values) * (sum(found) / len(found))
    return terms


def _now(weight: float | Schedule, name: str, values: Mapping[str, Any]) -> Any:
    return values[name] if isinstance(weight, Schedule) else weight


def _value(
    term: Term,
    targets: Targets,
    student: Outputs,
    teacher: Outputs,
    *,
    values: Mapping[str, Any],
    adapter: layers.Layer | None,
    training: bool,
) -> Any:
    """Returns a term's batch mean, summed over its taps."""
    settings = {key: values[f"{term.name}.{key}"] for key in term.scheduled}
    if term.needs_labels:
        settings["labels"] = targets.labels
    if not term.taps:
        return ops.mean(term.function(_wide(student.logits), _wide(ops.stop_gradient(teacher.logits)), **settings))
    ours = tuple(student.taps[tap] for tap, _ in term.taps)
    theirs = tuple(
        ops.stop_gradient(_of_teacher(term, tap, mine.shape[1:], teacher))
        for (_, tap), mine in zip(term.taps, ours, strict=True)
    )
    extras: tuple[dict[str, Any], ...] = tuple({} for _ in ours)
    if adapter is not None:
        ours, theirs, extras = zip(*adapter(ours, theirs, training=training), strict=True)
    ours, theirs = tuple(map(_wide, ours)), tuple(map(_wide, theirs))
    arguments: list[tuple[Any, Any, dict[str, Any]]]
    if term.compares == "flows":
        arguments = [(ours[i : i + 2], theirs[i : i + 2], {}) for i in range(len(ours) - 1)]
    else:
        arguments = list(zip(ours, theirs, extras, strict=True))
    return sum(ops.mean(term.function(mine, its, **extra, **settings)) for mine, its, extra in arguments)


def _wide(array: Any) -> Any:
    """Returns at least float32: in half precision a weighted loss, times the loss scale, would overflow."""
    return ops.cast(array, keras.backend.result_type(array.dtype, "float32"))


def _of_teacher(term: Term, tap: str, student_shape: tuple[int, ...], teacher: Outputs) -> Any:
    key = teacher_output(term, tap, student_shape).key
    # Peers give whole features, of which the loss makes the summary itself.
    return teacher.taps[key if key in teacher.taps else tap]


def _own_loss(objective: Objective, outputs: Any, targets: Targets) -> Any:
    """Returns the mean squared error to the inputs where networks reconstruct, else the cross-entropy."""
    if objective.reconstructs:
        return ops.mean(ops.square(_wide(outputs) - _wide(targets.inputs)))
    return _cross_entropy(outputs, targets, smoothing=objective.label_smoothing)


def _cross_entropy(logits: Any, targets: Targets, *, smoothing: float) -> Any:
    """Returns the mean cross-entropy in nats over the images whose class is known.

    Of two mixed images each counts by its share, and only where its class is known.
    """
    classes = logits.shape[-1]
    wanted = ops.one_hot(targets.labels, classes)  # of zeros where the class is -1
    if targets.partner_labels is not None:
        share = ops.expand_dims(targets.partner_weight, -1)
        wanted = (1.0 - share) * wanted + share * ops.one_hot(targets.partner_labels, classes)
    known = ops.sum(wanted, axis=-1)
    wanted = wanted * (1.0 - smoothing) + ops.expand_dims(known, -1) * smoothing / classes
    if targets.complete:
        return ops.mean(ops.categorical_crossentropy(wanted, _wide(logits), from_logits=True))
    # Keras' own assumes, for its gradient, that targets add up to 1.
    entropy = -ops.sum(wanted * ops.log_softmax(_wide(logits), axis=-1), axis=-1)
    return ops.sum(entropy) / known_per_replica(known)


def _build_adapters(objective: Objective, student: Shapes, teacher: Shapes, *, seed: int) -> Adapters:
    adapters = {}
    for position, term in enumerate(objective.terms):
        if term.adapter is None:
            continue
        shapes = tuple(student[ours] for ours, _ in term.taps), tuple(teacher[theirs] for _, theirs in term.taps)
        try:
            adapter = term.adapter(*shapes, seed=randomness.seed("adapter", seed, position))
        except EdgekdError as error:
            pairs = ", ".join(f"[{ours}, {theirs}]" for ours, theirs in term.taps)
            raise ShapeError(f"term {term.name!r} at {pairs}: {error}") from error
        adapters[term.name] = adapter
    return adapters


def _named(learner: str, term: str) -> str:
    return f"{learner}/{term}" if learner else term
