"""Small networks with one layer that somebody cannot carry."""

import pytest


def network_with(middle, shape=(8, 8, 3)):
    """Returns a network with what `middle` makes of a feature map in its middle."""
    import keras
    from keras import layers

    image = keras.Input(shape, name="image")
    x = middle(layers.Conv2D(4, 3, padding="same", name="stem")(image))
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="classes")(x), name="small")


@pytest.fixture(scope="session")
def build():
    return network_with
