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
    """Quantisation-aware training, from the distilled student on: the same teacher and losses go on teaching.

    From the share `freeze_after` of the steps on, batch normalisation and moving averages of ranges stay as they are.
    `ranges: learned` trains the ranges with the weights.
    """

    epochs: Positive = 2
    learning_rate: PositiveFloat = 0.01
    ranges: Literal["moving_average", "learned"] = "moving_average"
    range_momentum: OpenFraction = 0.99
    freeze_after: Fraction = 0.5

    @pydantic.model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.precision != "float32":
            raise invalid(
                f"precision is {self.precision!r}, but rounding to int8 must be computed in float32: remove precision."
            )
        return self


class Quantize(Section):
    """The int8 student. Without `aware` its ranges are calibrated and nothing is trained.

    `exclude` names layers that stay in float. `calibration` names how ranges are found from training images; further
    keys are its settings.
    """

    PLUGIN_ARGUMENTS = True

    scheme: Literal["int8"] = "int8"
    aware: Aware | None = None
    exclude: Items[str] = ()
    calibration: str = "min_max"

    @pydantic.model_validator(mode="after")
    def _check_calibration(self) -> Self:
        check_plugin(self, RANGES, self.calibration, entry="estimate", own=("observed",))
        if len(set(self.exclude)) < len(self.exclude):
            raise invalid(f"exclude is {list(self.exclude)}: give each layer once.")
        return self
