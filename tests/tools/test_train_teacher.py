"""The teacher's training on any backend of Keras: here a tiny one on TensorFlow's."""

import importlib.util
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

import edgekd
from edgekd import architectures
from edgekd.data.augment import augment
from edgekd.distill.evaluate import Predictor
from edgekd.errors import ModelError, StorageError

NETWORK = ["--architecture", "light_cnn", "--arguments", "{}"]


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "train_teacher.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data_file(tool, tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "data.npz"
    limits = [f"--set={split}_limit=200" for split in ("train", "validation")]
    assert tool.main(["data", "--dataset", "embedded", *limits, "--out", str(path)]) == 0
    return path


@pytest.fixture
def eager():
    """Compiling these few steps takes longer than running them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
def test_data_go_out_and_a_trained_teacher_comes_back_though_it_was_stopped(
    tool, data_file, tmp_path, capsys, monkeypatch
):
    data = edgekd.load_data("embedded", train_limit=200, validation_limit=200)
    with np.load(data_file) as written:
        assert set(written) == {
            "fingerprint",
            "classes",
            *(f"{s}_{k}" for s in ("train", "validation") for k in ("images", "labels")),
        }
        np.testing.assert_array_equal(written["train_images"], data.train.images)
        np.testing.assert_array_equal(written["validation_labels"], data.validation.labels)

    weights = tmp_path / "teacher.weights.h5"
    command = ["fit", str(data_file), *NETWORK, "--batch-size", "20", "--workers", "1", "--learning-rate", "0.05"]
    command += ["--epochs", "5", "--out", str(weights)]

    def stops(images, *, view, **options):
        if view == 3:
            raise RuntimeError("stopped here")
        return augment(images, view=view, **options)

    with monkeypatch.context() as patched:
        patched.setattr("edgekd.data.augment.augment", stops)
        with pytest.raises(Exception, match="stopped here"):
            tool.main(command)
    assert "Epoch 3/5" in capsys.readouterr().out
    assert tool.main([*command, "--seed", "1"]) == 2
    assert "unfinished training with another seed: give" in capsys.readouterr().err
    assert tool.main(command) == 0
    said = capsys.readouterr().out
    assert "Epoch 3/5" not in said
    assert "Epoch 4/5" in said
    assert [each.name for each in tmp_path.iterdir()] == ["teacher.weights.h5"]

    kept = ["keep", str(data_file), str(weights)]
    assert tool.main([*kept, *NETWORK, "--out", str(tmp_path / "teacher.keras")]) == 0
    model = architectures.load_model(tmp_path / "teacher.keras")
    _, accuracy = Predictor(model).loss_and_accuracy(data.validation)
    assert accuracy > 0.25  # ten classes: it has learned something
    assert f"validation accuracy {accuracy:.4f}" in capsys.readouterr().out

    with np.load(data_file) as written:
        np.savez(tmp_path / "other.npz", **{**written, "fingerprint": np.asarray("another")})
    for changed, told in (
        (["keep", str(tmp_path / "other.npz"), str(weights), *NETWORK], "not of 'another': give what `fit` was given"),
        (kept, "are of architecture 'light_cnn', not of 'resnet'"),
        (["keep", str(data_file), str(data_file), *NETWORK], "is no HDF5 file, or is cut short"),
    ):
        assert tool.main([*changed, "--out", str(tmp_path / "other.keras")]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "other.keras").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"--out": "teacher.keras"}, "--out 'teacher.keras' does not end in '.weights.h5'"),
        ({"--augment": "{shift: 2}"}, "--augment '{shift: 2}' is not JSON"),
        ({"--augment": '{"shfit": 2}'}, "unknown key of --augment 'shfit'. Did you mean 'shift'?"),
        ({"--augment": '{"shift": -2}'}, "augment.shift is -2"),
        ({"--architecture": "resnett"}, "unknown architecture 'resnett'. Did you mean 'resnet'?"),
        ({"--arguments": '{"width": 20, "blocks": 0}'}, "blocks"),
        ({"--arguments": "[20]"}, "--arguments '[20]' is no JSON object"),
        ({"--epochs": "0"}, "--epochs must be at least 1, received 0"),
        ({"--batch-size": "201"}, "--batch-size 201 is more than the 200 training images"),
        ({"data": "absent.npz"}, "data file 'absent.npz' does not exist"),
        ({"data": __file__}, "is no data file of this tool"),
    ],
)
def test_a_mistake_of_fit_is_one_line_before_anything_is_trained(
    tool, data_file, tmp_path, capsys, monkeypatch, options, told
):
    monkeypatch.chdir(tmp_path)
    chosen = {"--out": "teacher.weights.h5", **options}
    path = chosen.pop("data", str(data_file))
    assert tool.main(["fit", path, *(text for pair in chosen.items() for text in pair)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["single", "cut", "changed", "foreign"])
def test_what_is_no_data_file_is_told_in_one_line(tool, data_file, tmp_path, capsys, damage):
    path = tmp_path / "damaged.npz"
    content = data_file.read_bytes()
    if damage == "single":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "foreign":
        np.savez(path, x=np.zeros(3))
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2  # within the compressed images, the largest member
        path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    assert tool.main(["fit", str(path), "--out", str(tmp_path / "teacher.weights.h5")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "damaged.npz' is no data file of this tool (" in error
    assert error.endswith("write it with its `data` verb.\n")
    assert [each.name for each in tmp_path.iterdir()] == ["damaged.npz"]


@pytest.mark.parametrize("settings", ['{"seed": 0, "epo', "[1]", b"\xff"])
def test_a_training_that_does_not_say_what_it_is_goes_on_with_no_settings(tool, tmp_path, settings):
    folder = tmp_path / "teacher.weights.h5.unfinished"
    folder.mkdir()
    (folder / tool.SETTINGS_FILE).write_bytes(settings.encode() if isinstance(settings, str) else settings)
    (folder / "latest.weights.h5").touch()
    with pytest.raises(StorageError, match="does not say of what training it is: remove the folder"):
        tool._require_same_training(folder, {"seed": 0})


def test_a_training_that_never_ended_an_epoch_binds_nobody_to_its_settings(tool, tmp_path):
    (tmp_path / tool.SETTINGS_FILE).write_text(json.dumps({"seed": 0}))
    tool._require_same_training(tmp_path, {"seed": 1})
    (tmp_path / "latest.weights.h5").touch()
    tool._require_same_training(tmp_path, {"seed": 0})
    with pytest.raises(StorageError, match="unfinished training with another seed"):
        tool._require_same_training(tmp_path, {"seed": 1})


@pytest.mark.parametrize("said", [None, "by hand", "[1]", '{"architecture": "light_cnn"}', 3])
def test_weights_that_do_not_say_what_they_are_of_are_refused(tool, tmp_path, said):
    path = tmp_path / "foreign.weights.h5"
    with h5py.File(path, "w") as file:
        if said is not None:
            file.attrs[tool.TRAINED] = said
    with pytest.raises(ModelError, match="does not say of what data and network it is"):
        tool._require_weights_of(path, {"architecture": "light_cnn", "data": "1"})


def test_a_mistake_is_one_line(tool, data_file, tmp_path, capsys):
    assert tool.main(["data", "--dataset", "imaginary", "--out", str(tmp_path / "data.npz")]) == 2
    assert capsys.readouterr().err.startswith("error: data: unknown dataset source 'imaginary'")
    assert tool.main(["keep", str(data_file), "absent.weights.h5", "--out", str(tmp_path / "teacher.h5")]) == 2
    assert "does not end in '.keras'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("epochs", "rates"),
    [
        (1, [0, 0.05, 0.1, 0.05]),
        (2, [0, 0.025, 0.05, 0.075, 0.1, 0.1 * (0.5 + 0.5**1.5), 0.05, 0.1 * (0.5 - 0.5**1.5)]),
    ],
)
def test_the_rate_rises_over_an_epoch_and_falls_as_a_cosine(tool, epochs, rates):
    schedule = tool.schedule(0.1, epochs=epochs, steps=4)
    np.testing.assert_allclose([float(schedule(step)) for step in range(4 * epochs)], rates, atol=1e-7)


def test_the_shipped_teacher_is_of_the_size_and_strength_that_its_card_says():
    folder = Path(__file__).parents[2] / "models" / "fashion_mnist"
    model = architectures.load_model(folder / "teacher.keras")
    assert (folder / "teacher.keras").stat().st_size <= 2_000_000
    data = edgekd.load_data("embedded", train_limit=100, validation_limit=100)
    _, accuracy = Predictor(model).loss_and_accuracy(data.test)
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert f"{model.count_params():,} parameters" in card
    assert f"{100 * accuracy:.2f} % on the 2,000 test images of the embedded subset" in card
