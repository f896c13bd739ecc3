"""A small network that has every kind of layer the architectures use."""

import numpy as np
import pytest


def build(*, seed=0, filters=16):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(name="stem_bn")(x)
    shortcut = layers.ReLU(name="stem_relu")(x)
    x = layers.Conv2D(filters, 3, padding="same", name="block_conv")(shortcut)
    x = layers.DepthwiseConv2D(3, padding="same", name="block_depthwise")(x)
    x = layers.Add(name="block_add")([x, shortcut])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x))


@pytest.fixture(scope="session")
def build_model():
    return build


@pytest.fixture(scope="session")
def model():
    return build()


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((12, 8, 8, 3), dtype=np.float32)
