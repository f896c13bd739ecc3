"""Small teachers of every kind, each written by its own library."""

import warnings

import numpy as np
import pytest

SHAPE = (6, 6, 2)
CLASSES = 3


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).random((7, *SHAPE), dtype=np.float32)


def build(library, *, activation=None, scaled=False, name="network"):
    """The same network in Keras 3 and tf_keras: its batch statistics and dropout show whether it is in training."""
    layers = library.layers
    image = library.Input(SHAPE, name="image")
    x = image / 0.5 if scaled else image
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    model = library.Model(image, layers.Dense(CLASSES, activation=activation, name="logits")(x), name=name)
    generator = np.random.default_rng(2)
    model.set_weights([generator.uniform(0.1, 1.0, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def build_network():
    """Returns the function that builds the common network with a library."""
    return build


@pytest.fixture
def network():
    import keras

    return build(keras)


@pytest.fixture(scope="session")
def legacy():
    """A tf_keras network with a division, which Keras 3 cannot read from an `.h5` file."""
    import tf_keras

    return build(tf_keras, scaled=True)


@pytest.fixture(scope="session")
def reference(images):
    """Logits and the map after ReLU of the common network, computed by Keras 3 outside edgekd."""
    import keras

    model = build(keras)
    both = keras.Model(model.input, [model.output, model.get_layer("relu").output])
    return [np.asarray(array) for array in both(images, training=False)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory, legacy, images):
    """A folder with the common network in every form; `legacy.h5` holds the one with the division."""
    import keras
    import tensorflow as tf

    from edgekd.export import export_model

    model = build(keras)
    place = tmp_path_factory.mktemp("teachers")
    model.save(place / "network.keras")
    model.save(place / "network.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # tf_keras calls HDF5 a legacy format, which it is
        legacy.save(place / "legacy.h5")
    model.export(place / "exported", verbose=False)
    two = keras.Model(model.input, [model.output, model.get_layer("relu").output])

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = two.weights
            self.variables_ = [weight.value for weight in two.weights]

        @tf.function(input_signature=[tf.TensorSpec((2, *SHAPE), tf.float32, name="images")])
        def __call__(self, images):
            logits, relu = two(images, training=False)
            return {"logits": tf.cast(logits, tf.float64), "relu": relu}

    tf.saved_model.save(Module(), place / "two_outputs")
    for name, options in {
        "varying.tflite": {"format": "tflite", "batch": None},
        "batch_of_4.tflite": {"format": "tflite", "batch": 4},
        "int8.tflite": {
            "format": "tflite", "scheme": "int8", "batch": None, "input_dtype": "int8", "output_dtype": "uint8"
        },
        "varying.onnx": {"format": "onnx", "batch": None},
        "batch_of_4.onnx": {"format": "onnx", "batch": 4},
        "int8.onnx": {"format": "onnx", "scheme": "int8", "batch": None, "output_dtype": "int8"},
    }.items():  # fmt: skip
        arguments = {"scheme": "float32", "calibration": images, **options}
        export_model(model, place / name, name=name, source="network", **arguments)
    return place


@pytest.fixture
def opened():
    """Opens a teacher for the images of these tests."""
    from edgekd.teachers import open_teacher

    return lambda source, **options: open_teacher(source, **{"input_shape": SHAPE, "num_classes": CLASSES, **options})
