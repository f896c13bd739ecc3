"""The few layer sequences that several network families share."""

import keras
from keras import layers

_INITIALIZER = "he_normal"  # He et al., Delving Deep into Rectifiers, 2015 (arXiv:1502.01852)


# Keras' own 0.99 takes hundreds of steps to forget the initial statistics: too many for short trainings on small data.
_MOMENTUM = 0.9


def batch_norm(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Returns a batch normalisation whose moving statistics follow within tens of steps: layer `<name>_bn`."""
    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)


def conv_bn(
    x: keras.KerasTensor, filters: int, kernel: int | tuple[int, int], *, name: str, strides: int = 1
) -> keras.KerasTensor:
    """Returns a convolution without bias, then batch normalisation: layers `<name>_conv` and `<name>_bn`."""
    x = conv(x, filters, kernel, name=name, strides=strides)
    return batch_norm(x, name=name)


def conv(
    x: keras.KerasTensor, filters: int, kernel: int | tuple[int, int], *, name: str, strides: int = 1
) -> keras.KerasTensor:
    """Returns a convolution without bias, padded to keep the size: layer `<name>_conv`."""
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_INITIALIZER,
        name=f"{name}_conv",
    )(x)


def depthwise_bn(x: keras.KerasTensor, kernel: int, *, name: str, strides: int = 1) -> keras.KerasTensor:
    """Returns a depthwise convolution without bias, then batch normalisation: `<name>_conv` and `<name>_bn`."""
    x = layers.DepthwiseConv2D(
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_INITIALIZER,
        name=f"{name}_conv",
    )(x)
    return batch_norm(x, name=name)


def dropout(x: keras.KerasTensor, rate: float, *, name: str) -> keras.KerasTensor:
    """Returns `x` with dropout, or `x` itself where the rate is zero."""
    return layers.Dropout(rate, name=name)(x) if rate > 0 else x


def pooled_logits(x: keras.KerasTensor, num_classes: int, *, dropout_rate: float = 0.0) -> keras.KerasTensor:
    """Returns global average pooling, dropout, and the dense layer `logits`."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(num_classes, name="logits")(dropout(x, dropout_rate, name="dropout"))
