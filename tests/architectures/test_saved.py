"""Keras files: the same model gives the same bytes, and nothing else than a Keras model is opened."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from edgekd import architectures
from edgekd.errors import ModelError, StorageError

FRESH_PROCESS = """
import sys
from edgekd import architectures
for index, name in enumerate(("lab_cnn", "saved_network:build")):
    model = architectures.create(name, input_shape=(8, 8, 1), num_classes=3, seed=7)
    architectures.save_model(model, sys.argv[1] + f"/fresh{index}.keras")
"""

# Automatic names, dropout, and an object that two layers share: Keras writes its memory address.
OWN_NETWORK = """
import keras


def build(input_shape, num_classes):
    constraint = keras.constraints.NonNeg()
    activation = keras.layers.ReLU()
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    for _ in range(2):
        x = keras.layers.Dense(4, activation=activation, bias_constraint=constraint)(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.Dropout(0.5)(x)))
"""


@pytest.fixture(scope="module")
def model():
    return architectures.create("lab_cnn", input_shape=(8, 8, 1), num_classes=3, seed=7, arguments={"filters": [4]})


@pytest.fixture
def saved(model, tmp_path):
    architectures.save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def with_entry(path, target, name, content):
    """Writes a copy of an archive with one entry replaced."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.namelist():
            copy.writestr(entry, content if entry == name else source.read(entry))
    return target


def test_a_fresh_process_and_a_used_one_write_the_same_bytes(tmp_path, monkeypatch):
    (tmp_path / "saved_network.py").write_text(OWN_NETWORK)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, str(tmp_path)], check=True, capture_output=True, timeout=300)
    keras.layers.Dense(3)(keras.layers.Dropout(0.5)(keras.Input((2,))))  # moves Keras' counters and Python's generator
    for index, name in enumerate(("lab_cnn", "saved_network:build")):
        model = architectures.create(name, input_shape=(8, 8, 1), num_classes=3, seed=7)
        architectures.save_model(model, tmp_path / "used.keras")
        assert (tmp_path / "used.keras").read_bytes() == (tmp_path / f"fresh{index}.keras").read_bytes()


def test_plain_keras_opens_the_file(model, saved):
    x = np.random.default_rng(0).random((2, 8, 8, 1), "float32")
    np.testing.assert_array_equal(keras.saving.load_model(saved)(x), model(x))


def test_the_file_holds_no_time(saved):
    with zipfile.ZipFile(saved) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert list(json.loads(archive.read("metadata.json"))) == ["keras_version"]


def test_objects_that_layers_share_are_still_shared_after_loading(tmp_path):
    shared = keras.layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    architectures.save_model(keras.Model(inputs, shared(shared(inputs))), tmp_path / "shared.keras")
    loaded = architectures.load_model(tmp_path / "shared.keras")
    assert len(loaded.weights) == 2


def test_a_failed_save_leaves_the_old_file(model, saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(StorageError, match="the disk is full"):
        architectures.save_model(model, saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.keras"]


def test_only_keras_names_and_built_models_are_saved(model, tmp_path):
    with pytest.raises(ModelError, match=r"ends in '.keras', received .*model.h5"):
        architectures.save_model(model, tmp_path / "model.h5")
    with pytest.raises(ModelError, match="has no weights yet"):
        architectures.save_model(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_keras_h5_file_is_opened(model, tmp_path):
    model.save(tmp_path / "model.h5")
    loaded = architectures.load_model(tmp_path / "model.h5")
    assert architectures.weights_sha256(loaded) == architectures.weights_sha256(model)


def test_a_loaded_model_is_not_compiled(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    assert not architectures.load_model(tmp_path / "model.keras").compiled


def test_the_weights_hash_is_over_dtype_shape_and_bytes_in_order():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dropout(0.5)])
    kernel, bias = (weight.numpy() for weight in model.weights)
    expected = hashlib.sha256(b"<f4(2, 1)" + kernel.tobytes() + b"<f4(1,)" + bias.tobytes()).hexdigest()
    assert architectures.weights_sha256(model) == expected


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(StorageError, match=r"absent.keras' does not exist"):
        architectures.load_model(tmp_path / "absent.keras")
    with pytest.raises(StorageError, match="is a folder, not a file"):
        architectures.load_model(tmp_path)


def test_a_file_of_another_kind_is_refused(model, saved, tmp_path):
    saved.rename(tmp_path / "model.tflite")
    (tmp_path / "text.keras").write_text("not a model")
    (tmp_path / "text.h5").write_text("not a model")
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "weights.h5").write_bytes((tmp_path / "model.weights.h5").read_bytes())
    for name, words in {
        "model.tflite": "its name must end in .keras, .h5 or .hdf5",
        "text.keras": "not a Keras file or is cut short",
        "text.h5": "not an HDF5 file",
        "model.weights.h5": "weights without a network",
        "weights.h5": "No model config found",
    }.items():
        with pytest.raises(ModelError, match=words):
            architectures.load_model(tmp_path / name)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(saved, fraction):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(ModelError, match="cut short"):
        architectures.load_model(saved)


def test_a_flipped_byte_in_the_weights_is_noticed(saved):
    content = bytearray(saved.read_bytes())
    content[content.index(b"\x89HDF") + 3000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelError, match="its contents are damaged"):
        architectures.load_model(saved)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_python_code_in_a_file_is_refused_not_run(tmp_path, suffix):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(tmp_path / f"model.{suffix}")
    with pytest.raises(ModelError, match=r"Python code \(a Lambda layer\), which edgekd does not run"):
        architectures.load_model(tmp_path / f"model.{suffix}")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_missing_custom_class_is_named(tmp_path, suffix):
    class Unregistered(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((2,))
    keras.Model(inputs, Unregistered()(inputs)).save(tmp_path / f"model.{suffix}")
    with pytest.raises(ModelError, match="it uses 'Unregistered', which is not part of Keras"):
        architectures.load_model(tmp_path / f"model.{suffix}")


def test_a_file_that_names_a_python_function_cannot_call_it(saved, tmp_path):
    config = {
        "module": "os",
        "class_name": "mkdir",
        "config": {"path": str(tmp_path / "made")},
        "registered_name": None,
    }
    path = with_entry(saved, tmp_path / "evil.keras", "config.json", json.dumps(config))
    with pytest.raises(ModelError, match="not part of Keras"):
        architectures.load_model(path)
    assert not (tmp_path / "made").exists()


def test_a_file_that_holds_a_layer_alone_is_refused(saved, tmp_path):
    layer = keras.saving.serialize_keras_object(keras.layers.Flatten())
    path = with_entry(saved, tmp_path / "layer.keras", "config.json", json.dumps(layer))
    with pytest.raises(ModelError, match=r"holds a Flatten, not a keras.Model"):
        architectures.load_model(path)


def test_an_archive_without_a_model_is_refused(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("notes.txt", "nothing here")
    (tmp_path / "notes.keras").write_bytes(content.getvalue())
    with pytest.raises(ModelError, match="its contents are damaged"):
        architectures.load_model(tmp_path / "notes.keras")
