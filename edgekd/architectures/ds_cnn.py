"""Depthwise-separable CNN for keyword spotting, as in MLPerf Tiny."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("block1", "block2", "block3", "block4")
INPUT_SHAPE = (49, 10, 1)
NUM_CLASSES = 12

_NAME = "ds_cnn"


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    filters: int = 64,
    blocks: int = 4,
    kernel: tuple[int, int] = (10, 4),
    stem_stride: int = 2,
    stem_dropout: float = 0.2,
    dropout: float = 0.4,
) -> keras.Model:
    """Returns a convolution and `blocks` depthwise-separable blocks at one resolution, pooled into dense logits.

    At 49x10x1 and 12 classes: 2.657 M MACs, 22,604 parameters with batch norm folded.

    Args:
      input_shape: (time, frequency, channels) of a spectrogram, or (height, width, channels) of an image.
      num_classes: number of logits.
      filters: filters of every layer.
      blocks: blocks of depthwise 3x3 and pointwise 1x1, each followed by batch norm and ReLU.
      kernel: the first convolution's size; (3, 3) suits images better than the default.
      stem_stride: 1 or 2, the first convolution's stride.
      stem_dropout: dropout rate after the first convolution.
      dropout: dropout rate before the logits.

    Returns:
      [batch, num_classes] logits. Taps `block1`..`block<blocks>` are the last ReLU of each block; `stem` exists too.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      Zhang et al., Hello Edge: Keyword Spotting on Microcontrollers, 2017 (arXiv:1711.07128).
      Banbury et al., MLPerf Tiny Benchmark, 2021 (arXiv:2106.07597).
    """
    filters = _arguments.integer(_NAME, "filters", filters)
    blocks = _arguments.integer(_NAME, "blocks", blocks)
    height, width = _arguments.integers(_NAME, "kernel", kernel, length=2)
    stem_stride = _arguments.choice(_NAME, "stem_stride", stem_stride, (1, 2))
    stem_dropout = _arguments.dropout_rate(_NAME, "stem_dropout", stem_dropout)
    dropout = _arguments.dropout_rate(_NAME, "dropout", dropout)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=stem_stride)

    inputs = keras.Input(shape, name="image")
    x = _layers.conv_bn(inputs, filters, (height, width), strides=stem_stride, name="stem")
    x = layers.ReLU(name="stem")(x)
    x = _layers.dropout(x, stem_dropout, name="stem_dropout")
    for block in range(1, blocks + 1):
        x = _layers.depthwise_bn(x, 3, name=f"block{block}_depthwise")
        x = layers.ReLU(name=f"block{block}_depthwise")(x)
        x = _layers.conv_bn(x, filters, 1, name=f"block{block}_pointwise")
        x = layers.ReLU(name=f"block{block}")(x)
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes, dropout_rate=dropout), name=_NAME)
