"""The one door to exporting: what it refuses, what it writes, and what it leaves behind."""

import hashlib
import signal
import tempfile

import numpy as np
import pytest

from edgekd.errors import DataError, EdgekdError, ModelError, NonFiniteError, RecipeError, StorageError
from edgekd.export import _reopen, export_model


def export(model, path, **changes):
    arguments = {"format": "tflite", "scheme": "float32", "name": "student", "source": "student_distilled", **changes}
    return export_model(model, path, **arguments)


REFUSED = {
    "unknown format": ({"format": "tflit"}, RecipeError, "unknown format 'tflit'.*Did you mean 'tflite'"),
    "unknown scheme": ({"scheme": "int4"}, RecipeError, "unknown scheme 'int4'"),
    "scheme that the format lacks": (
        {"format": "onnx", "scheme": "float16"},
        RecipeError,
        "'onnx' cannot carry scheme 'float16': choose one of float32, int8",
    ),
    "unknown option": ({"opset": 17}, RecipeError, "unknown option of format 'tflite' 'opset'"),
    "option of the wrong type": (
        {"allow_select_tf_ops": "no"},
        RecipeError,
        "option of format 'tflite' allow_select_tf_ops must be true or false, got 'no'",
    ),
    "unknown dtype": ({"input_dtype": "int64"}, RecipeError, "unknown input_dtype 'int64'"),
    "integers with a float scheme": ({"output_dtype": "int8"}, RecipeError, "'int8' does not go with scheme"),
    "batch of zero": ({"batch": 0}, RecipeError, "batch must be a positive whole number.*not 0"),
    "no calibration": ({"scheme": "int8"}, DataError, "calibration samples are missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_before_it_writes(case, model, tmp_path):
    changes, error, message = REFUSED[case]
    suffix = "onnx" if changes.get("format") == "onnx" else "tflite"
    with pytest.raises(error, match=message):
        export(model, tmp_path / f"student.{suffix}", **changes)
    assert not list(tmp_path.iterdir())


UNFIT = {
    "empty": (np.zeros((0, 8, 8, 3), np.float32), "no calibration samples"),
    "constant": (np.full((4, 8, 8, 3), 0.5, np.float32), "every calibration value is 0.5"),
    "another shape": (np.zeros((4, 8, 8, 1), np.float32), r"shape \[4, 8, 8, 1\], expected \[samples, 8, 8, 3\]"),
    "without a batch": (np.zeros((8, 8, 3), np.float32), r"shape \[8, 8, 3\]"),
    "bytes": (np.zeros((4, 8, 8, 3), np.uint8), "are uint8"),
    "not an array": ([[0.0]], "are list"),
    "not finite": (np.full((4, 8, 8, 3), np.nan, np.float32), "NaN or infinity"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_refuses_calibration_that_shows_no_ranges(case, model, tmp_path):
    samples, message = UNFIT[case]
    with pytest.raises(DataError, match=message):
        export(model, tmp_path / "student.tflite", scheme="int8", calibration=samples)
    assert not list(tmp_path.iterdir())


def test_refuses_a_name_with_another_formats_suffix(model, tmp_path):
    with pytest.raises(RecipeError, match=r"a tflite file must be named \*\.tflite, not 'student\.onnx'"):
        export(model, tmp_path / "student.onnx")


def test_refuses_a_model_with_nan_weights_and_names_the_weight(build_model, tmp_path):
    broken = build_model()
    kernel = broken.get_layer("block_conv").kernel
    values = kernel.numpy()
    values[0, 0, 0, 0] = np.nan
    kernel.assign(values)
    with pytest.raises(NonFiniteError, match=r"block_conv/kernel.*NaN or infinity in 1 of 2304"):
        export(broken, tmp_path / "student.tflite")
    assert not list(tmp_path.iterdir())


def test_refuses_weights_beyond_float16_where_the_converter_would_saturate_them(build_model, tmp_path):
    huge = build_model()
    huge.get_layer("logits").kernel.assign(np.full((16, 5), 1e5, np.float32))
    with pytest.raises(NonFiniteError, match=r"logits.* exceed float16's range of 65504"):
        export(huge, tmp_path / "student.tflite", scheme="float16")
    assert not list(tmp_path.iterdir())


def test_refuses_a_file_whose_outputs_overflow(build_model, tmp_path):
    huge = build_model()
    for name in ("stem", "block_conv", "logits"):
        kernel = huge.get_layer(name).kernel
        kernel.assign(np.full(kernel.shape, 1e30, np.float32))
    with pytest.raises(NonFiniteError, match="returns NaN or infinity for a sample"):
        export(huge, tmp_path / "student.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["not built", "not a model", "integer input", "varying size"])
def test_refuses_models_that_it_cannot_export(kind, tmp_path):
    import keras

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    varying = keras.Input((None, 4), name="varying")
    number = keras.Input((4,), dtype="int32", name="number")
    dense = keras.layers.Dense(2)
    models = {
        "not built": (Own(), "call it on one sample tensor before"),
        "not a model": ("student.keras", "received str"),
        "integer input": (keras.Model(number, dense(keras.ops.cast(number, "float32"))), "input .* is int32"),
        "varying size": (keras.Model(varying, dense(varying)), r"only the batch may vary.*shape=\[96, 96, 3\]"),
    }
    chosen, message = models[kind]
    with pytest.raises(ModelError, match=message):
        export(chosen, tmp_path / "student.tflite")
    assert not list(tmp_path.iterdir())


def test_the_record_says_what_the_file_is(model, images, tmp_path):
    path = tmp_path / "new" / "student.tflite"
    artifact = export(model, path, scheme="wi8_ai8", calibration=images, input_dtype="int8", output_dtype="uint8")
    content = path.read_bytes()
    assert (artifact.name, artifact.source, artifact.format, artifact.scheme, artifact.path) == (
        "student",
        "student_distilled",
        "tflite",
        "int8",
        str(path),
    )
    assert (artifact.size_bytes, artifact.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    (source,), (target,) = artifact.inputs, artifact.outputs
    assert (source.name, source.shape, source.dtype) == ("image", (1, 8, 8, 3), "int8")
    assert (target.name, target.shape, target.dtype) == ("logits", (1, 5), "uint8")
    # The calibration images span [0, 1), which 256 steps from -128 on cover.
    assert source.scale == pytest.approx(1 / 255, rel=1e-3)
    assert source.zero_point == -128
    assert artifact.accuracy is None


def test_an_existing_file_is_replaced_only_by_a_whole_one(model, tmp_path):
    path = tmp_path / "student.tflite"
    path.write_bytes(b"the previous export")
    with pytest.raises(EdgekdError):
        export(model, path, scheme="int8")
    assert path.read_bytes() == b"the previous export"
    export(model, path)
    assert path.read_bytes()[4:8] == b"TFL3"
    assert [each.name for each in tmp_path.iterdir()] == ["student.tflite"]


def test_an_unwritable_folder_is_a_storage_error(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        export(model, tmp_path / "file" / "folder" / "student.tflite")


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_exporting_is_quiet_and_leaves_no_temporary_folders(format_name, model, images, tmp_path, monkeypatch, capfd):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    capfd.readouterr()
    for scheme in ("float32", "int8"):
        export(model, tmp_path / f"{scheme}.{format_name}", format=format_name, scheme=scheme, calibration=images)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert not list(temporary.iterdir())


def test_exports_share_a_child_process_and_outlive_it(model, tmp_path):
    """Starting a process takes longer than to open a file in it."""
    options = {"scheme": "float32", "name": "student", "source": "student"}
    processes = []
    for name in ("first.tflite", "second.onnx", "third.tflite", "fourth.onnx"):
        artifact = export_model(model, tmp_path / name, format=name.partition(".")[2], **options)
        assert artifact.outputs[0].name == "logits"
        ((_, child),) = _reopen._waiting
        processes.append(child._process)
        if name.startswith("second"):
            child._process.kill()
            child._process.wait()
    assert processes[0] is processes[1]
    assert processes[2] is processes[3] is not processes[0]
    assert processes[0].returncode == -signal.SIGKILL
    assert processes[2].poll() is None
