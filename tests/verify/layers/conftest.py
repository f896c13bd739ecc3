"""One small network in every format, converted once, and ways to change its files."""

from pathlib import Path

import numpy as np
import pytest

SCHEMES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
FURTHER = ("aware.keras", "aware.int8.tflite", "aware.int8.onnx", "qdq.onnx", "qoperator.onnx")


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).random((32, 8, 8, 1), np.float32)


@pytest.fixture(scope="session")
def network():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(x)
    y = layers.Conv2D(4, 3, padding="same", name="third")(y)
    y = layers.LeakyReLU(0.2, name="leaky")(y)
    y = layers.Subtract(name="difference")([y, x])
    x = layers.MaxPooling2D(2, name="pool")(y)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6", name="depthwise")(x)
    x = layers.Concatenate(name="joined")([x, y])
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, 2, padding="same", name="strided")(x))
    x = layers.GlobalAveragePooling2D(name="mean")(layers.ReLU(name="activated")(x))
    model = keras.Model(image, layers.Dense(5, name="logits")(x))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "bias"):
            layer.bias.assign(rng.uniform(0.1, 0.4, layer.bias.shape))
    model.get_layer("norm").set_weights([rng.uniform(*bounds, 6) for bounds in ((1, 2), (0, 0.3), (0, 0.1), (0.5, 2))])
    return model


@pytest.fixture(scope="session")
def files(request, images, made_once):
    """Returns the folder with network.keras and a file for each of SCHEMES; and for each of FURTHER.

    Those are the network fake-quantised, its int8 files, and what ONNX Runtime's own quantiser makes of float32.onnx.
    """
    with made_once("healthy") as (folder, to_fill):
        if to_fill:
            folder.mkdir()
            _export(request.getfixturevalue("network"), images, folder)  # importing Keras takes its time
    return folder


def _export(network, images, folder):
    from edgekd.architectures import save_model
    from edgekd.export import export_model
    from edgekd.quantize.aware import quantize_aware

    save_model(network, folder / "network.keras")
    aware = quantize_aware(network, images)
    save_model(aware, folder / "aware.keras")
    for source, name in ((network, each) for each in SCHEMES):
        _write(export_model, source, folder / name, images)
    for name in ("aware.int8.tflite", "aware.int8.onnx"):
        _write(export_model, aware, folder / name, images)
    for name in ("qdq.onnx", "qoperator.onnx"):
        _quantise_by_onnxruntime(folder / "float32.onnx", folder / name, images)


def _write(export_model, network, path, images):
    *_, scheme, suffix = path.name.split(".")
    export_model(network, path, format=suffix, scheme=scheme, name=path.name, source="network", calibration=images)


def _quantise_by_onnxruntime(source, target, images):
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        samples = iter([{"image": image[None]} for image in images])

        def get_next(self):
            return next(self.samples, None)

    quantization.quantize_static(
        source,
        target,
        Reader(),
        quant_format={"qdq": quantization.QuantFormat.QDQ}.get(target.stem, quantization.QuantFormat.QOperator),
        per_channel=True,
    )


@pytest.fixture
def compared(files, images):
    """Returns a function that compares two files, healthy ones by name."""
    from edgekd.verify.layers import compare_files

    def compare(reference, candidate, inputs=None):
        paths = [files / each if isinstance(each, str) else each for each in (reference, candidate)]
        return compare_files(*paths, [images] if inputs is None else inputs, dataset="random", check=False)

    return compare


@pytest.fixture
def changed(files, tmp_path):
    """Returns a function that writes a healthy file with a change, a function of the parsed file, and its path."""
    import onnx

    from edgekd import flatbuffer

    def write(name, change) -> Path:
        source, target = files / name, tmp_path / name
        if target.suffix == ".onnx":
            model = onnx.load(source)
            change(model)
            onnx.save(model, target)
        else:
            model = flatbuffer.read(source.read_bytes())
            change(model)
            target.write_bytes(flatbuffer.pack(model))
        return target

    return write
