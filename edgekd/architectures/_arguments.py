"""What every network family checks before it builds a layer."""

from collections.abc import Sequence
from typing import Any

from edgekd.errors import ModelError, ShapeError


def image_shape(architecture: str, input_shape: Sequence[int], *, smallest: int) -> tuple[int, int, int]:
    """Returns (height, width, channels) of an image that survives the network's strides and pools.

    Args:
      architecture: name for the message.
      input_shape: one sample's shape, without the batch.
      smallest: least height and width, such that no layer strides over a map of one pixel or pools it away.

    Raises:
      ShapeError: it is not an image's shape, or smaller.
    """
    shape = sample_shape(architecture, input_shape)
    if len(shape) != 3:
        raise ShapeError(
            f"architecture {architecture!r} takes images: input_shape must be (height, width, channels), "
            f"received {shape}."
        )
    if min(shape[:2]) < smallest:
        raise ShapeError(
            f"architecture {architecture!r} with these arguments needs images of at least {smallest}x{smallest} "
            f"pixels, received input_shape {shape}: use larger images, or fewer strides (stem_stride=1 where there is "
            "one)."
        )
    return shape[0], shape[1], shape[2]


def sample_shape(architecture: str, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Returns one sample's shape as a tuple of positive sizes; raises ShapeError for anything else."""
    shape = tuple(input_shape)
    if not shape or not all(_is_integer(size) and size >= 1 for size in shape):
        raise ShapeError(
            f"architecture {architecture!r}: input_shape must be one sample's shape in positive whole numbers, "
            f"received {shape}."
        )
    return shape


def integer(architecture: str, name: str, received: Any, *, minimum: int = 1) -> int:
    """Returns the argument when it is a whole number that is large enough; raises ModelError otherwise."""
    if not _is_integer(received) or received < minimum:
        raise _refusal(architecture, name, f"a whole number of at least {minimum}", received)
    return int(received)


def integers(architecture: str, name: str, received: Any, *, length: int | None = None) -> tuple[int, ...]:
    """Returns the argument as a tuple when it is a list of positive whole numbers; raises ModelError otherwise."""
    expected = "a list of positive whole numbers" if length is None else f"a list of {length} positive whole numbers"
    if not isinstance(received, list | tuple) or not received or (length is not None and len(received) != length):
        raise _refusal(architecture, name, expected, received)
    if not all(_is_integer(item) and item >= 1 for item in received):
        raise _refusal(architecture, name, expected, received)
    return tuple(received)


def positive(architecture: str, name: str, received: Any, *, maximum: float) -> float:
    """Returns the argument when it is a number in (0, maximum]; raises ModelError otherwise."""
    if not _is_number(received) or not 0 < received <= maximum:
        raise _refusal(architecture, name, f"a number above 0 and up to {maximum}", received)
    return float(received)


def dropout_rate(architecture: str, name: str, received: Any) -> float:
    """Returns the argument when it is a number in [0, 1); raises ModelError otherwise."""
    if not _is_number(received) or not 0 <= received < 1:
        raise _refusal(architecture, name, "a number from 0 (no dropout) to below 1", received)
    return float(received)


def choice(architecture: str, name: str, received: Any, choices: Sequence[int | str]) -> Any:
    """Returns the argument when it is one of the choices; raises ModelError otherwise."""
    if isinstance(received, bool) or received not in choices:
        raise _refusal(architecture, name, f"one of {', '.join(map(repr, choices))}", received)
    return received


def class_count(architecture: str, num_classes: Any) -> int:
    """Returns the number of classes when there are at least two; raises ModelError otherwise."""
    return integer(architecture, "num_classes", num_classes, minimum=2)


def _refusal(architecture: str, name: str, expected: str, received: Any) -> ModelError:
    return ModelError(f"architecture {architecture!r}: {name} must be {expected}, received {received!r}.")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
