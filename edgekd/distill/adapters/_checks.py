"""What every adapter checks at its door: options, and whether the taps can be fitted."""

from collections.abc import Collection

from edgekd.distill.adapters._adapted import Shapes
from edgekd.errors import RecipeError, ShapeError

FEATURE_MAP = 3  # [height, width, channels]
SEQUENCE = 2  # [positions, features]
FLAT = 1  # [features]

_IN_WORDS = {FEATURE_MAP: "[height, width, channels]", SEQUENCE: "[positions, features]", FLAT: "[features]"}


def check_positive(adapter: str, **options: int) -> None:
    """Raises RecipeError unless each option is a whole number of at least 1."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RecipeError(f"{adapter}: {name} must be a whole number of at least 1, got {value!r}.")


def check_pairs(
    adapter: str,
    student_shapes: Shapes,
    teacher_shapes: Shapes,
    *,
    ranks: Collection[int] = (),
    same_rank: bool = True,
) -> None:
    """Raises ShapeError unless the shapes come in pairs that the adapter can fit.

    Args:
      adapter: its name, for the message.
      student_shapes: one shape per pair of taps, without the batch.
      teacher_shapes: likewise.
      ranks: the ranks that the adapter takes; all from 1 where empty.
      same_rank: whether both shapes of a pair must have the same rank.
    """
    if not student_shapes or len(student_shapes) != len(teacher_shapes):
        raise ShapeError(
            f"{adapter}: got {len(student_shapes)} of the student's taps and {len(teacher_shapes)} of the teacher's; "
            "expected at least one pair of taps."
        )
    for ours, theirs in zip(student_shapes, teacher_shapes, strict=True):
        if not all(isinstance(size, int) and size > 0 for size in (*ours, *theirs)):
            raise misfit(adapter, ours, theirs, "known sizes of at least 1: choose layers whose output has them")
        if ranks and not {len(ours), len(theirs)} <= set(ranks):
            expected = " or ".join(_IN_WORDS[rank] for rank in sorted(ranks, reverse=True))
            raise misfit(adapter, ours, theirs, f"{expected}: choose taps of that kind")
        if not ours or not theirs:
            raise misfit(adapter, ours, theirs, "at least one axis besides the batch: choose other taps")
        if same_rank and len(ours) != len(theirs):
            raise misfit(
                adapter, ours, theirs, "as many axes for both: tap both networks before, or both after their pooling"
            )


def misfit(adapter: str, ours: tuple[int, ...], theirs: tuple[int, ...], expected: str) -> ShapeError:
    """Returns the error that names both shapes of a pair."""
    return ShapeError(
        f"{adapter}: the student's tap has shape {tuple(ours)} and the teacher's {tuple(theirs)} (without the batch); "
        f"expected {expected}."
    )
