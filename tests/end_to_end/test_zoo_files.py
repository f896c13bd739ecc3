"""The zoo's own files under the fixture `conversion`, as a user's repository has its models: golden records lie beside.

The int8 file is kept, since scales depend on the last bit of what a CPU computes while calibrating, and is run in
LiteRT's built-in kernels, whose integer arithmetic is the same everywhere. Float files are exported here from the kept
teacher: other CPUs sum in another order, which their tolerance allows for.
"""

from pathlib import Path

import numpy as np
import pytest

from edgekd.data import load

ZOO = Path(__file__).parents[2] / "models" / "fashion_mnist"
TEACHER = ZOO / "teacher.keras"
SAMPLES = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The first test images of the embedded data, which the teacher has never seen."""
    test = load("embedded").splits["test"]
    path = tmp_path_factory.mktemp("data") / "test.npz"
    np.savez(path, image=test.images[:SAMPLES], labels=test.labels[:SAMPLES])
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from edgekd.architectures import load_model
    from edgekd.export import export_model

    folder, network = tmp_path_factory.mktemp("exported"), load_model(TEACHER)
    for name in ("tflite", "onnx"):
        export_model(
            network, folder / f"teacher-float32.{name}", format=name, scheme="float32", name=name, source="teacher"
        )
    return folder


def test_the_int8_file_is_what_it_was_and_as_good_as_the_float_one(conversion, exported, data):
    found = conversion.check(
        f"{ZOO / 'teacher-int8.tflite'}@litert_builtin",
        name="int8",
        reference=exported / "teacher-float32.onnx",
        data=data,
        max_accuracy_drop=0.01,
        min_agreement=0.98,
        max_size_bytes=500_000,
    )
    assert {"interface", "dtype", "operators", "size", "outputs", "metrics"} <= {each.kind for each in found.findings}


def test_the_float_files_are_what_they_were_and_one_network(conversion, exported, data):
    onnx = exported / "teacher-float32.onnx"
    conversion.check(onnx, name="onnx", data=data)
    conversion.check(exported / "teacher-float32.tflite", name="tflite", reference=onnx, data=data)
