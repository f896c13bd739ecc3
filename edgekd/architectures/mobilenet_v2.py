"""MobileNet V2: inverted residuals with linear bottlenecks and a width multiplier."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("block2_expand", "block4_expand", "block7_expand", "block14_expand", "head")
INPUT_SHAPE = (224, 224, 3)
NUM_CLASSES = 1000

_NAME = "mobilenet_v2"

# (expansion, filters at alpha 1, blocks, stride of the first block): table 2 of the paper.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    alpha: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.2,
) -> keras.Model:
    """Returns MobileNet V2 of width `alpha`, with ReLU6.

    At 224x224x3, alpha 1 and 1000 classes: 300.8 M MACs, 3,504,872 trainable parameters (published: 300 M, 3.4-3.5 M).

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      alpha: width multiplier in (0, 2]; filters are rounded to a multiple of 8, never below 90 % of alpha · filters;
        the last convolution keeps 1280 filters for alpha below 1.
      stem_stride: the first convolution's stride. The whole network shrinks its input by 16·stem_stride, so 1 suits
        images of 28 or 32 pixels (the last maps are then 2x2), 2 suits 96 and more.
      dropout: dropout rate before the logits.

    Returns:
      [batch, num_classes] logits. A bottleneck's own output is linear, so the taps for a resolution are the ReLU6
      after the expansion that opens the next resolution's first block, and `head` for the last.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018 (arXiv:1801.04381).
    """
    alpha = _arguments.positive(_NAME, "alpha", alpha, maximum=2.0)
    stem_stride = _arguments.choice(_NAME, "stem_stride", stem_stride, (1, 2))
    dropout = _arguments.dropout_rate(_NAME, "dropout", dropout)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=8 * stem_stride + 1)

    inputs = keras.Input(shape, name="image")
    x = _layers.conv_bn(inputs, _round_filters(32 * alpha), 3, strides=stem_stride, name="stem")
    x = layers.ReLU(6.0, name="stem")(x)
    block = 0
    for expansion, filters, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            block += 1
            strides = first_stride if repeat == 0 else 1
            x = _block(x, expansion, _round_filters(filters * alpha), strides=strides, name=f"block{block}")
    x = _layers.conv_bn(x, max(1280, _round_filters(1280 * alpha)), 1, name="head")
    x = layers.ReLU(6.0, name="head")(x)
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes, dropout_rate=dropout), name=_NAME)


def _block(x: keras.KerasTensor, expansion: int, filters: int, *, strides: int, name: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    y = x
    if expansion > 1:
        y = _layers.conv_bn(y, expansion * channels, 1, name=f"{name}_expand")
        y = layers.ReLU(6.0, name=f"{name}_expand")(y)
    y = _layers.depthwise_bn(y, 3, strides=strides, name=f"{name}_depthwise")
    y = layers.ReLU(6.0, name=f"{name}_depthwise")(y)
    y = _layers.conv_bn(y, filters, 1, name=f"{name}_project")
    if strides == 1 and channels == filters:
        return layers.Add(name=f"{name}_add")([x, y])
    return y


def _round_filters(filters: float) -> int:
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8
