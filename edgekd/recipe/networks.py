"""The sections on networks: what they are and how they are trained."""

from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic

from edgekd.errors import unknown_name
from edgekd.recipe.section import (
    ARCHITECTURES,
    Fraction,
    Items,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Section,
    check_plugin,
    invalid,
)


class Training(Section):
    """How one network is trained."""

    epochs: Positive = 10
    """Passes through the training data. The weights of the epoch with the best validation accuracy are kept."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """`sgd` has momentum; weight decay is decoupled in all three."""
    learning_rate: PositiveFloat = 0.1
    """The highest one; the schedule begins there."""
    momentum: Fraction = 0.9
    """Of `sgd`."""
    nesterov: bool = True
    """Whether the momentum of `sgd` looks ahead."""
    weight_decay: NonNegativeFloat = 5e-4
    """Decoupled; biases and normalisation are spared."""
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """How the learning rate falls: along a cosine to zero, in steps, or not at all."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs, also parts of one, in which the learning rate rises from zero."""
    step_epochs: Items[Positive] = ()
    """With the schedule `step`: the epochs at which the learning rate drops."""
    step_factor: PositiveFloat = 0.1
    """With the schedule `step`: by which factor it drops."""
    label_smoothing: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each label that is spread over all classes."""
    clip_norm: PositiveFloat | None = None
    """The largest norm of all gradients together; by default there is none."""
    early_stopping: Positive | None = None
    """Ends the training after so many epochs without a better validation accuracy; by default it never does."""
    accumulation_steps: Positive = 1
    """The gradients of so many batches are averaged before the weights move."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """What is computed in during the training; the weights stay float32."""
    xla: bool = False
    """Whether the step is compiled by XLA."""

    @pydantic.model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise invalid(
                f"warmup_epochs is {self.warmup_epochs:g} but epochs is {self.epochs}: the learning rate would never "
                "reach its value. Make warmup_epochs smaller than epochs."
            )
        if self.schedule == "step" and not self.step_epochs:
            raise invalid("schedule 'step' needs step_epochs, such as [60, 80]: the epochs at which the rate drops.")
        if self.schedule != "step" and self.step_epochs:
            raise invalid(f"step_epochs is given but schedule is {self.schedule!r}: set schedule to 'step'.")
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise invalid(f"step_epochs is {list(self.step_epochs)}: it must rise strictly.")
        if self.step_epochs and self.step_epochs[-1] >= self.epochs:
            raise invalid(f"step_epochs ends at {self.step_epochs[-1]} but there are only {self.epochs} epochs.")
        return self


class Network(Training):
    """A network and how to train it: `architecture` and its arguments, or `model`, a Keras file to train on."""

    PLUGIN_ARGUMENTS = True

    architecture: str | None = None
    """A name of `edgekd list architectures`, or `package.module:function` of your own.

    One of this and `model` is given.
    """
    model: str | None = None
    """The path of a saved Keras model to train on. A relative one starts at the recipe's file; one given with `--set`,
    at the current folder."""

    @pydantic.model_validator(mode="after")
    def _check_architecture(self) -> Self:
        if (self.architecture is None) == (self.model is None):
            raise invalid("give exactly one of architecture (a name) and model (the path of a saved model).")
        if self.model is not None and self.arguments and not self._may_have_arguments():
            raise invalid(unknown_name("key", next(iter(self.arguments)), type(self).model_fields))
        check_architecture(self, self.architecture)
        return self

    def _may_have_arguments(self) -> bool:
        return False

    @property
    def label(self) -> str:
        """What reports call the network."""
        return self.architecture or f"saved model {Path(self.model or '').name}"


class Teacher(Network):
    """A network to train on labels, or `model`, one that exists and is used as it is.

    That is a Keras or tf_keras file, a SavedModel folder, a .tflite or .onnx file, or package.module:function, whose
    arguments are further keys.
    """

    outputs: Literal["logits", "probabilities"] = "logits"
    """What a given teacher's outputs are."""
    layout: Literal["channels_last", "channels_first"] = "channels_last"
    """How a given teacher wants its images."""

    @pydantic.model_validator(mode="after")
    def _check_use(self) -> Self:
        if self.model is None:
            unused = [key for key in self._changed() if key in {"outputs", "layout"}]
            if unused:
                raise invalid(f"{unused[0]} is for a teacher that exists already: give model, or remove {unused[0]}.")
            return self
        unused = [key for key in self._changed() if key in Training.model_fields]
        if unused:
            raise invalid(f"{unused[0]} has no effect on a teacher that exists already (model): remove {unused[0]}.")
        return self

    def _changed(self) -> list[str]:
        fields = type(self).model_fields
        return [key for key, field in fields.items() if getattr(self, key) != field.default]

    def _may_have_arguments(self) -> bool:
        return self.model is not None and ":" in self.model


class Peer(Section):
    """A network that learns beside the student, by the student's settings. Further keys are the architecture's."""

    PLUGIN_ARGUMENTS = True

    architecture: str
    """As of the student."""

    @pydantic.model_validator(mode="after")
    def _check_architecture(self) -> Self:
        check_architecture(self, self.architecture)
        return self


def check_architecture(section: Section, architecture: str | None) -> None:
    """Checks the arguments of a network family; those of a user's own function are known only when it is called."""
    if architecture is not None and ":" not in architecture:
        check_plugin(section, ARCHITECTURES, architecture, entry="build")
