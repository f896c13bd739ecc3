"""Projector: a linear map from the student's pooled features to the teacher's, as in SRD."""

import keras
from keras.initializers import GlorotUniform

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FLAT, check_pairs
from edgekd.distill.adapters._pooling import globally_averaged

_NAME = "projector"
_EPSILON = 1e-4  # of the released code's batch normalisation


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int, batch_norm: bool = False) -> keras.layers.Layer:
    """Returns an adapter that maps the student's features to the teacher's dimension.

    Features are averaged over all positions; the student's then go through a dense layer without bias. The method also
    normalises both over the batch, without scale and offset. The loss `srd` does that itself; with another loss, such
    as `feature_mse`, ask for `batch_norm`.

    Args:
      student_shapes: one shape per pair of taps, without the batch: [..., channels] or [features].
      teacher_shapes: likewise; they need not be alike.
      seed: of the initial weights.
      batch_norm: whether both are normalised over the batch.

    Returns:
      A layer that gives, for each pair, two [batch, the teacher's channels] arrays.

    Raises:
      ShapeError: a size is not known.

    References:
      Miles and Mikolajczyk, Understanding the Role of the Projector in Knowledge Distillation, AAAI 2024
      (arXiv:2303.11098); normalisation without scale and offset, ε = 1e-4, as in the authors' code.
    """
    check_pairs(_NAME, student_shapes, teacher_shapes, same_rank=False)
    adapter = _Projector(seed=seed, normalised=batch_norm)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Projector(Adapter):
    def __init__(self, *, seed: int, normalised: bool) -> None:
        super().__init__(_NAME)
        self._seed = seed
        self._normalised = normalised

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self.students = []
        self.teachers = []
        for index, (ours, theirs) in enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1):
            name = f"pair{index}"
            initializer = GlorotUniform(seed=_layers.layer_seed(self._seed, f"{_NAME}.{name}"))
            student = [
                _layers.channel_map(FLAT, theirs[-1], initializer=initializer, name=name),
                *self._norm(name, "student"),
            ]
            teacher = self._norm(name, "teacher")
            _layers.build_chain(student, ours[-1:])
            _layers.build_chain(teacher, theirs[-1:])
            self.students.append(student)
            self.teachers.append(teacher)

    def _norm(self, name: str, side: str) -> list[keras.layers.Layer]:
        if not self._normalised:
            return []
        return [_layers.batch_norm(affine=False, epsilon=_EPSILON, name=f"{name}_{side}_bn")]

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:
        return tuple(
            Adapted(
                _layers.chained(ours, globally_averaged(student), training=training),
                _layers.chained(theirs, globally_averaged(teacher), training=training),
                {},
            )
            for ours, theirs, student, teacher in zip(self.students, self.teachers, students, teachers, strict=True)
        )
