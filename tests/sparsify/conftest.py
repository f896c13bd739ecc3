"""A tiny dataset and network: everything that a training has (normalisation, dropout, taps), in milliseconds."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import data
from edgekd.data.dataset import Dataset


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    return data.load("synthetic", arguments={"samples": 160, "classes": 3, "shape": [8, 8, 1]})


@pytest.fixture
def tiny_network() -> Callable[..., keras.Model]:
    def build(*, seed: int = 0, width: int = 8) -> keras.Model:
        keras.utils.set_random_seed(seed)
        images = keras.Input((8, 8, 1), name="image")
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="conv1")(images)
        x = layers.BatchNormalization(momentum=0.9, name="norm1")(x)
        x = layers.ReLU(name="stage1")(x)
        x = layers.Conv2D(width, 3, strides=2, padding="same", name="conv2")(x)
        x = layers.ReLU(name="stage2")(x)
        x = layers.Flatten(name="flat")(x)
        x = layers.Dropout(0.2, name="dropout")(x)
        return keras.Model(images, layers.Dense(3, name="logits")(x), name="tiny")

    return build


@pytest.fixture
def dense_network() -> Callable[..., keras.Model]:
    """The least network with normalisation and dropout: its training step is quick to trace."""

    def build(*, seed: int = 0) -> keras.Model:
        keras.utils.set_random_seed(seed)
        images = keras.Input((8, 8, 1), name="image")
        x = layers.Dense(8, use_bias=False, name="hidden")(layers.Flatten(name="flat")(images))
        x = layers.ReLU(name="relu")(layers.BatchNormalization(momentum=0.9, name="norm")(x))
        x = layers.Dropout(0.2, name="dropout")(x)
        return keras.Model(images, layers.Dense(3, name="logits")(x), name="dense")

    return build


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
