"""What every loss checks at its door: hyper-parameters and shapes, with one wording for all.

Only what is known before the graph runs is checked: a scheduled hyper-parameter is a scalar tensor and passes, and a
dimension that is None fits any other.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import keras

from edgekd.errors import RecipeError, ShapeError


def check_positive(loss: str, **values: Any) -> None:
    """Raises RecipeError unless each value is a positive finite number or a tensor."""
    for name, value in values.items():
        if isinstance(value, numbers.Real) and not 0 < float(value) < math.inf:
            raise RecipeError(f"{loss}: {name} must be a positive finite number, got {value}.")


def check_not_negative(loss: str, **values: Any) -> None:
    """Raises RecipeError unless each value is a finite number of at least 0 or a tensor."""
    for name, value in values.items():
        if isinstance(value, numbers.Real) and not 0 <= float(value) < math.inf:
            raise RecipeError(f"{loss}: {name} must be a finite number of at least 0, got {value}.")


def check_weights(loss: str, **values: Any) -> None:
    """Raises RecipeError unless each value is a finite number of at least 0 or a tensor, and not all numbers are 0."""
    check_not_negative(loss, **values)
    if values and all(isinstance(value, numbers.Real) and float(value) == 0 for value in values.values()):
        every = " and ".join(values)
        raise RecipeError(f"{loss}: {every} must not {'all ' if len(values) > 1 else ''}be 0: nothing would be taught.")


def check_one_of(loss: str, name: str, value: object, known: Sequence[str]) -> None:
    """Raises RecipeError unless the value is one of the known ones."""
    if value not in known:
        raise RecipeError(f"{loss}: {name} must be {' or '.join(map(repr, known))}, got {value!r}.")


def check_logits(loss: str, student: keras.KerasTensor, teacher: keras.KerasTensor) -> None:
    """Raises ShapeError unless both are [batch, classes] with the same batch and the same known number of classes."""
    if len(student.shape) != 2 or len(teacher.shape) != 2 or not _agree(student.shape, teacher.shape):
        raise ShapeError(
            f"{loss}: student logits {tuple(student.shape)} and teacher logits {tuple(teacher.shape)} must both be "
            "[batch, classes] with the same batch and the same number of classes."
        )


def check_labels(loss: str, labels: keras.KerasTensor, student: keras.KerasTensor) -> None:
    """Raises ShapeError unless there is one label for each of the student's samples."""
    if len(labels.shape) != 1 or not _agree(labels.shape, student.shape[:1]):
        raise ShapeError(
            f"{loss}: labels of shape {tuple(labels.shape)} do not fit student logits {tuple(student.shape)}; expected "
            "one class index for each sample, [batch]."
        )


def check_feature_maps(loss: str, student: keras.KerasTensor, teacher: keras.KerasTensor) -> None:
    """Raises ShapeError unless both are [batch, height, width, channels] of known size with the same batch."""
    if any(len(features.shape) != 4 or None in features.shape[1:] for features in (student, teacher)):
        raise ShapeError(
            f"{loss}: {_received(student, teacher)}; expected feature maps [batch, height, width, channels] of known "
            "size. Choose outputs of convolutional stages."
        )
    _check_batch(loss, student, teacher)


def check_features(loss: str, student: keras.KerasTensor, teacher: keras.KerasTensor) -> None:
    """Raises ShapeError unless both are [batch, ...] of known size with the same batch; sizes may differ."""
    if any(len(features.shape) < 2 or None in features.shape[1:] for features in (student, teacher)):
        raise ShapeError(
            f"{loss}: {_received(student, teacher)}; expected features [batch, ...] of known size. Choose layers whose "
            "output has a fixed shape."
        )
    _check_batch(loss, student, teacher)


def check_same_shape(
    loss: str, student: keras.KerasTensor, teacher: keras.KerasTensor, *, of: str = "shape", remedy: str
) -> None:
    """Raises ShapeError unless the two agree in every dimension, or in those that `of` names.

    Args:
      loss: its name, for the message.
      student: [batch, ...] features.
      teacher: [batch, ...] features.
      of: `shape` (all dimensions), or of feature maps only `height and width` or only `channels`.
      remedy: what the user can do about it, one sentence such as "Give the term the adapter 'hint'."
    """
    part = {"shape": slice(None), "height and width": slice(1, 3), "channels": slice(-1, None)}[of]
    if len(student.shape) != len(teacher.shape) or not _agree(student.shape[part], teacher.shape[part]):
        raise ShapeError(f"{loss}: {_received(student, teacher)}; expected the same {of}. {remedy}")


def _check_batch(loss: str, student: keras.KerasTensor, teacher: keras.KerasTensor) -> None:
    # A batch of one would be broadcast silently.
    if not _agree(student.shape[:1], teacher.shape[:1]):
        raise ShapeError(f"{loss}: {_received(student, teacher)}; expected the same batch of samples.")


def _received(student: keras.KerasTensor, teacher: keras.KerasTensor) -> str:
    return f"the student's tap has shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}"


def _agree(ours: Sequence[int | None], theirs: Sequence[int | None]) -> bool:
    # None is a size that is known only when the graph runs.
    return all(a == b or None in {a, b} for a, b in zip(ours, theirs, strict=True))
