"""The teaching lab's CNN: 3x3 convolutions at full size, global average pooling, dense."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers

TAPS = ("relu1", "relu2")
INPUT_SHAPE = (28, 28, 1)
NUM_CLASSES = 10

_NAME = "lab_cnn"


def build(input_shape: Sequence[int], num_classes: int, *, filters: tuple[int, ...] = (32, 64)) -> keras.Model:
    """Returns one 3x3 convolution with bias and ReLU per entry of `filters`, pooled into dense logits.

    The lab's teacher is the default (19,466 parameters at 28x28x1 and 10 classes), its student is filters=(16,)
    (330 parameters).

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      filters: filters of each convolution; all keep the image's size.

    Returns:
      [batch, num_classes] logits. Taps `relu1`, `relu2`... follow the convolutions; filters=(16,) has only `relu1`.

    Raises:
      ShapeError: the input is not an image.
      ModelError: an argument is out of its range.
    """
    filters = _arguments.integers(_NAME, "filters", filters)
    num_classes = _arguments.class_count(_NAME, num_classes)
    shape = _arguments.image_shape(_NAME, input_shape, smallest=1)

    inputs = keras.Input(shape, name="image")
    x = inputs
    for index, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 3, padding="same", name=f"conv{index}")(x)
        x = layers.ReLU(name=f"relu{index}")(x)
    return keras.Model(inputs, _layers.pooled_logits(x, num_classes), name=_NAME)
