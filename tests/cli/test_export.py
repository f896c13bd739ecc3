"""edgekd export of a saved model: what each option does to which file, and what has no meaning is refused."""

import json

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from edgekd import api, architectures, inspect_model
from edgekd.data import calibration
from edgekd.errors import ModelError
from edgekd.quantize import aware


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, and two models: one that begins with a Rescaling that only bytes can be folded into, one of any size."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.MaxPooling2D(name="largest")(layers.Rescaling(1 / 255, name="unit")(image))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, activation="relu", name="stem")(x))
    small = keras.Model(image, layers.Dense(3, name="classes")(x), name="small")
    architectures.save_model(small, folder / "small.keras")
    image = keras.Input((None, None, 1), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, name="stem")(image))
    architectures.save_model(keras.Model(image, layers.Dense(3, name="classes")(x), name="open"), folder / "open.keras")
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.float32)
    labels = np.arange(60) % 3
    np.savez(folder / "data.npz", x=images, y=labels)
    for name, samples in (
        ("constant", np.full_like(images, 7)),
        ("infinite", np.where(images == images.max(), np.inf, images)),
        ("larger", np.repeat(images, 2, axis=1)),
        ("integers", images.astype(np.int32)),
        ("empty", images[:0]),
    ):
        np.savez(folder / f"{name}.npz", x=samples, y=labels[: len(samples)])
    architectures.save_model(aware.quantize_aware(small, images), folder / "int8.keras")
    (folder / "int8.tflite").write_bytes(b"....TFL3")
    return folder


@pytest.mark.parametrize("verb", [("export", "--scheme", "int8"), ("quantize",), ("quantize", "--sensitivity")])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (("constant",), "calibration samples hold only the value 7.0"),
        (("infinite",), "holds NaN or infinity"),
        (("larger",), "16, 8, 1"),
        (("integers",), "samples of dtype int32"),
        (("empty",), "0 samples are too few"),
        (("data", "--set", "data.train_limit=30", "--samples", "31"), "and the training split has 30"),
        (("data", "--samples", "50"), "50 calibration samples were asked for and the training split has 43"),
    ],
)
def test_what_cannot_calibrate_is_refused_and_nothing_is_written(edgekd_command, folder, tmp_path, verb, data, words):
    name, *options = data
    command = (verb[0], folder / "small.keras", *verb[1:], "--dataset", f"npz:{folder / name}.npz", *options)
    done = edgekd_command(*command, "--out", tmp_path / "out")
    assert done.status == 2
    assert words in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("quantize", "int8.keras"), "is fake-quantised to int8 already"),
        (("quantize", "int8.keras", "--sensitivity"), "is fake-quantised to int8 already"),
        (("export", "int8.keras", "--scheme", "float16"), "is fake-quantised to int8 and cannot become float16"),
        (("export", "int8.keras", "--scheme", "int8", "--exclude", "stem"), "its layers cannot have other schemes"),
        (("quantize", "int8.tflite"), "is an exported file, whose numbers stay as they are"),
        (("export", "int8.tflite", "--scheme", "int8"), "has been exported already"),
    ],
)
def test_what_is_quantised_already_is_refused(edgekd_command, folder, tmp_path, arguments, words):
    verb, name, *options = arguments
    data = ("--dataset", f"npz:{folder / 'data.npz'}", "--out", tmp_path / "out")
    done = edgekd_command(verb, folder / name, *options, *data)
    assert done.status == 2
    assert words in done.err
    assert not (tmp_path / "out").exists()


def test_an_int8_network_brings_its_ranges_along(edgekd_command, folder, tmp_path):
    (tmp_path / "int8-int8.tflite").write_text("what another command wrote")
    done = edgekd_command("export", folder / "int8.keras", "--scheme", "int8", "--out", tmp_path)
    assert done.out.splitlines()[0].endswith("…  replaces a file")
    assert done.status == 0, done.err
    assert (tmp_path / "int8-int8.tflite").exists()


def test_a_network_that_cannot_be_written_leaves_nothing_behind(edgekd_command, folder, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ModelError("the converter refuses it")

    monkeypatch.setattr(api, "export_model", refuse)
    data = ("--dataset", f"npz:{folder / 'data.npz'}", "--out", tmp_path / "out")
    done = edgekd_command("quantize", folder / "small.keras", *data)
    assert (done.status, done.err) == (2, "edgekd: the converter refuses it\n")
    assert not (tmp_path / "out").exists()


def test_opset_is_that_of_the_onnx_file_and_leaves_others_alone(edgekd_command, folder, tmp_path):
    both = ("--format", "onnx", "--format", "tflite", "--out", tmp_path)
    done = edgekd_command("export", folder / "small.keras", "--opset", 15, *both)
    assert done.status == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {"small-float32-opset_15.onnx", "small-float32.tflite"}
    opsets = {each.domain: each.version for each in onnx.load(tmp_path / "small-float32-opset_15.onnx").opset_import}
    assert opsets[""] == 15


def test_excluded_layers_are_in_float_in_files_that_are_quantised(edgekd_command, folder, tmp_path):
    options = ("--scheme", "int8", "--scheme", "float32", "--exclude", "classes", "--out", tmp_path)
    done = edgekd_command("export", folder / "small.keras", *options, "--dataset", f"npz:{folder / 'data.npz'}")
    assert done.status == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "small-int8-classes_float32.tflite",
        "small-float32.tflite",
    }
    content = inspect_model(tmp_path / "small-int8-classes_float32.tflite")
    kernels = {each.shape: each.dtype for each in content.tensors if each.role == "constant" and len(each.shape) > 1}
    assert kernels == {(4, 3, 3, 1): "int8", (3, 4): "float32"}


