"""Two small networks, whose arithmetic and memory are counted by hand below, in every format."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with network.keras, and the residual network and one of further convolutions as TFLite and ONNX."""
    import keras
    from keras import layers

    from edgekd import architectures
    from edgekd.export import Origin, export_model

    folder = tmp_path_factory.mktemp("inspected")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.Conv2D(16, 3, padding="same", name="conv")(stem)
    x = layers.Add(name="add")([layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), stem])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    network = keras.Model(image, layers.Dense(5, name="logits")(x))
    rng = np.random.default_rng(0)
    for layer in network.layers:  # constants of zeros would be stored once
        if layer.weights:
            layer.bias.assign(rng.standard_normal(layer.bias.shape))
    architectures.save_model(network, folder / "network.keras")

    small = keras.Input((5, 5, 2), name="image")
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", name="transposed")(small)
    x = layers.Conv2D(8, 3, padding="same", groups=2, name="grouped")(x)
    further = keras.Model(small, layers.Dense(3, name="dense")(layers.Reshape((100, 8), name="reshape")(x)))

    samples = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)
    origin = Origin(recipe_sha256="ab" * 32, data_fingerprint="cd" * 32, seed=3, validation_accuracy=0.875)
    for suffix in ("tflite", "onnx"):
        common = {"format": suffix, "name": "m", "source": "student_distilled", "origin": origin}
        export_model(network, folder / f"float32.{suffix}", scheme="float32", batch=None, **common)
        export_model(
            network, folder / f"int8.{suffix}", scheme="int8", calibration=samples, input_dtype="int8", **common
        )
        export_model(further, folder / f"further.{suffix}", scheme="float32", **common)
    return folder
