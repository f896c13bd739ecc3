"""MobileNet V1: thirteen depthwise-separable blocks with a width multiplier."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("block1", "block3", "block5", "block11", "block13")
INPUT_SHAPE = (96, 96, 3)
NUM_CLASSES = 2

_NAME = "mobilenet_v1"

# (filters at alpha 1, stride) of each block: table 1 of the paper.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    alpha: float = 0.25,
    stem_stride: int = 2,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns MobileNet V1 of width `alpha`, with ReLU as in MLPerf Tiny's visual wake words network.

    At 96x96x3, alpha 0.25 and 2 classes: 7.490 M MACs, 210.9 k parameters with batch norm folded. At 224x224x3,
    alpha 1 and 1000 classes: 569 M MACs, 4.2 M parameters (the paper's numbers).

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      alpha: width multiplier in (0, 2]; every layer has int(alpha · filters) filters.
      stem_stride: the first convolution's stride. The whole network shrinks its input by 16·stem_stride, so 1 suits
        images of 28 or 32 pixels (the last maps are then 2x2), 2 suits 96 and more.
      dropout: dropout rate before the logits.

    Returns:
      [batch, num_classes] logits. Taps are the last block of each resolution; `block1`..`block13` all exist.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      Howard et al., MobileNets, 2017 (arXiv:1704.04861).
      Banbury et al., MLPerf Tiny Benchmark, 2021 (arXiv:2106.07597).
    """
    alpha = _arguments.positive(_NAME, "alpha", alpha, maximum=2.0)
    stem_stride = _arguments.choice(_NAME, "stem_stride", stem_stride, (1, 2))
    dropout = _arguments.dropout_rate(_NAME, "dropout", dropout)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=8 * stem_stride + 1)
    stem_filters = _arguments.integer(_NAME, "int(alpha · 32)", int(32 * alpha))

    inputs = keras.Input(shape, name="image")
    x = _layers.conv_bn(inputs, stem_filters, 3, strides=stem_stride, name="stem")
    x = layers.ReLU(name="stem")(x)
    for block, (filters, strides) in enumerate(_BLOCKS, start=1):
        x = _layers.depthwise_bn(x, 3, strides=strides, name=f"block{block}_depthwise")
        x = layers.ReLU(name=f"block{block}_depthwise")(x)
        x = _layers.conv_bn(x, int(filters * alpha), 1, name=f"block{block}_pointwise")
        x = layers.ReLU(name=f"block{block}")(x)
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes, dropout_rate=dropout), name=_NAME)
