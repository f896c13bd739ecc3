"""The objective: what a student's outputs should be near to, as data."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from edgekd import recipe, registry, schedules
from edgekd.data.dataset import Dataset
from edgekd.errors import RecipeError
from edgekd.schedules import Schedule

LOGITS = "logits"
Compares = Literal["logits", "feature_maps", "features", "flows"]


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted loss. Without taps it compares logits; with taps it is summed over the pairs of features.

    Attributes:
      name: what curves call it.
      function: (student, teacher, **settings) -> [batch].
      weight: of its batch mean; a number, or a schedule.
      taps: pairs of (student's tap, teacher's tap).
      compares: what the function takes; `flows` are the features at two consecutive pairs of taps.
      needs_labels: whether the function takes `labels`.
      scheduled: hyper-parameters that follow schedules, by name.
      loss: the plug-in's name, which names its summaries of the teacher.
      adapter: builds the trainable helper from the shapes at the taps and a seed; None for none.
      summarise: makes of the teacher's features, for a shape of the student's, the smaller stand-in that is enough.
    """

    name: str
    function: Callable[..., Any]
    weight: float | Schedule = 1.0
    taps: tuple[tuple[str, str], ...] = ()
    compares: Compares = "logits"
    needs_labels: bool = False
    scheduled: Mapping[str, Schedule] = dataclasses.field(default_factory=dict)
    loss: str = ""
    adapter: Callable[..., Any] | None = None
    summarise: Callable[..., Any] | None = None


