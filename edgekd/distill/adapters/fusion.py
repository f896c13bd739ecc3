"""Fusion: what the student's later stages know is reviewed in its earlier ones, as in ReviewKD."""

from itertools import pairwise

import keras
import numpy as np
from keras import layers, ops
from keras.initializers import GlorotUniform, LecunUniform

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FEATURE_MAP, check_pairs, check_positive
from edgekd.distill.adapters._pooling import averaged
from edgekd.errors import ShapeError

_NAME = "fusion"


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int, mid_channels: int = 64) -> keras.layers.Layer:
    """Returns an adapter that fuses the student's maps from the deepest to the earliest (attention-based fusion).

    At each pair, from the last to the first: the student's map goes through a 1×1 convolution to `mid_channels` and
    batch normalisation; a 1×1 convolution with sigmoid over it and the residual gives two attention maps, by which the
    two are weighted and added (the deepest has no residual); the sum, at the teacher's height and width, is the
    residual of the next pair, and goes through a 3×3 convolution to the teacher's channels and batch normalisation.

    What is too small is enlarged by repetition (nearest neighbour); what is too large is averaged, where the authors'
    code would take every n-th value.

    Args:
      student_shapes: [height, width, channels] per pair of taps, from early to deep.
      teacher_shapes: likewise.
      seed: of the initial weights.
      mid_channels: channels in which maps are fused.

    Returns:
      A layer that gives, for each pair, the fused map in the teacher's shape, and the teacher's map as it is.

    Raises:
      ShapeError: there are less than two pairs, a tap is not a feature map, or a later one is larger.
      RecipeError: the number of channels is not a whole number of at least 1.

    References:
      Chen et al., Distilling Knowledge via Knowledge Review, 2021 (arXiv:2104.09044), sections 3.2 and 3.3.
    """
    check_positive(_NAME, mid_channels=mid_channels)
    check_pairs(_NAME, student_shapes, teacher_shapes, ranks=(FEATURE_MAP,))
    _check_order(student_shapes, teacher_shapes)
    adapter = _Fusion(seed=seed, mid_channels=mid_channels)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


def _check_order(student_shapes: Shapes, teacher_shapes: Shapes) -> None:
    ours, theirs = ([tuple(shape) for shape in shapes] for shapes in (student_shapes, teacher_shapes))
    received = f"{_NAME}: the student's taps have shapes {ours} and the teacher's {theirs} (without the batch)"
    if len(ours) < 2:
        raise ShapeError(f"{received}; expected at least two pairs of taps, from early to deep: add one.")
    for shapes in (ours, theirs):
        if any(later[axis] > earlier[axis] for earlier, later in pairwise(shapes) for axis in (0, 1)):
            raise ShapeError(
                f"{received}; expected pairs from early to deep, whose height and width do not grow: put them in order."
            )


class _Fusion(Adapter):
    def __init__(self, *, seed: int, mid_channels: int) -> None:
        super().__init__(_NAME)
        self._seed = seed
        self._mid_channels = mid_channels

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self.stages = []
        deepest = len(student_shapes)
        for index, (ours, theirs) in enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1):
            stage = _Stage(
                seed=_layers.layer_seed(self._seed, f"{_NAME}.pair{index}"),
                mid_channels=self._mid_channels,
                channels=theirs[-1],
                fuses=index < deepest,
                name=f"pair{index}",
            )
            stage.build(ours)
            self.stages.append(stage)

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:
        adapted: list[Adapted] = []
        residual = None
        for stage, student, teacher in reversed(list(zip(self.stages, students, teachers, strict=True))):
            fused, residual = stage(student, residual, size=tuple(teacher.shape[1:3]), training=training)
            adapted.insert(0, Adapted(fused, teacher, {}))
        return tuple(adapted)


class _Stage(layers.Layer):
    """One attention-based fusion: (student's map, residual) -> (map in the teacher's shape, next residual)."""

    def __init__(self, *, seed: int, mid_channels: int, channels: int, fuses: bool, name: str) -> None:
        super().__init__(name=name)
        self.entry = [self._convolution("entry", mid_channels, seed), _layers.batch_norm(name="entry_bn")]
        self.attention = (
            layers.Conv2D(
                2,
                1,
                activation="sigmoid",
                kernel_initializer=GlorotUniform(seed=_layers.layer_seed(seed, "attention")),
                name="attention",
            )
            if fuses
            else None
        )
        self.exit = [self._convolution("exit", channels, seed, kernel=3), _layers.batch_norm(name="exit_bn")]
        self._mid_channels = mid_channels

    def _convolution(self, name: str, channels: int, seed: int, *, kernel: int = 1) -> keras.layers.Layer:
        # Uniform with variance 1 / fan-in, as the authors' code.
        initializer = LecunUniform(seed=_layers.layer_seed(seed, name))
        return _layers.channel_map(FEATURE_MAP, channels, kernel=kernel, initializer=initializer, name=name)

    def build(self, shape: tuple[int, ...]) -> None:
        _layers.build_chain(self.entry, shape)
        middle = (*shape[:2], self._mid_channels)
        if self.attention is not None:
            _layers.build_chain([self.attention], (*middle[:2], 2 * self._mid_channels))
        _layers.build_chain(self.exit, middle)

    def call(
        self,
        student: keras.KerasTensor,
        residual: keras.KerasTensor | None,
        size: tuple[int, int],
        training: bool = False,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        own = _layers.chained(self.entry, student, training=training)
        if self.attention is not None:
            residual = _resized(residual, tuple(own.shape[1:3]))
            attention = self.attention(ops.concatenate([own, residual], axis=-1))
            own = own * attention[..., :1] + residual * attention[..., 1:]
        own = _resized(own, size)
        return _layers.chained(self.exit, own, training=training), own


def _resized(features: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    """Returns a map at another height and width: averaged where it is too large, repeated where it is too small."""
    features = averaged(features, tuple(min(pair) for pair in zip(features.shape[1:3], size, strict=True)))
    for axis, wanted in enumerate(size, start=1):
        given = features.shape[axis]
        if wanted % given == 0:
            features = ops.repeat(features, wanted // given, axis=axis) if wanted > given else features
        else:
            # By a product, since the gradient of picking rows adds in no fixed order.
            nearest = np.eye(given)[np.arange(wanted) * given // wanted]
            equation = "ih,bhwc->biwc" if axis == 1 else "jw,bhwc->bhjc"
            features = ops.einsum(equation, ops.convert_to_tensor(nearest, features.dtype), features)
    return features
