"""When a measurement has enough rounds."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Sequence

from edgekd.bench import stats
from edgekd.bench.rounds import Round, StoppedWithinRound
from edgekd.bench.samples import Ended
from edgekd.errors import RecipeError
from edgekd.records import Interval

LEAST_ROUNDS = 5  # before a narrow interval is believed: the spread of three processes is often small by chance
MOST_PROCESSES = 100  # where only a goal is given


@dataclasses.dataclass(frozen=True)
class Goal:
    """What ends a measurement before all of its processes have run.

    Attributes:
      precision: largest distance of an interval's ends from its value, as a share of it; None: no goal.
      seconds: the time that there is; None: without limit.
      of_ratios: whether the intervals are those of the ratios to the first model.
    """

    precision: float | None = None
    seconds: float | None = None
    of_ratios: bool = False

    @classmethod
    def checked(cls, *, precision: float | None, seconds: float | None, parts: int, of_ratios: bool = False) -> "Goal":
        """Returns the goal of one of several equal parts of the work.

        Raises:
          RecipeError: a number is out of range.
        """
        for name, value in (("precision", precision), ("seconds", seconds)):
            if value is not None and not (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
            ):
                raise RecipeError(f"{name} is {value!r}: expected a number above 0.")
        if precision is not None and precision >= 1:
            raise RecipeError(f"precision is {precision!r}: expected a share of the latency, such as 0.02 for 2 %.")
        return cls(precision, None if seconds is None or parts == 0 else seconds / parts, of_ratios)

    @property
    def is_open(self) -> bool:
        """Whether the number of processes is what the goal takes."""
        return self.precision is not None or self.seconds is not None

    def reached(self, interval: Interval | None) -> bool:
        """Returns whether an interval is narrow enough; False where there is no goal or no interval."""
        width = half_width(interval)
        return self.precision is not None and width is not None and width <= self.precision

    def reached_by(self, rounds: Sequence[Round]) -> bool:
        """Returns whether every interval is narrow enough after these rounds."""
        first, *others = zip(*rounds, strict=True)
        if self.of_ratios:
            return all(self.reached(stats.ratio_interval(processes, first, watched=True)) for processes in others)
        return all(self.reached(stats.summarise(processes, watched=True).interval) for processes in (first, *others))

    def missed(self, interval: Interval | None) -> str | None:
        """Returns a sentence for people where there is a goal of precision and an interval does not reach it."""
        if self.precision is None or self.reached(interval):
            return None
        width = half_width(interval)
        observed = "there is no interval" if width is None else f"it is ±{100 * width:.3g}%"
        what = "interval of the ratio to the first" if self.of_ratios else "interval"
        return (
            f"The {what} was to be within ±{100 * self.precision:.3g}%, and {observed}: allow more time or more "
            "processes, or make the machine quieter."
        )


@dataclasses.dataclass
class Collected:
    """The rounds that were measured so far, and why there are no more."""

    rounds: list[Round] = dataclasses.field(default_factory=list)
    ended: Ended = "processes"

    def gather(
        self, rounds: Generator[Round, None, None], goal: Goal, *, clock: Callable[[], float] = time.monotonic
    ) -> BaseException | None:
        """Takes rounds until they end or the goal is met, and returns what broke them off, for the caller to raise."""
        begin = clock()
        try:
            with contextlib.closing(rounds):  # so that a device is left at once, and not when the memory is collected
                for measured in rounds:
                    self.rounds.append(measured)
                    ended = self._ended(goal, clock() - begin)
                    if ended is not None:
                        self.ended = ended
                        break
        except KeyboardInterrupt as interruption:
            if isinstance(interruption, StoppedWithinRound):
                self.rounds.append(interruption.measured)
            self.ended = "interrupted"
            return interruption
        except Exception as error:
            self.ended = "failed"
            return error
        return None

    def _ended(self, goal: Goal, elapsed: float) -> Ended | None:
        if goal.precision is not None and len(self.rounds) >= LEAST_ROUNDS and goal.reached_by(self.rounds):
            return "precision"
        next_ends = elapsed * (1 + 1 / len(self.rounds))
        return "seconds" if goal.seconds is not None and next_ends > goal.seconds else None


def half_width(interval: Interval | None) -> float | None:
    """Returns the larger distance of the interval's ends from its value, as a share of that; None without one."""
    if interval is None:
        return None
    return max(interval.high - interval.value, interval.value - interval.low) / interval.value