def test_wrong_names_of_layers_are_told_at_once_and_before_calibration(edgekd_command, folder, tmp_path, monkeypatch):
    def calibrate(*_, **__):
        pytest.fail("calibrated first")

    monkeypatch.setattr(calibration, "calibration_samples", calibrate)
    wrong = ("--exclude", "stme", "--layer", "clas=int8x4", "--layer", "nothing*=float32", "--layer", "pool=float32")
    data = ("--scheme", "int8", "--dataset", f"npz:{folder / 'data.npz'}")
    done = edgekd_command("export", folder / "small.keras", *wrong, *data, "--out", tmp_path)
    assert done.status == 2
    told = (
        "unknown layer in layers: 'clas' (did you mean 'classes'?), 'nothing*', 'stme' (did you mean 'stem'?). Known: "
    )
    assert told in done.err
    assert not list(tmp_path.iterdir())


def test_a_model_of_any_size_is_given_one(edgekd_command, folder, tmp_path):
    model = folder / "open.keras"
    done = edgekd_command("export", model, "--shape", "8x6x1", "--out", tmp_path, "--json")
    assert json.loads(done.out)["artifacts"][0]["inputs"][0]["shape"] == [1, 8, 6, 1]
    assert edgekd_command("export", model, "--check", "--target", "qat,tflite", "--shape", "8x6x1").status == 0
    for refused in (edgekd_command("export", model, "--out", tmp_path), edgekd_command("export", model, "--check")):
        assert refused.status == 2
        assert "Fix the other sizes with shape" in refused.err
    # In `quantize` the data say it.
    done = edgekd_command("quantize", model, "--dataset", f"npz:{folder / 'data.npz'}", "--out", tmp_path, "--json")
    assert json.loads(done.out)["artifact"]["inputs"][0]["shape"] == [1, 8, 8, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--opset", "15"), "--opset is for ONNX files: add --format onnx"),
        (("--opset", "12", "--format", "onnx"), "opset 12 cannot be written: choose 13 to 18"),
        (("--exclude", "stem"), "--exclude leaves layers in float, and scheme float32 leaves all of them"),
        (("--exclude", "stem", "--scheme", "int8", "--format", "onnx"), "--exclude is for TFLite files"),
        (("--exclude", "stem", "--scheme", "int8", "--layer", "stem=int8x4"), "both name stem"),
        (("--scheme", "int16x8", "--format", "onnx"), "format 'onnx' cannot carry scheme 'int16x8'"),
        (("--scheme", "int8"), "needs --dataset"),
        (("--shape", "8x0"), "'8x0' is not of the form 96x96x3"),
        (("--batch", "0"), "batch: expected a number greater than 0"),
        (("--check", "--batch", "0"), "batch must be a positive whole number"),
        (("--check", "--preprocessing", "folded"), "Did you mean 'fold'?"),
        (("--target", "onnx"), "--target goes with --check"),
        (("--c-name", "net"), "--c-name goes with --c-source"),
        (("--c-source", "--c-name", "1st"), "'1st' cannot name an array in C"),
        (("--c-source", "--c-name", "net", "--scheme", "float32", "--scheme", "float16"), "and 2 are asked for"),
    ],
)
def test_what_has_no_meaning_is_refused(edgekd_command, folder, tmp_path, arguments, words):
    done = edgekd_command(
        "export", folder / "small.keras", *arguments, *(() if "--check" in arguments else ("--out", tmp_path))
    )
    assert done.status == 2, done.out
    assert words in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("choice", "targets", "dtypes", "refusing", "for_bytes_only"),
    [
        ("outside", "qat,tflite,onnx", (), set(), set()),
        # Nothing folds into the pooling that follows; into the scale of bytes, which devices take anyway, it does.
        ("fold", "qat,tflite,tflite-micro", (), {"qat", "tflite"}, {"tflite-micro"}),
        ("fold", "qat,onnx,ethos-u55-128", ("--input-dtype", "uint8"), set(), {"onnx", "ethos-u55-128"}),
    ],
)
def test_a_check_tries_preprocessing(edgekd_command, folder, choice, targets, dtypes, refusing, for_bytes_only):
    command = ("export", folder / "small.keras", "--check", "--target", targets, "--scheme", "int8", "--json")
    done = edgekd_command(*command, "--preprocessing", choice, *dtypes)
    assert done.status == (1 if refusing else 0), done.err
    check = json.loads(done.out)
    assert {target for finding in check["findings"] for target in finding["targets"]} == refusing
    only = {note.partition(" ")[0] for note in check["notes"] if "only where the inputs are whole numbers" in note}
    assert only == for_bytes_only


def test_preprocessing_that_is_not_there_is_refused_by_a_check(edgekd_command, folder):
    done = edgekd_command("export", folder / "open.keras", "--check", "--shape", "8x8x1", "--preprocessing", "fold")
    assert done.status == 2
    assert "begins with no Rescaling or Normalization" in done.err
