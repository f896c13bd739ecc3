"""edgekd quantize, and the same from Python."""

import json

import keras
import numpy as np
import pytest

from edgekd import api, architectures, runtime
from edgekd.errors import DataError
from edgekd.quantize import aware


@pytest.fixture(scope="module")
def data():
    return api.load_data("synthetic", samples=200, classes=3, shape=[12, 12, 1])


@pytest.fixture(scope="module")
def network(data):
    return api.create_model("lab_cnn", data, filters=[4, 6])


def same_outputs(model: keras.Model, path, images) -> bool:
    with runtime.open_runner(path, check=False) as runner:
        off = np.abs(runtime.predict(runner, images) - model(images, training=False).numpy())
    return bool(np.mean(off > 1.01 * aware.output_scale(model)) <= 0.001)


def test_a_saved_model_becomes_an_int8_network_and_its_file(edgekd_command, network, data, tmp_path):
    architectures.save_model(network, tmp_path / "mine.keras")
    command = ("quantize", tmp_path / "mine.keras", "--dataset", "embedded", "--samples", 40)
    assert edgekd_command(*command).status == 2  # other images than the network takes
    model = api.create_model("lab_cnn", api.load_data("embedded"), filters=[4, 6])
    architectures.save_model(model, tmp_path / "mine.keras")
    done = edgekd_command(*command, "--exclude", "conv1", "--json")
    assert done.status == 0
    document = json.loads(done.out)
    assert document["model"] == str(tmp_path / "mine-int8.keras")
    assert document["artifact"]["scheme"] == "int8"
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    loaded = architectures.load_model(tmp_path / "mine-int8.keras")
    assert same_outputs(loaded, tmp_path / "mine-int8.tflite", images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mine.keras",), "needs --dataset"),
        (("mine.tflite", "--dataset", "embedded", "--sensitivity"), "is an exported file"),
        (
            ("mine.keras", "--dataset", "embedded", "--set", "seed=1"),
            "is for keys of its data, such as data.image_size",
        ),
        (
            ("mine.keras", "--dataset", "embedded", "--set", "data=1"),
            "is for keys of its data, such as data.image_size",
        ),
        (("mine.keras", "--set", "data.image_size=1"), "is for the data of --dataset: give that, too"),
        (("mine.keras", "--dataset", "embedded", "--set", "data.dataset=synthetic"), "are named once, by --dataset"),
        *(
            (
                ("mine.keras", "--dataset", "embedded", "--set", f"data.{key}"),
                f"--set data.{key.split('=')[0]}: calibration",
            )
            for key in ("batch_size=8", "augment={shift: 1}", "mixup=0.2", "unlabelled={dataset: embedded}")
        ),
        (("mine.keras", "--dataset", "embedded", "--smoke"), "--smoke is for recipes"),
        (("quickstart", "--dataset", "embedded"), "cannot be combined with a recipe"),
        (("quickstart", "--set", "quantize=null"), "has no quantize section"),
    ],
)
def test_what_does_not_go_together_is_refused(edgekd_command, arguments, words):
    done = edgekd_command("quantize", *arguments)
    assert done.status == 2
    assert words in done.err


def test_an_int8_network_learns_like_any_other_and_its_file_equals_it(network, data, tmp_path):
    model = api.quantize_model(network, data, samples=60, freeze_after=3)
    before = architectures.weights_sha256(network)
    curve = api.distill_model(model, network, data, epochs=1, optimizer="adam", learning_rate=0.01, batch_size=32)
    assert set(curve[0].terms) == {"labels", "soft_logits"}
    assert architectures.weights_sha256(network) == before
    api.export_model(model, tmp_path / "m.tflite", scheme="int8")
    assert same_outputs(model, tmp_path / "m.tflite", data.test.read(np.arange(len(data.test)))[0])


def test_data_of_another_kind_is_refused(network):
    with pytest.raises(DataError, match=r"expected what edgekd\.load_data returns"):
        api.quantize_model(network, np.zeros((4, 12, 12, 1), np.float32))
