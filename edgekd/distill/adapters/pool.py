"""Pool: averages the larger of two taps until both have the same shape; without weights."""

import keras
from keras import ops

from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FEATURE_MAP, FLAT, SEQUENCE, check_pairs
from edgekd.distill.adapters._pooling import averaged

_NAME = "pool"


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int) -> keras.layers.Layer:  # noqa: ARG001
    """Returns an adapter that averages, along every axis, the larger tap to the smaller one's size.

    Position i of n averages positions floor(i·m/n) to ceil((i+1)·m/n) of m, as adaptive average pooling does. Feature
    maps are averaged over windows of height and width. Where the channels, or flat features, differ in number, the
    larger is averaged over windows of neighbouring ones, as PyTorch's tutorial does to flattened features.
    The neighbourhood of channels has no meaning by itself; a trained `regressor` is the alternative.

    Args:
      student_shapes: one shape per pair of taps, without the batch.
      teacher_shapes: likewise, each of the student's rank.
      seed: not used: there are no weights.

    Returns:
      A layer that gives, for each pair, student and teacher of one shape.

    Raises:
      ShapeError: the taps of a pair differ in rank, or are not [height, width, channels], [positions, features] or
        [features] of known size.

    References:
      Knowledge Distillation Tutorial of pytorch.org, 2023 (the teacher's hidden representation is average-pooled).
    """
    check_pairs(_NAME, student_shapes, teacher_shapes, ranks=(FLAT, SEQUENCE, FEATURE_MAP))
    adapter = _Pool(_NAME)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Pool(Adapter):
    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self._sizes = tuple(
            tuple(min(pair) for pair in zip(ours, theirs, strict=True))
            for ours, theirs in zip(student_shapes, teacher_shapes, strict=True)
        )

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:  # noqa: ARG002
        return tuple(
            Adapted(_averaged_to(student, sizes), _averaged_to(teacher, sizes), {})
            for student, teacher, sizes in zip(students, teachers, self._sizes, strict=True)
        )


def _averaged_to(features: keras.KerasTensor, sizes: tuple[int, ...]) -> keras.KerasTensor:
    if len(sizes) == SEQUENCE:
        return averaged(features[..., None], sizes)[..., 0]
    *positions, channels = sizes
    if positions:
        features = averaged(features, tuple(positions))
    given = features.shape[-1]
    if given == channels:
        return features
    # Channels stand where a map has its height.
    columns = averaged(ops.reshape(features, (-1, given, 1, 1)), (channels, 1))
    return ops.reshape(columns, (-1, *positions, channels))
