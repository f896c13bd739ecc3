"""Variational: the teacher's features as a Gaussian whose mean the student gives, as in VID."""

import math

import keras
from keras import layers, ops
from keras.initializers import Constant, GlorotUniform, HeNormal

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FEATURE_MAP, check_pairs
from edgekd.distill.adapters._pooling import to_smaller_size

SUPPLIES = ("variance",)

_NAME = "variational"
_LEAST_VARIANCE = 1e-5
_INITIAL_VARIANCE = 5.0
# softplus⁻¹ of what the initial variance has above the least one.
_INITIAL_ALPHA = math.log(math.expm1(_INITIAL_VARIANCE - _LEAST_VARIANCE))


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int) -> keras.layers.Layer:
    """Returns an adapter that gives the mean and the variance of the teacher's features given the student's.

    The mean is a function of the student's map: 1×1 convolution, ReLU, 1×1 convolution, ReLU, 1×1 convolution, all to
    the teacher's channels and without bias. The variance σ²_c = softplus(α_c) + 1e-5 is one trained number per channel
    and pair, 5 at first. Where height or width differ, the larger map is averaged to the smaller one's size.

    Args:
      student_shapes: [height, width, channels] per pair of taps.
      teacher_shapes: likewise.
      seed: of the initial weights.

    Returns:
      A layer that gives, for each pair, the mean, the teacher's map, and `variance`, [channels] float32 > 0.

    Raises:
      ShapeError: a tap is not a feature map.

    References:
      Ahn et al., Variational Information Distillation for Knowledge Transfer, 2019 (arXiv:1904.05835), section 3; sizes
      and constants are those of the released code.
    """
    check_pairs(_NAME, student_shapes, teacher_shapes, ranks=(FEATURE_MAP,))
    adapter = _Variational(seed)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Variational(Adapter):
    def __init__(self, seed: int) -> None:
        super().__init__(_NAME)
        self._seed = seed

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self.means = []
        self.alphas = []
        for index, (ours, theirs) in enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1):
            mean = [
                self._convolution(f"pair{index}_hidden1", theirs[-1], HeNormal),
                layers.ReLU(name=f"pair{index}_relu1"),
                self._convolution(f"pair{index}_hidden2", theirs[-1], HeNormal),
                layers.ReLU(name=f"pair{index}_relu2"),
                self._convolution(f"pair{index}_mean", theirs[-1], GlorotUniform),
            ]
            _layers.build_chain(mean, ours)
            self.means.append(mean)
            self.alphas.append(
                self.add_weight(
                    shape=(theirs[-1],),
                    initializer=Constant(_INITIAL_ALPHA),
                    # Half precision would round the variance.
                    autocast=False,
                    name=f"pair{index}_alpha",
                )
            )

    def _convolution(self, name: str, channels: int, initializer: type) -> keras.layers.Layer:
        seeded = initializer(seed=_layers.layer_seed(self._seed, f"{_NAME}.{name}"))
        return _layers.channel_map(FEATURE_MAP, channels, initializer=seeded, name=name)

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:
        adapted = []
        for mean, alpha, student, teacher in zip(self.means, self.alphas, students, teachers, strict=True):
            ours, theirs = to_smaller_size(student, teacher)
            variance = ops.softplus(ops.convert_to_tensor(alpha)) + _LEAST_VARIANCE
            adapted.append(Adapted(_layers.chained(mean, ours, training=training), theirs, {"variance": variance}))
        return tuple(adapted)
