"""When weights are removed, and how many by then."""

import dataclasses

from edgekd.errors import RecipeError


@dataclasses.dataclass(frozen=True)
class PolynomialSchedule:
    """A sparsity that rises quickly at first and slowly at the end.

    s_t = s_f + (s_i − s_f)·(1 − (t − begin) / (end − begin))³

    The masks change at the steps begin, begin + frequency, begin + 2·frequency, ... and at the end step itself, so that
    the final sparsity is reached whatever the frequency. Before the first step nothing is removed, and after the last
    the masks stay. Steps count from 0.

    Attributes:
      end_step: the step of the last change.
      begin_step: the step of the first change.
      frequency: steps from one change to the next.
      initial: the sparsity at the first change, in [0, 1).

    Raises:
      RecipeError: an end before the beginning, a negative step, a frequency below 1 or an initial sparsity outside
        [0, 1).

    References:
      Zhu and Gupta, To prune, or not to prune, 2017 (arXiv:1710.01878), equation 1.
    """

    end_step: int
    begin_step: int = 0
    frequency: int = 100
    initial: float = 0.0

    def __post_init__(self) -> None:
        if self.begin_step < 0:
            raise RecipeError(f"the sparsity schedule begins at step {self.begin_step}: expected 0 or more.")
        if self.end_step < self.begin_step:
            raise RecipeError(
                f"the sparsity schedule ends at step {self.end_step}, before it begins at step {self.begin_step}: let "
                "it end later, or begin earlier."
            )
        if self.frequency < 1:
            raise RecipeError(f"the sparsity schedule's frequency is {self.frequency}: expected 1 step or more.")
        check_sparsity("initial sparsity", self.initial)

    def sparsity(self, step: int, final: float) -> float:
        """Returns the sparsity that is in force in a training step.

        Args:
          step: from 0.
          final: s_f, the sparsity from the end step on.
        """
        if step < self.begin_step:
            return 0.0
        if step >= self.end_step:
            return final
        last_change = (step - self.begin_step) // self.frequency * self.frequency
        left = 1.0 - last_change / (self.end_step - self.begin_step)
        return final + (self.initial - final) * (left * left * left)


def check_sparsity(name: str, value: float) -> None:
    """Raises RecipeError unless `value` is a share of weights to remove: at least 0 and less than 1."""
    if not 0.0 <= value < 1.0:
        raise RecipeError(f"{name} is {value!r}: expected a number from 0 to below 1, the share that becomes zero.")
