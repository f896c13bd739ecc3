"""The sections on data: where samples come from, how they are batched and varied."""

from pathlib import Path
from typing import Any, Self

import pydantic

from edgekd import registry
from edgekd.recipe.section import SOURCES, NonNegative, NonNegativeFloat, OpenFraction, Positive, Section, check_plugin


def is_dataset_name(data: str) -> bool:
    """Returns whether this names a dataset, as `data.dataset` does, and not an .npz file or a folder by its path."""
    source, colon, _ = data.partition(":")
    if colon and source in registry.discover(SOURCES):
        return True
    path = Path(data)
    return path.suffix.lower() != ".npz" and not path.is_dir()


class Augment(Section):
    """Random views of training images. All are functions of (seed, view, sample) and keep no state."""

    shift: NonNegative = 0
    """Up to how many pixels an image is moved, up or down and left or right; what comes in is zero."""
    flip: bool = False
    """Whether half of the views are mirrored, left to right."""
    cutout: NonNegative = 0
    """Side, in pixels, of a square that is blanked at a random place; 0 for none."""


class Unlabelled(Section):
    """A second source of training images, whose classes are not known. Further keys are the source's own options."""

    PLUGIN_ARGUMENTS = True

    dataset: str
    """As `data.dataset`, such as `image_folder:DIR`."""
    limit: Positive | None = None
    """At most so many of its images; by default all."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_alone(cls, received: Any) -> Any:
        return {"dataset": received} if isinstance(received, str) else received

    @pydantic.model_validator(mode="after")
    def _check_source(self) -> Self:
        check_plugin(self, SOURCES, self.dataset.partition(":")[0], entry="load", own=("labelled",))
        return self


class Data(Section):
    """Where samples come from and how they are batched. Further keys are the source's own options."""

    PLUGIN_ARGUMENTS = True

    dataset: str = "embedded"
    """The source, and behind a colon what it reads: `embedded`, `tfds:NAME`, `idx:DIR`, `image_folder:DIR`,
    `npz:FILE`, `synthetic`."""
    batch_size: Positive = 128
    """Samples in a step, over all workers."""
    augment: Augment = pydantic.Field(default_factory=Augment)
    """Random views of training images."""
    mixup: NonNegativeFloat = 0.0
    """α of Beta(α, α), from which the shares of two samples that are blended are drawn; 0 for none."""
    unlabelled: Unlabelled | None = None
    """A second source, of images that only a teacher can teach on."""
    validation_fraction: OpenFraction = 0.1
    """Share of the training data that selects epochs, where the source has no validation split."""
    test_fraction: OpenFraction = 0.2
    """Share of the data that is kept for the end, where the source has no test split."""
    split_seed: NonNegative = 0
    """Decides which samples those are, and which ones a limit keeps, whatever the seed of the training."""
    train_limit: Positive | None = None
    """At most so many training samples, each class with its share; by default all."""
    validation_limit: Positive | None = None
    """The same for validation samples."""
    test_limit: Positive | None = None
    """The same for test samples."""

    @property
    def source(self) -> str:
        """The data source's plug-in name: what stands before the first colon of `dataset`."""
        return self.dataset.partition(":")[0]

    @pydantic.model_validator(mode="after")
    def _check_source(self) -> Self:
        check_plugin(self, SOURCES, self.source, entry="load")
        return self
