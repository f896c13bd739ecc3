"""Small ONNX classifiers whose outputs are known without running them, and one network as files of every kind."""

import warnings

import numpy as np
import onnx
import pytest


@pytest.fixture
def linear(tmp_path):
    """Returns a function that writes logits = images @ weights as an ONNX file and returns its path."""

    def write(name, weights):
        weights = np.asarray(weights, np.float32)
        value, to_tensor = onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["image", "weights"], ["logits"])],
            "linear",
            [value("image", onnx.TensorProto.FLOAT, ["batch", weights.shape[0]])],
            [value("logits", onnx.TensorProto.FLOAT, ["batch", weights.shape[1]])],
            [to_tensor(weights, "weights")],
        )
        imports = [onnx.helper.make_opsetid("", 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / name)
        return tmp_path / name

    return write


INT8 = {"scheme": "int8"}
EXPORTS = {
    "float32.tflite": {},
    "float16.tflite": {"scheme": "float16"},
    "int8.tflite": INT8,
    "integers.tflite": {**INT8, "input_dtype": "int8", "output_dtype": "int8"},
    "float32.onnx": {"batch": None},
    "int8.onnx": {**INT8, "batch": None},
}


@pytest.fixture(scope="session")
def kinds(tmp_path_factory):
    """One network as a file of every kind; `data.npz` has samples and the classes that it gives them."""
    import keras
    import tf_keras

    from edgekd.architectures import save_model
    from edgekd.export import export_model

    def built(library):
        layers = library.layers
        image = library.Input((8, 8, 1), name="image")
        x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(8, 3, activation="relu", name="conv")(image))
        return library.Model(image, layers.Dense(4, name="logits")(x), name="network")

    folder = tmp_path_factory.mktemp("kinds")
    keras.utils.set_random_seed(0)
    network, legacy = built(keras), built(tf_keras)
    legacy.set_weights(network.get_weights())
    save_model(network, folder / "network.keras")
    legacy.export(str(folder / "saved"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both libraries call HDF5 old
        network.save(folder / "network.h5")
        legacy.save(folder / "legacy.h5")
        legacy.save(folder / "legacy.keras")
    images = np.random.default_rng(0).random((32, 8, 8, 1), dtype=np.float32)
    for name, options in EXPORTS.items():
        arguments = {"scheme": "float32", "calibration": images, "name": name, "source": "network", **options}
        export_model(network, folder / name, format=name.rpartition(".")[2], **arguments)
    labels = np.asarray(network(images)).argmax(axis=-1)
    np.savez(folder / "data.npz", image=images, labels=labels)
    return folder


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """`state.tflite`, which adds up what it sees; and `two.tflite` and the SavedModel `two`, of two signatures."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("programs")
    vector = tf.TensorSpec([1, 3], tf.float32, name="x")

    class Sum(tf.Module):
        def __init__(self):
            self.total = tf.Variable(tf.zeros([1, 3]))

        @tf.function(input_signature=[vector])
        def add(self, x):
            self.total.assign_add(x)
            return {"total": self.total.read_value()}

    class Two(tf.Module):
        @tf.function(input_signature=[vector, tf.TensorSpec([1, 3], tf.float32, name="a")])
        def one(self, x, a):
            return {"z": x * 2 + a, "b": x + 1}

        @tf.function(input_signature=[vector])
        def other(self, x):
            return {"y": x * 3}

    state, two = Sum(), Two()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([state.add.get_concrete_function()], state)
    converter.experimental_enable_resource_variables = True
    (folder / "state.tflite").write_bytes(converter.convert())
    tf.saved_model.save(two, str(folder / "two"), signatures={"one": two.one, "other": two.other})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "two"), signature_keys=["one", "other"])
    (folder / "two.tflite").write_bytes(converter.convert())
    return folder
