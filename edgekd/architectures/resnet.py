"""Residual networks for small images: ResNet-8 of MLPerf Tiny, and ResNet-20/32/56/110."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("stage1", "stage2", "stage3")
INPUT_SHAPE = (32, 32, 3)
NUM_CLASSES = 10

_NAME = "resnet"


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    width: int = 16,
    blocks: int = 1,
    stem_stride: int = 1,
    shortcut: str = "projection",
) -> keras.Model:
    """Returns a residual network: a 3x3 stem, three stages of `width`, 2·`width` and 4·`width` filters, dense logits.

    A block is conv 3x3, batch norm, ReLU, conv 3x3, batch norm, plus the shortcut, ReLU. The second and third stage
    begin with stride 2. Its depth is 6·blocks + 2.

    At 32x32x3 and 10 classes, trainable parameters (batch norm's two per channel included) and MACs:

      | network    | blocks | projection | pad       | MACs (projection) | published |
      |------------|--------|------------|-----------|-------------------|-----------|
      | ResNet-8   | 1      | 78,042     | 75,290    | 12.50 M           | 77.7 k with batch norm folded, 12.50 M MACs |
      | ResNet-20  | 3      | 272,474    | 269,722   | 40.8 M            | 0.27 M (pad) |
      | ResNet-32  | 5      | 466,906    | 464,154   | 69.1 M            | 0.46 M (pad) |
      | ResNet-56  | 9      | 855,770    | 853,018   | 125.7 M           | 0.85 M (pad) |
      | ResNet-110 | 18     | 1,730,714  | 1,727,962 | 253.1 M           | 1.7 M (pad) |

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      width: filters of the stem and the first stage.
      blocks: residual blocks in each stage.
      stem_stride: 1, or 2 to compute everything after the stem at half the size (a quarter of the arithmetic).
      shortcut: where a block changes the shape: "projection" is a 1x1 convolution with batch norm (He et al.'s
        option B, and what MLPerf Tiny does), "pad" takes every second pixel and pads the channels with zeros
        (option A, without parameters).

    Returns:
      [batch, num_classes] logits. Taps `stage1`..`stage3` are the last ReLU of each stage.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      He et al., Deep Residual Learning for Image Recognition, 2015 (arXiv:1512.03385), section 4.2.
      Banbury et al., MLPerf Tiny Benchmark, 2021 (arXiv:2106.07597).
    """
    width = _arguments.integer(_NAME, "width", width)
    blocks = _arguments.integer(_NAME, "blocks", blocks)
    stem_stride = _arguments.choice(_NAME, "stem_stride", stem_stride, (1, 2))
    shortcut = _arguments.choice(_NAME, "shortcut", shortcut, ("projection", "pad"))
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=2 * stem_stride + 1)

    inputs = keras.Input(shape, name="image")
    x = _layers.conv_bn(inputs, width, 3, strides=stem_stride, name="stem")
    x = layers.ReLU(name="stem")(x)
    for stage in (1, 2, 3):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            x = _block(
                x,
                width * 2 ** (stage - 1),
                strides=2 if stage > 1 and block == 1 else 1,
                shortcut=shortcut,
                name=name,
                output_name=f"stage{stage}" if block == blocks else name,
            )
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes), name=_NAME)


def _block(
    x: keras.KerasTensor, filters: int, *, strides: int, shortcut: str, name: str, output_name: str
) -> keras.KerasTensor:
    y = _layers.conv_bn(x, filters, 3, strides=strides, name=f"{name}_a")
    y = layers.ReLU(name=f"{name}_a")(y)
    y = _layers.conv_bn(y, filters, 3, name=f"{name}_b")
    if strides > 1 or x.shape[-1] != filters:
        if shortcut == "projection":
            x = _layers.conv_bn(x, filters, 1, strides=strides, name=f"{name}_shortcut")
        else:
            x = _pad_shortcut(x, filters, strides=strides, name=f"{name}_shortcut")
    return layers.ReLU(name=output_name)(layers.Add(name=f"{name}_add")([x, y]))


def _pad_shortcut(x: keras.KerasTensor, filters: int, *, strides: int, name: str) -> keras.KerasTensor:
    extra = filters - x.shape[-1]
    x = layers.MaxPooling2D(1, strides=strides, padding="same", name=f"{name}_subsample")(x)
    # ZeroPadding2D pads axes 2 and 3 when told "channels_first"; axis 3 of our layout is the channels.
    padding = ((0, 0), (extra // 2, extra - extra // 2))
    return layers.ZeroPadding2D(padding, data_format="channels_first", name=f"{name}_pad")(x)
