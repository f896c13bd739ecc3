"""Every engine offers the same Runner: what it tells about a model, what it takes and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgekd.errors import ModelError, ShapeError, StorageError
from edgekd.records import TensorSpec
from edgekd.runtime import engine_of, litert, open_runner, predict

FLOAT_FILES = ["static.tflite", "varying.tflite", "static.onnx", "varying.onnx", "network.keras"]


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_runner_tells_its_inputs_and_outputs(name, files):
    batch = 1 if name.startswith("static") else None
    with open_runner(files / name, check=False) as runner:
        assert runner.name == name
        assert runner.inputs == (TensorSpec(name="image", shape=(batch, 6, 6, 3), dtype="float32"),)
        (output,) = runner.outputs
        assert (output.shape, output.dtype) == ((batch, 4), "float32")


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_runner_returns_what_the_network_returns(name, files, network, images):
    with open_runner(files / name, check=False) as runner:
        (received,) = runner.run([images[:1]])
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, network(images[:1]), atol=1e-6)


@pytest.mark.parametrize("name", ["int8_inputs.tflite", "int8_inputs.onnx"])
def test_integer_inputs_and_outputs_come_with_their_scales(name, files):
    with open_runner(files / name, check=False) as runner:
        for spec in (*runner.inputs, *runner.outputs):
            assert spec.dtype in {"int8", "uint8"}
            assert spec.scale > 0
            assert np.iinfo(spec.dtype).min <= spec.zero_point <= np.iinfo(spec.dtype).max


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_wrong_shape_names_both_shapes(name, files):
    with (
        open_runner(files / name, check=False) as runner,
        pytest.raises(ShapeError, match=r"6, 6, 3\], received \[1, 6, 6, 1\]"),
    ):
        runner.run([np.zeros((1, 6, 6, 1), np.float32)])


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_wrong_dtype_names_both_dtypes(name, files):
    with (
        open_runner(files / name, check=False) as runner,
        pytest.raises(ModelError, match="dtype float32, received uint8"),
    ):
        runner.run([np.zeros((1, 6, 6, 3), np.uint8)])


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_wrong_number_of_inputs_is_refused(name, files):
    with (
        open_runner(files / name, check=False) as runner,
        pytest.raises(ShapeError, match=r"takes 1 input\(s\), received 2"),
    ):
        runner.run([np.zeros((1, 6, 6, 3), np.float32)] * 2)


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_closed_runner_says_so(name, files):
    runner = open_runner(files / name, check=False)
    runner.close()
    with pytest.raises(ModelError, match="is closed"):
        runner.run([np.zeros((1, 6, 6, 3), np.float32)])


def test_litert_gives_the_same_with_and_without_its_delegate(files, images):
    results = []
    for xnnpack in (True, False):
        with litert.open_runner(files / "varying.tflite", xnnpack=xnnpack) as runner:
            results.append(predict(runner, images))
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize("name", ["varying.tflite", "varying.onnx"])
def test_more_threads_change_no_result(name, files, images):
    with open_runner(files / name, check=False) as one, open_runner(files / name, num_threads=2, check=False) as two:
        np.testing.assert_allclose(predict(one, images), predict(two, images), atol=1e-6)


def test_threads_that_cannot_be_set_are_refused(files):
    with pytest.raises(ModelError, match="num_threads=2 cannot be set"):
        open_runner(files / "network.keras", num_threads=2)
    with pytest.raises(ModelError, match="at least 1, not 0"):
        open_runner(files / "static.onnx", num_threads=0)


def test_a_suffix_without_an_engine_lists_those_with_one(tmp_path):
    with pytest.raises(ModelError, match=r"unknown model file suffix '\.tfl'.*\.keras, \.onnx, \.tflite"):
        open_runner(tmp_path / "model.tfl")


def test_suffixes_are_read_without_regard_to_case(tmp_path):
    assert engine_of(tmp_path / "MODEL.ONNX") == "onnxruntime"


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        open_runner(tmp_path / "model.tflite")


def test_running_exported_files_imports_no_tensorflow(files):
    script = """
import json, sys
import numpy as np
from edgekd.runtime import open_runner, predict
from edgekd.verify import comparison, gates, metrics, tolerances
from edgekd import export, quantize
images = np.zeros((2, 6, 6, 3), np.float32)
for path in sys.argv[1:]:
    with open_runner(path, check=False) as runner:
        predict(runner, images)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    command = [sys.executable, "-c", script, str(files / "static.tflite"), str(files / "int8_inputs.onnx")]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(json.loads(child.stdout))
    assert {"ai_edge_litert", "onnxruntime"} <= imported
    assert not imported & {"tensorflow", "keras", "tf_keras", "tf2onnx"}
