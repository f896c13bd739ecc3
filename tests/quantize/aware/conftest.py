"""Networks and samples for quantisation-aware training."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from edgekd.quantize import aware


@pytest.fixture(scope="session")
def samples() -> np.ndarray:
    return np.random.default_rng(0).random((128, 12, 12, 2), np.float32)


@pytest.fixture
def fake_quantised(samples: np.ndarray) -> Callable[..., keras.Model]:
    """Makes the int8 network of a float one, calibrated on the samples."""

    def make(model: keras.Model, **settings) -> keras.Model:
        return aware.quantize_aware(model, samples, **settings)

    return make


@pytest.fixture
def network() -> keras.Model:
    """Two convolutions with batch normalisation, a residual sum, and a dense layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 2), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="first_conv")(inputs)
    x = shortcut = keras.layers.ReLU(name="first")(keras.layers.BatchNormalization(name="first_bn")(x))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="second_conv")(x)
    x = keras.layers.Add(name="sum")([shortcut, keras.layers.BatchNormalization(name="second_bn")(x)])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.ReLU(name="second")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x), name="small")
    give_statistics(model)
    return model


def give_statistics(model: keras.Model) -> None:
    """Gives batch normalisations what training would: none is the identity, some factors are negative."""
    generator = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    generator.uniform(-0.5, 1.5, shape),
                    generator.normal(0, 0.2, shape),
                    generator.normal(0, 0.1, shape),
                    generator.uniform(0.5, 2.0, shape),
                ]
            )


@pytest.fixture(scope="session")
def statistics() -> Callable[[keras.Model], None]:
    """`give_statistics`, for test modules with networks of their own."""
    return give_statistics
