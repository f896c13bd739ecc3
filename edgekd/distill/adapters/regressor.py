"""Regressor: a convolution, or dense layer, from the student's channels to the teacher's, as in FitNets."""

import keras
from keras.initializers import GlorotUniform

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FEATURE_MAP, FLAT, check_pairs, check_positive
from edgekd.distill.adapters._pooling import to_smaller_size

_NAME = "regressor"


def build(
    student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int, kernel: int = 1, batch_norm: bool = True
) -> keras.layers.Layer:
    """Returns an adapter that predicts the teacher's features from the student's.

    For each pair of feature maps a convolution, for each pair of flat features a dense layer, from the student's
    channels to the teacher's, then batch normalisation. Where height or width differ, the larger map is averaged to
    the smaller one's size first; the student's is then what the convolution sees.

    Args:
      student_shapes: one shape per pair of taps, without the batch: [height, width, channels] or [features].
      teacher_shapes: likewise, each of the student's rank.
      seed: of the initial weights.
      kernel: height and width of the convolution, which keeps the size; it does not matter for flat features.
      batch_norm: whether batch normalisation follows; without it the convolution has a bias.

    Returns:
      A layer that gives, for each pair, the prediction and the teacher's features, both of one shape.

    Raises:
      ShapeError: the taps of a pair differ in rank, or are of another kind.
      RecipeError: the kernel is not a whole number of at least 1.

    References:
      Romero et al., FitNets: Hints for Thin Deep Nets, 2015 (arXiv:1412.6550), section 2.2.
    """
    check_positive(_NAME, kernel=kernel)
    check_pairs(_NAME, student_shapes, teacher_shapes, ranks=(FEATURE_MAP, FLAT))
    adapter = _Regressor(seed=seed, kernel=kernel, normalised=batch_norm)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Regressor(Adapter):
    def __init__(self, *, seed: int, kernel: int, normalised: bool) -> None:
        super().__init__(_NAME)
        self._seed = seed
        self._kernel = kernel
        self._normalised = normalised

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self.regressors = []
        for index, (ours, theirs) in enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1):
            name = f"pair{index}"
            regressor = [
                _layers.channel_map(
                    len(ours),
                    theirs[-1],
                    kernel=self._kernel,
                    use_bias=not self._normalised,
                    initializer=GlorotUniform(seed=_layers.layer_seed(self._seed, f"{_NAME}.{name}")),
                    name=name,
                )
            ]
            if self._normalised:
                regressor.append(_layers.batch_norm(name=f"{name}_bn"))
            _layers.build_chain(regressor, ours)
            self.regressors.append(regressor)

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:
        adapted = []
        for regressor, student, teacher in zip(self.regressors, students, teachers, strict=True):
            ours, theirs = to_smaller_size(student, teacher) if len(student.shape) == 4 else (student, teacher)
            adapted.append(Adapted(_layers.chained(regressor, ours, training=training), theirs, {}))
        return tuple(adapted)
