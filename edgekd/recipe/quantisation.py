"""The section on integers: how the student becomes an int8 network, before it is written to files."""

from typing import Literal, Self

import pydantic

from edgekd.recipe.networks import Training
from edgekd.recipe.section import (
    RANGES,
    Fraction,
    Items,
    OpenFraction,
    Positive,
    PositiveFloat,
    Section,
    check_plugin,
    invalid,
)


class Aware(Training):
    """Quantisation-aware training, from the distilled student on: the same teacher and losses go on teaching."""

    epochs: Positive = 2
    """As of every training."""
    learning_rate: PositiveFloat = 0.01
    """As of every training; lower, since it goes on from a trained network."""
    ranges: Literal["moving_average", "learned"] = "moving_average"
    """Whether the ranges of activations follow the batches or are trained with the weights."""
    range_momentum: OpenFraction = 0.99
    """How slowly `moving_average` follows."""
    freeze_after: Fraction = 0.5
    """From this share of the steps on, batch normalisation and moving averages stay as they are."""

    @pydantic.model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.precision != "float32":
            raise invalid(
                f"precision is {self.precision!r}, but rounding to int8 must be computed in float32: remove precision."
            )
        return self


class Quantize(Section):
    """The int8 student. Further keys are settings of the calibration."""

    PLUGIN_ARGUMENTS = True

    scheme: Literal["int8"] = "int8"
    """Of the student that is made."""
    aware: Aware | None = None
    """Quantisation-aware training; `{}` has the defaults, without it nothing is trained."""
    exclude: Items[str] = ()
    """Layers that stay in float."""
    calibration: str = "min_max"
    """How ranges are found from training images: a name of `edgekd list calibrations`."""

    @pydantic.model_validator(mode="after")
    def _check_calibration(self) -> Self:
        check_plugin(self, RANGES, self.calibration, entry="estimate", own=("observed",))
        if len(set(self.exclude)) < len(self.exclude):
            raise invalid(f"exclude is {list(self.exclude)}: give each layer once.")
        return self
