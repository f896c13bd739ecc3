"""Embedding: both networks' features in one space of unit vectors, as in CRD."""

import keras
from keras.initializers import GlorotUniform

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FLAT, check_pairs, check_positive
from edgekd.distill.adapters._pooling import globally_averaged
from edgekd.losses._directions import unit_vectors
from edgekd.losses._precision import widened

_NAME = "embedding"


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int, dim: int = 128) -> keras.layers.Layer:
    """Returns an adapter that embeds student and teacher, each by a dense layer of its own, both trained.

    Features are averaged over all positions, mapped to `dim` numbers and divided by their L2 norm.

    Args:
      student_shapes: one shape per pair of taps, without the batch: [..., channels] or [features].
      teacher_shapes: likewise; they need not be alike.
      seed: of the initial weights.
      dim: length of the embeddings.

    Returns:
      A layer that gives, for each pair, two [batch, dim] arrays of unit vectors of at least float32.

    Raises:
      ShapeError: a size is not known.
      RecipeError: the dimension is not a whole number of at least 1.

    References:
      Tian, Krishnan and Isola, Contrastive Representation Distillation, 2020 (arXiv:1910.10699), section 3.
    """
    check_positive(_NAME, dim=dim)
    check_pairs(_NAME, student_shapes, teacher_shapes, same_rank=False)
    adapter = _Embedding(seed=seed, dim=dim)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Embedding(Adapter):
    def __init__(self, *, seed: int, dim: int) -> None:
        super().__init__(_NAME)
        self._seed = seed
        self._dim = dim

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        pairs = list(enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1))
        self.students = [self._head(f"pair{index}_student", ours[-1]) for index, (ours, _) in pairs]
        self.teachers = [self._head(f"pair{index}_teacher", theirs[-1]) for index, (_, theirs) in pairs]

    def _head(self, name: str, channels: int) -> keras.layers.Layer:
        initializer = GlorotUniform(seed=_layers.layer_seed(self._seed, f"{_NAME}.{name}"))
        head = _layers.channel_map(FLAT, self._dim, use_bias=True, initializer=initializer, name=name)
        head.build((None, channels))
        return head

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:  # noqa: ARG002
        return tuple(
            Adapted(_unit(ours(globally_averaged(student))), _unit(theirs(globally_averaged(teacher))), {})
            for ours, theirs, student, teacher in zip(self.students, self.teachers, students, teachers, strict=True)
        )


def _unit(vectors: keras.KerasTensor) -> keras.KerasTensor:
    (wide,) = widened(vectors)
    return unit_vectors(wide)[0]
