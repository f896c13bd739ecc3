"""Exported files say themselves where they come from, and stay files that every runtime runs."""

import hashlib
import importlib.metadata
import json

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.export import Origin, export_model

FORMATS = ["tflite", "onnx"]
ORIGIN = Origin(recipe_sha256="aa", data_fingerprint="bb", seed=3, validation_accuracy=0.875)


def export(model, path, **changes):
    arguments = {"format": path.suffix[1:], "scheme": "float32", "name": "m", "source": "student_distilled", **changes}
    return export_model(model, path, **arguments)


def document(path):
    """Returns what the file says, read as any program would read it."""
    if path.suffix == ".onnx":
        return json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}["edgekd.provenance"])
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    (entry,) = [
        model.Metadata(each)
        for each in range(model.MetadataLength())
        if model.Metadata(each).Name() == b"edgekd.provenance"
    ]
    return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_float_file_names_its_weights_versions_and_what_the_caller_knows(suffix, model, tmp_path):
    path = tmp_path / f"m.{suffix}"
    export(model, path, origin=ORIGIN)
    digest = hashlib.sha256()
    for weight in model.weights:
        array = weight.numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    found = document(path)
    assert found.pop("versions") == {
        package: importlib.metadata.version(package)
        for package in ("edgekd", "keras", "tensorflow", "ai-edge-quantizer", "onnx", "tf2onnx")
    }
    assert found == {
        "schema_version": 1,
        "source": "student_distilled",
        "scheme": "float32",
        "weights_sha256": digest.hexdigest(),
        "recipe_sha256": "aa",
        "data_fingerprint": "bb",
        "seed": 3,
        "validation_accuracy": 0.875,
    }


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_calibrated_file_names_its_samples(suffix, model, images, tmp_path):
    path = tmp_path / f"m.{suffix}"
    export(model, path, scheme="int8", calibration=images)
    found = document(path)
    expected = hashlib.sha256(b"<f4" + str(images.shape).encode() + images.tobytes()).hexdigest()
    assert (found["scheme"], found["calibration_sha256"], found["calibration_samples"]) == ("int8", expected, 12)
    assert "recipe_sha256" not in found


def test_other_weights_are_another_hash_and_other_origins_other_files(build_model, tmp_path):
    path = tmp_path / "m.tflite"
    first = export(build_model(seed=0), path)
    hashes = {document(path)["weights_sha256"]}
    export(build_model(seed=1), path)
    assert document(path)["weights_sha256"] not in hashes
    assert export(build_model(seed=0), path, origin=ORIGIN).sha256 != first.sha256


def test_the_onnx_file_keeps_the_scales_of_integer_inputs_beside_it(model, images, tmp_path):
    path = tmp_path / "m.onnx"
    artifact = export(model, path, scheme="int8", calibration=images, input_dtype="int8", output_dtype="int8")
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["edgekd.provenance", "edgekd.quantisation"]
    assert artifact.inputs[0].scale is not None


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_every_buffer_of_a_tflite_file_is_aligned_as_the_schema_asks(scheme, model, images, tmp_path):
    path = tmp_path / "m.tflite"
    export(model, path, scheme=scheme, calibration=images)
    content = path.read_bytes()
    found = schema.Model.GetRootAs(content, 0)
    buffers = [found.Buffers(each) for each in range(found.BuffersLength())]
    starts = [_start(content, buffer) for buffer in buffers if not buffer.DataIsNone()]
    assert len(starts) > 5
    assert [start % 16 for start in starts] == [0] * len(starts)


def _start(content, buffer):
    data = buffer.DataAsNumpy()
    return data.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).__array_interface__["data"][0]


def test_a_model_without_variables_has_no_weights_hash(tmp_path):
    inputs = keras.Input((4,), name="numbers")
    path = tmp_path / "m.tflite"
    export(keras.Model(inputs, keras.layers.ReLU()(inputs)), path)
    assert "weights_sha256" not in document(path)
