"""`edgekd inspect`: a table for people, one document for programs, and it answers for files that cannot be run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras
    import numpy as np

    from edgekd.export import Origin, export_model

    path = tmp_path_factory.mktemp("files") / "student.tflite"
    inputs = keras.Input((6,), name="features")
    export_model(
        keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs)),
        path,
        format="tflite",
        scheme="int8",
        name="student",
        source="student_distilled",
        calibration=np.random.default_rng(0).random((8, 6), np.float32),
        input_dtype="int8",
        origin=Origin(validation_accuracy=0.875, seed=1),
    )
    return path


def test_people_get_the_numbers_with_units(edgekd_command: Command, model_file: Path) -> None:
    done = edgekd_command("inspect", model_file)
    assert (done.status, done.err) == (0, "")
    for expected in (
        "student.tflite: TFLite schema 3",
        "MACs: 18",
        "FULLY_CONNECTED",
        "1x6",
        "-128",
        "made from student_distilled with scheme int8",
        "87.50 % on the validation split, before export",
        "of 8 samples",
    ):
        assert expected in done.out
    assert "per_tensor" not in done.out


def test_tensors_are_listed_when_asked_for(edgekd_command: Command, model_file: Path) -> None:
    done = edgekd_command("inspect", model_file, "--tensors")
    assert done.status == 0
    assert "constant" in done.out
    assert "per_tensor" in done.out


def test_programs_get_one_document(edgekd_command: Command, model_file: Path) -> None:
    done = edgekd_command("inspect", model_file, "--json")
    document = json.loads(done.out)
    assert document["schema_version"] == 2
    assert document["macs"] == 18
    assert {"nodes", "tensors", "memory", "delegation", "microcontroller", "subgraphs", "variables"} <= set(document)
    assert document["provenance"]["scheme"] == "int8"
    assert document["inputs"][0]["zero_point"] == -128
    assert {each["operator"] for each in document["operators"]} >= {"FULLY_CONNECTED"}


def test_a_mistake_is_one_line(edgekd_command: Command, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"text, no model")
    for name in ("m.tflite", "absent.onnx", "m.txt"):
        done = edgekd_command("inspect", tmp_path / name)
        assert done.status == 2
        assert done.err.count("\n") == 1
        assert name in done.err
        assert done.out == ""


def test_inspecting_an_exported_file_needs_no_tensorflow(model_file: Path) -> None:
    script = (
        "import sys; from edgekd.inspect import inspect_model; print(inspect_model(sys.argv[1]).macs);"
        "print([name for name in ('tensorflow', 'keras', 'tf_keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(model_file)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["18", "[]"]
