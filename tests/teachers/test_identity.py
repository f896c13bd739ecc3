"""The hash names everything that determines a teacher's outputs, and nothing else."""

import shutil
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from edgekd.architectures import load_model, save_model
from edgekd.teachers import saved_model

pytestmark = pytest.mark.usefixtures("kept_children")


def test_a_network_is_the_same_teacher_in_memory_and_in_a_file(network, build_network, opened, tmp_path):
    save_model(network, tmp_path / "one.keras")
    found = opened(network).sha256
    assert opened(tmp_path / "one.keras").sha256 == found
    again = build_network(keras, name="built_later")
    again.trainable = False
    again.compile("sgd", "mse")
    assert opened(again).sha256 == found


@pytest.mark.parametrize("change", ["weight", "statistics", "activation", "layer name"])
def test_whatever_determines_the_outputs_makes_another_teacher(change, network, opened, tmp_path):
    before = opened(network).sha256
    if change == "weight":
        network.get_layer("conv").kernel.assign(network.get_layer("conv").kernel + 1e-6)
    elif change == "statistics":
        network.get_layer("norm").moving_mean.assign(network.get_layer("norm").moving_mean + 1e-3)
    elif change == "activation":
        network.get_layer("conv").activation = keras.activations.relu
    else:
        network.get_layer("relu").name = "other"
    save_model(network, tmp_path / "changed.keras")
    assert opened(load_model(tmp_path / "changed.keras")).sha256 != before


def with_note(path):
    model = onnx.load(path)
    model.doc_string = "changed"
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("name", "change"),
    [("varying.onnx", with_note), ("varying.tflite", lambda path: path.write_bytes(path.read_bytes() + bytes(16)))],
)
def test_a_copied_file_is_the_same_teacher_and_a_changed_one_another(name, change, folder, tmp_path, opened):
    copy = Path(shutil.copy(folder / name, tmp_path / "copy")).rename(tmp_path / name)
    found = opened(folder / name).sha256
    assert opened(copy).sha256 == found
    change(copy)
    assert opened(copy).sha256 != found


def test_every_file_of_a_saved_model_counts_with_its_name(folder, tmp_path):
    copy = shutil.copytree(folder / "exported", tmp_path / "copy")
    found = saved_model.sha256(folder / "exported")
    assert saved_model.sha256(copy) == found
    (copy / "assets" / "words.txt").write_text("one\ntwo\n")
    with_words = saved_model.sha256(copy)
    (copy / "assets" / "words.txt").rename(copy / "assets" / "other.txt")
    assert len({found, with_words, saved_model.sha256(copy)}) == 3


def test_weights_that_an_onnx_file_keeps_beside_it_count(folder, tmp_path, opened, images):
    model = onnx.load(folder / "varying.onnx")
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=200)
    before = opened(tmp_path / "big.onnx")
    content = (tmp_path / "big.data").read_bytes()
    (tmp_path / "big.data").write_bytes((np.frombuffer(content, np.float32) * np.float32(1.5)).tobytes())
    after = opened(tmp_path / "big.onnx")
    assert not np.allclose(before.outputs(images)["logits"], after.outputs(images)["logits"])
    assert after.sha256 != before.sha256


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_layer_of_ones_own_counts_with_its_source(network, opened, monkeypatch):
    model = keras.Model(network.input, Doubled(name="doubled")(network.output))
    before = opened(model)
    assert before.uncacheable == ""
    monkeypatch.setattr(Doubled, "call", lambda _, x: 3.0 * x)
    assert opened(model).sha256 != before.sha256


def test_a_layer_without_a_source_file_cannot_be_cached(network, opened):
    found = {}
    exec(  # noqa: S102
        "import keras\nclass Typed(keras.layers.Layer):\n    def call(self, x):\n        return 2.0 * x\n",
        {"__name__": "typed_in"},
        found,
    )
    teacher = opened(keras.Model(network.input, found["Typed"]()(network.output)))
    assert teacher.sha256 is None
    assert "'Typed' has no source file" in teacher.uncacheable
