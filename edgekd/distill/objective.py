"""The objective: what a student's outputs should be near to, as data."""

import dataclasses
import functools
from collections.abc import Callable

import keras

from edgekd import recipe, registry
from edgekd.errors import RecipeError


@dataclasses.dataclass(frozen=True)
class Term:
    """One weighted loss. Without taps it compares logits; with taps it is summed over the pairs of feature maps."""

    name: str
    function: Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]
    weight: float
    taps: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Objective:
    """labels_weight · cross-entropy with the (smoothed) labels + Σ weight · loss."""

    labels_weight: float = 1.0
    label_smoothing: float = 0.0
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels_weight and not self.terms:
            raise RecipeError("the objective is empty: labels_weight is 0 and there is no loss. Give one of them.")

    @property
    def student_taps(self) -> tuple[str, ...]:
        """The student's layers that a term looks at."""
        return tuple(dict.fromkeys(student for term in self.terms for student, _ in term.taps))

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """The teacher's layers that a term looks at."""
        return tuple(dict.fromkeys(teacher for term in self.terms for _, teacher in term.taps))

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts of the total are called, in order."""
        return (("labels",) if self.labels_weight else ()) + tuple(term.name for term in self.terms)


def from_recipe(distill: recipe.Distill, *, label_smoothing: float) -> Objective:
    """Returns the objective of a recipe's distill section; two terms of one loss are numbered."""
    losses = [loss.loss for loss in distill.losses]
    terms = []
    for position, loss in enumerate(distill.losses):
        name = loss.loss if losses.count(loss.loss) == 1 else f"{loss.loss}_{losses[: position + 1].count(loss.loss)}"
        function = getattr(registry.load(recipe.LOSSES, loss.loss), loss.loss)
        terms.append(
            Term(name=name, function=functools.partial(function, **loss.arguments), weight=loss.weight, taps=loss.taps)
        )
    return Objective(labels_weight=distill.labels_weight, label_smoothing=label_smoothing, terms=tuple(terms))
