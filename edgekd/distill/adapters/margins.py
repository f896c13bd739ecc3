"""Margins: the student in the teacher's channels, and how far below zero the teacher goes, as in OFD."""

import keras
import tensorflow as tf
from keras import ops
from keras.initializers import VarianceScaling

from edgekd.distill.adapters import _layers
from edgekd.distill.adapters._adapted import Adapted, Adapter, Shapes, Tensors
from edgekd.distill.adapters._checks import FEATURE_MAP, check_pairs
from edgekd.distill.adapters._pooling import to_smaller_size
from edgekd.losses._precision import widened

SUPPLIES = ("margin",)

_NAME = "margins"
_MOMENTUM = 0.9


def build(student_shapes: Shapes, teacher_shapes: Shapes, *, seed: int) -> keras.layers.Layer:
    """Returns an adapter that gives the student's map in the teacher's channels, and a margin for each of these.

    The student's map goes through a 1×1 convolution without bias and batch normalisation. The margin is the mean of the
    teacher's negative responses in the channel, E[F | F < 0], as a running mean over training batches with momentum
    0.9; the first batch in which the channel is negative anywhere sets it, and one in which it is not leaves it as it
    is. A channel that was never negative has margin 0. (The authors' code derives the same expectation from the
    parameters of the teacher's last batch normalisation, which not every tap has.) Where height or width differ, the
    larger map is averaged to the smaller one's size, and the margins are those of the maps that are compared.

    Tap both networks before the ReLU, such as `stage3:input` where `stage3` is the activation.

    Args:
      student_shapes: [height, width, channels] per pair of taps.
      teacher_shapes: likewise.
      seed: of the initial weights.

    Returns:
      A layer that gives, for each pair, two maps of one shape, and `margin`, [channels] float32 ≤ 0.

    Raises:
      ShapeError: a tap is not a feature map.

    References:
      Heo et al., A Comprehensive Overhaul of Feature Distillation, 2019 (arXiv:1904.01866), sections 3.1 and 3.2.
    """
    check_pairs(_NAME, student_shapes, teacher_shapes, ranks=(FEATURE_MAP,))
    adapter = _Margins(seed)
    adapter.build(student_shapes, teacher_shapes)
    return adapter


class _Margins(Adapter):
    def __init__(self, seed: int) -> None:
        super().__init__(_NAME)
        self._seed = seed

    def build(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        self.connectors = []
        self.margins = []
        for index, (ours, theirs) in enumerate(zip(student_shapes, teacher_shapes, strict=True), start=1):
            name = f"pair{index}"
            # The authors' initialisation: normal with variance 2 / (the kernel's area · outgoing channels).
            initializer = VarianceScaling(
                2.0,
                mode="fan_out",
                distribution="untruncated_normal",
                seed=_layers.layer_seed(self._seed, f"{_NAME}.{name}"),
            )
            connector = [
                _layers.channel_map(FEATURE_MAP, theirs[-1], initializer=initializer, name=name),
                _layers.batch_norm(name=f"{name}_bn"),
            ]
            _layers.build_chain(connector, ours)
            self.connectors.append(connector)
            self.margins.append(
                self.add_weight(
                    shape=(theirs[-1],),
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                    aggregation="mean",
                    name=f"{name}_margin",
                )
            )

    def call(self, students: Tensors, teachers: Tensors, training: bool = False) -> tuple[Adapted, ...]:
        adapted = []
        for connector, running, student, teacher in zip(self.connectors, self.margins, students, teachers, strict=True):
            ours, theirs = to_smaller_size(student, teacher)
            margin = ops.convert_to_tensor(running)
            if training:
                margin = _moved(margin, ops.stop_gradient(theirs))
                running.assign(margin)
            adapted.append(Adapted(_layers.chained(connector, ours, training=training), theirs, {"margin": margin}))
        return tuple(adapted)


def _moved(margin: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    (wide,) = widened(teacher)
    total = ops.sum(ops.minimum(wide, 0.0), axis=(0, 1, 2))
    count = ops.sum(ops.cast(wide < 0, wide.dtype), axis=(0, 1, 2))
    replicas = tf.distribute.get_replica_context()
    if replicas is not None and replicas.num_replicas_in_sync > 1:
        # Any number of replicas has the margins of the global batch.
        total, count = replicas.all_reduce(tf.distribute.ReduceOp.SUM, [total, count])
    mean = ops.cast(total / ops.maximum(count, 1.0), margin.dtype)
    # A running mean of zero has seen nothing negative yet.
    moved = ops.where(margin < 0, _MOMENTUM * margin + (1.0 - _MOMENTUM) * mean, mean)
    return ops.where(count > 0, moved, margin)
