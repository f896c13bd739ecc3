"""Model files of every kind that runners open, made once."""

import numpy as np
import pytest

EXPORTS = {
    "static.tflite": {"batch": 1},
    "batch_of_5.tflite": {"batch": 5},
    "varying.tflite": {"batch": None},
    "int8.tflite": {"scheme": "int8", "batch": None},
    "int8_inputs.tflite": {"scheme": "int8", "batch": 5, "input_dtype": "int8", "output_dtype": "uint8"},
    "static.onnx": {"batch": 1},
    "varying.onnx": {"batch": None},
    "int8_inputs.onnx": {"scheme": "int8", "batch": None, "input_dtype": "uint8", "output_dtype": "int8"},
}


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((13, 6, 6, 3), dtype=np.float32)


@pytest.fixture(scope="session")
def network():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    return keras.Model(image, layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x)))


@pytest.fixture(scope="session")
def files(network, images, tmp_path_factory):
    """Returns the folder with the files that EXPORTS lists, and `network.keras`."""
    from edgekd.architectures import save_model
    from edgekd.export import export_model

    folder = tmp_path_factory.mktemp("files")
    save_model(network, folder / "network.keras")
    for name, options in EXPORTS.items():
        arguments = {"scheme": "float32", "calibration": images, **options}
        export_model(network, folder / name, format=name.rpartition(".")[2], name=name, source="network", **arguments)
    return folder