@dataclasses.dataclass(frozen=True)
class TeacherOutput:
    """One array that terms need of the teacher for each sample.

    Attributes:
      key: names it among a teacher's outputs, in the cache too.
      tap: the teacher's tap; None for its logits.
      summarise: what is applied to it, or None.
    """

    key: str
    tap: str | None = None
    summarise: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Objective:
    """labels_weight · cross-entropy with the (smoothed) labels + Σ weight · loss.

    Where networks reconstruct, the mean squared error to their inputs stands for the cross-entropy with the labels.
    """

    labels_weight: float | Schedule = 1.0
    label_smoothing: float = 0.0
    terms: tuple[Term, ...] = ()
    reconstructs: bool = False

    def __post_init__(self) -> None:
        if not self.uses_labels and not self.terms:
            raise RecipeError("the objective is empty: labels_weight is 0 and there is no loss. Give one of them.")

    @property
    def uses_labels(self) -> bool:
        """Whether the cross-entropy with the labels counts at any time."""
        weight = self.labels_weight
        return not weight.is_zero() if isinstance(weight, Schedule) else weight > 0

    @property
    def student_taps(self) -> tuple[str, ...]:
        """The student's taps that a term looks at."""
        return tuple(dict.fromkeys(student for term in self.terms for student, _ in term.taps))

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """The teacher's taps that a term looks at."""
        return tuple(dict.fromkeys(teacher for term in self.terms for _, teacher in term.taps))

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts of the total are called, in order."""
        own = (self.own_term,) if self.uses_labels else ()
        return own + tuple(term.name for term in self.terms)

    @property
    def own_term(self) -> str:
        """What the part is called that nobody teaches."""
        return "inputs" if self.reconstructs else "labels"

    def on(self, data: Dataset) -> "Objective":
        """Returns the objective for what the networks are to give on some data.

        Raises:
          RecipeError: networks reconstruct, and something here is of classes.
        """
        if data.reconstructs:
            for term in self.terms:
                if not term.taps or term.needs_labels:
                    raise RecipeError(
                        f"loss {term.loss or term.name!r} is of classes, which task reconstruction has not: give "
                        "losses that compare layers, such as {'loss': 'feature_mse', 'taps': [['reconstruction', "
                        "'reconstruction']]}."
                    )
            if self.label_smoothing:
                raise RecipeError(
                    f"label_smoothing is {self.label_smoothing:g}: task reconstruction has no labels. Leave it out."
                )
        return dataclasses.replace(self, reconstructs=data.reconstructs)

    def check_labels(self, labels: np.ndarray, *, mixup: float) -> None:
        """Raises RecipeError where a term looks at the true class, and samples have none or are blended of two.

        Args:
          labels: [samples] of the training split; -1 where the class is not known.
          mixup: of the training.
        """
        looking = [term.name for term in self.terms if term.needs_labels]
        if looking and mixup:
            raise RecipeError(
                f"loss {looking[0]!r} needs one true class for each image, but mixup blends two: set it 0."
            )
        if looking and (labels < 0).any():
            raise RecipeError(
                f"loss {looking[0]!r} needs labels, but {int((labels < 0).sum())} of {len(labels)} training samples "
                "have none: use another loss, or labelled samples only."
            )

    def teacher_outputs(self, student_shapes: Mapping[str, tuple[int, ...]]) -> tuple[TeacherOutput, ...]:
        """Returns what the terms need of the teacher, each once.

        Args:
          student_shapes: shapes at the student's taps, without the batch axis.
        """
        found: dict[str, TeacherOutput] = {}
        for term in self.terms:
            if not term.taps:
                found[LOGITS] = TeacherOutput(LOGITS)
            for ours, theirs in term.taps:
                output = teacher_output(term, theirs, student_shapes[ours])
                found[output.key] = output
        return tuple(found.values())

    def schedules(self) -> dict[str, Schedule]:
        """Returns all that changes from step to step, by name, in a fixed order."""
        own = f"{self.own_term}.weight"
        found = {own: self.labels_weight} if isinstance(self.labels_weight, Schedule) else {}
        for term in self.terms:
            if isinstance(term.weight, Schedule):
                found[f"{term.name}.weight"] = term.weight
            found |= {f"{term.name}.{key}": each for key, each in term.scheduled.items()}
        return found

    def scheduled_values(self, step: int, *, steps_per_epoch: int) -> np.ndarray:
        """Returns the values of `schedules()` at a step, counted from 0 over all epochs, as [n] float32."""
        values = [each.value(step, steps_per_epoch) for each in self.schedules().values()]
        return np.asarray(values, np.float32)


def teacher_output(term: Term, tap: str, student_shape: tuple[int, ...]) -> TeacherOutput:
    """Returns what a term needs at one of the teacher's taps, opposite a student's features of this shape."""
    if term.summarise is None:
        return TeacherOutput(tap, tap)
    size = "x".join(str(each) for each in student_shape[:-1])
    summarise = functools.partial(term.summarise, student_shape=(None, *student_shape))
    return TeacherOutput(f"{tap} for {term.loss} at {size}", tap, summarise)


def from_recipe(distill: recipe.Distill, *, label_smoothing: float) -> Objective:
    """Returns the objective of a recipe's distill section; two terms of one loss are numbered."""
    losses = [loss.loss for loss in distill.losses]
    terms = []
    for position, loss in enumerate(distill.losses):
        name = loss.loss if losses.count(loss.loss) == 1 else f"{loss.loss}_{losses[: position + 1].count(loss.loss)}"
        terms.append(_term(name, loss))
    weight = _constant_or_schedule(distill.labels_weight)
    return Objective(labels_weight=weight, label_smoothing=label_smoothing, terms=tuple(terms))


def _term(name: str, loss: recipe.Loss) -> Term:
    module = registry.load(recipe.LOSSES, loss.loss)
    settings = {
        key: _constant_or_schedule(value) if isinstance(value, Mapping) else value
        for key, value in loss.arguments.items()
    }
    scheduled = {key: value for key, value in settings.items() if isinstance(value, Schedule)}
    constant = {key: value for key, value in settings.items() if key not in scheduled}
    adapter = None
    if loss.adapter is not None and loss.adapter.adapter != recipe.NO_ADAPTER:
        build = registry.load(recipe.ADAPTERS, loss.adapter.adapter).build
        adapter = functools.partial(build, **loss.adapter.arguments)
    summarises = getattr(module, "SUMMARISES_TEACHER", False) and adapter is None
    return Term(
        name=name,
        function=functools.partial(getattr(module, loss.loss), **constant),
        weight=_constant_or_schedule(loss.weight),
        taps=loss.taps,
        compares=module.COMPARES,
        needs_labels=loss.needs_labels,
        scheduled=scheduled,
        loss=loss.loss,
        adapter=adapter,
        summarise=module.summarise_teacher if summarises else None,
    )


def _constant_or_schedule(value: float | Mapping[str, Any]) -> float | Schedule:
    """A constant stays a number, so that the graph holds it as one."""
    schedule = schedules.parse(value)
    return float(value) if isinstance(value, int | float) else schedule
