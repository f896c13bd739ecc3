"""The sections on data: where samples come from, how they are batched and varied."""

from typing import Any, Self

import pydantic

from edgekd.recipe.section import SOURCES, NonNegative, NonNegativeFloat, OpenFraction, Positive, Section, check_plugin


class Augment(Section):
    """Random views of training images: shifts up to `shift` pixels, horizontal flips, square cut-outs of a side."""

    shift: NonNegative = 0
    flip: bool = False
    cutout: NonNegative = 0


class Unlabelled(Section):
    """A second source of training images, whose classes are not known. Further keys are the source's own options."""

    PLUGIN_ARGUMENTS = True

    dataset: str
    limit: Positive | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_alone(cls, received: Any) -> Any:
        return {"dataset": received} if isinstance(received, str) else received

    @pydantic.model_validator(mode="after")
    def _check_source(self) -> Self:
        check_plugin(self, SOURCES, self.dataset.partition(":")[0], entry="load", own=("labelled",))
        return self


class Data(Section):
    """Where samples come from and how they are batched. Further keys are the source's own options.

    `mixup` is the α of Beta(α, α), 0 for none. `unlabelled` is a second source, such as image_folder:DIR, of
    images that only a teacher can teach on.
    """

    PLUGIN_ARGUMENTS = True

    dataset: str = "embedded"
    batch_size: Positive = 128
    augment: Augment = pydantic.Field(default_factory=Augment)
    mixup: NonNegativeFloat = 0.0
    unlabelled: Unlabelled | None = None
    validation_fraction: OpenFraction = 0.1
    test_fraction: OpenFraction = 0.2
    split_seed: NonNegative = 0
    train_limit: Positive | None = None
    validation_limit: Positive | None = None
    test_limit: Positive | None = None

    @property
    def source(self) -> str:
        """The data source's plug-in name: what stands before the first colon of `dataset`."""
        return self.dataset.partition(":")[0]

    @pydantic.model_validator(mode="after")
    def _check_source(self) -> Self:
        check_plugin(self, SOURCES, self.source, entry="load")
        return self
