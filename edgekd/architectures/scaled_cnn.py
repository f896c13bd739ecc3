"""A plain CNN whose whole width follows one scale: the same shape at four times the parameters."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("stage1", "stage2", "stage3")
INPUT_SHAPE = (32, 32, 3)
NUM_CLASSES = 10

_NAME = "scaled_cnn"


def build(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    scale: int = 32,
    dropout: float = 0.2,
    hidden_dropout: float = 0.4,
) -> keras.Model:
    """Returns three stages of two 3x3 convolutions and a max pool, a hidden dense layer, and dense logits.

    The stages have 2, 4 and 8 times `scale` filters, the hidden layer 24 times; each convolution and the hidden layer
    is followed by batch norm and ReLU, each pool by dropout. Every layer grows with the scale, so the parameters grow
    with its square: at 32x32x3 and 10 classes 4.30 M (156 M MACs) at scale 32 and 1.08 M (39 M MACs) at scale 16. The
    hidden layer holds three quarters of the parameters and 2 % of the arithmetic, which makes scale 32 a teacher that
    is quick to train for its size.

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      scale: factor on the width of every layer.
      dropout: dropout rate after each max pool.
      hidden_dropout: dropout rate after the hidden layer.

    Returns:
      [batch, num_classes] logits. Taps `stage1`..`stage3` are the last ReLU of each stage, before its pool; `hidden`
      exists too.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.
    """
    scale = _arguments.integer(_NAME, "scale", scale)
    dropout = _arguments.dropout_rate(_NAME, "dropout", dropout)
    hidden_dropout = _arguments.dropout_rate(_NAME, "hidden_dropout", hidden_dropout)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=8)

    inputs = keras.Input(shape, name="image")
    x = inputs
    for stage in (1, 2, 3):
        filters = scale * 2**stage
        x = _layers.conv_bn(x, filters, 3, name=f"stage{stage}_a")
        x = layers.ReLU(name=f"stage{stage}_a")(x)
        x = _layers.conv_bn(x, filters, 3, name=f"stage{stage}_b")
        x = layers.ReLU(name=f"stage{stage}")(x)
        x = layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
        x = _layers.dropout(x, dropout, name=f"stage{stage}_dropout")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(24 * scale, use_bias=False, kernel_initializer="he_normal", name="hidden_dense")(x)
    x = layers.ReLU(name="hidden")(_layers.batch_norm(x, name="hidden"))
    x = _layers.dropout(x, hidden_dropout, name="hidden_dropout")
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=_NAME)
