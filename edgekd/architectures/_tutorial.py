"""The body that the PyTorch distillation tutorial's two networks share."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.architectures import _arguments, _layers


def build(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    filters: Sequence[Sequence[int]],
    hidden: int,
    dropout: float,
) -> keras.Model:
    """Returns groups of 3x3 convolutions with ReLU, a max pool after each group, dense, dropout, dense logits.

    Args:
      name: the family's.
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      filters: filters of each convolution, group by group.
      hidden: units of the dense layer.
      dropout: dropout rate before the logits.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.
    """
    dropout = _arguments.dropout_rate(name, "dropout", dropout)
    num_classes = _arguments.class_count(name, num_classes)
    shape = _arguments.image_shape(name, input_shape, smallest=2 ** len(filters))

    inputs = keras.Input(shape, name="image")
    x = inputs
    layer = 0
    for group, counts in enumerate(filters, start=1):
        for count in counts:
            layer += 1
            x = layers.Conv2D(count, 3, padding="same", name=f"conv{layer}")(x)
            x = layers.ReLU(name=f"relu{layer}")(x)
        x = layers.MaxPooling2D(name=f"pool{group}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden, name="hidden_dense")(x)
    x = layers.ReLU(name="hidden")(x)
    x = _layers.dropout(x, dropout, name="dropout")
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name=name)
