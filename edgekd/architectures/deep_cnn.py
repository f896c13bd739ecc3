"""The PyTorch distillation tutorial's teacher: four convolutions, two pools, a hidden dense layer."""

from collections.abc import Sequence

import keras

from edgekd.architectures import _tutorial

TAPS = ("pool1", "pool2")
INPUT_SHAPE = (32, 32, 3)
NUM_CLASSES = 10


def build(input_shape: Sequence[int], num_classes: int, *, dropout: float = 0.1) -> keras.Model:
    """Returns conv 128, conv 64, max pool, conv 64, conv 32, max pool, dense 512, dropout, dense logits.

    All convolutions are 3x3 with bias, keep the size, and are followed by ReLU. At 32x32x3 and 10 classes: 1,186,986
    parameters, as published.

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      dropout: dropout rate before the logits.

    Returns:
      [batch, num_classes] logits. Taps `pool1` and `pool2` are the rectified maps after each max pool; `flatten`
      (the hidden state that the tutorial's cosine loss compares) and `hidden` (after the dense layer's ReLU) exist too.

    Raises:
      ShapeError: the input is not an image or too small.
      ModelError: an argument is out of its range.

    References:
      Chariton, Knowledge Distillation Tutorial, PyTorch tutorials, 2023.
    """
    return _tutorial.build(
        "deep_cnn", input_shape, num_classes, filters=((128, 64), (64, 32)), hidden=512, dropout=dropout
    )
