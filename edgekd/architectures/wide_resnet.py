"""Wide residual networks (pre-activation): strong teachers for small images."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers
from edgekd.errors import ModelError

TAPS = ("stage1", "stage2", "stage3")
INPUT_SHAPE = (32, 32, 3)
NUM_CLASSES = 10

_NAME = "wide_resnet"


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    depth: int = 16,
    widen: int = 4,
    stem_stride: int = 1,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns WRN-`depth`-`widen`: a 16-filter stem and three stages of 16, 32 and 64 times `widen` filters.

    A block is batch norm, ReLU, conv 3x3, batch norm, ReLU, dropout, conv 3x3, plus the shortcut; a 1x1 convolution
    of the activated input is the shortcut where the shape changes.

    Trainable parameters at 32x32x3 and 10 classes: WRN-16-4 2,748,890 (published 2.7 M), WRN-40-2 2,243,546 (2.2 M),
    WRN-40-4 8,949,210 (8.9 M), WRN-28-10 36,479,194 (36.5 M).

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      depth: 6·n + 4 with n blocks in each stage: 10, 16, 22, 28, 40...
      widen: factor on the filters of a thin ResNet.
      stem_stride: 1, or 2 to compute everything after the stem at half the size (a quarter of the arithmetic).
      dropout: dropout rate between the two convolutions of a block.

    Returns:
      [batch, num_classes] logits. Taps `stage1`..`stage3` are each stage's output after the batch norm and ReLU that
      follow it.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      Zagoruyko and Komodakis, Wide Residual Networks, 2016 (arXiv:1605.07146).
    """
    depth = _arguments.integer(_NAME, "depth", depth, minimum=10)
    if (depth - 4) % 6:
        raise ModelError(f"architecture {_NAME!r}: depth must be 6·n + 4 (10, 16, 22, 28, 40...), received {depth}.")
    widen = _arguments.integer(_NAME, "widen", widen)
    stem_stride = _arguments.choice(_NAME, "stem_stride", stem_stride, (1, 2))
    dropout = _arguments.dropout_rate(_NAME, "dropout", dropout)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=2 * stem_stride + 1)

    inputs = keras.Input(shape, name="image")
    x = _layers.conv(inputs, 16, 3, strides=stem_stride, name="stem")
    activation_name = "stem"  # the ReLU that opens a block closes what came before it
    for stage in (1, 2, 3):
        for block in range(1, (depth - 4) // 6 + 1):
            name = f"stage{stage}_block{block}"
            x = _block(
                x,
                16 * widen * 2 ** (stage - 1),
                strides=2 if stage > 1 and block == 1 else 1,
                dropout=dropout,
                name=name,
                activation_name=activation_name,
            )
            activation_name = name
        activation_name = f"stage{stage}"
    x = _activation(x, activation_name)
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes), name=_NAME)


def _block(
    x: keras.KerasTensor, filters: int, *, strides: int, dropout: float, name: str, activation_name: str
) -> keras.KerasTensor:
    activated = _activation(x, activation_name)
    y = _layers.conv(activated, filters, 3, strides=strides, name=f"{name}_a")
    y = _activation(y, f"{name}_a")
    y = _layers.dropout(y, dropout, name=f"{name}_dropout")
    y = _layers.conv(y, filters, 3, name=f"{name}_b")
    if strides > 1 or x.shape[-1] != filters:
        x = _layers.conv(activated, filters, 1, strides=strides, name=f"{name}_shortcut")
    return layers.Add(name=f"{name}_add")([x, y])


def _activation(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(name=name)(_layers.batch_norm(x, name=name))
