"""PATH@RUNTIME: which engine opens a file, and with what."""

from pathlib import Path

import pytest

from edgekd.errors import ModelError
from edgekd.runtime import open_runner
from edgekd.runtime.selection import split_choice, variant, variants


def test_the_ways_to_run_files_are_those_that_the_engines_state():
    found = {name: (each.engine, each.suffixes) for name, each in variants().items()}
    assert found == {
        "keras": ("keras", (".keras",)),
        "litert": ("litert", (".tflite",)),
        "litert_builtin": ("litert", (".tflite",)),
        "onnxruntime": ("onnxruntime", (".onnx",)),
        "onnxruntime_unoptimised": ("onnxruntime", (".onnx",)),
        "qemu_aarch64": ("qemu_aarch64", (".tflite", ".onnx")),
        "qemu_aarch64_builtin": ("qemu_aarch64", (".tflite", ".onnx")),
        "tflite_micro": ("tflite_micro", (".tflite",)),
    }
    assert variants()["litert_builtin"].options == {"xnnpack": False}


def test_a_runtime_stands_behind_the_last_at_of_a_path(tmp_path):
    assert split_choice("a/model.tflite") == (Path("a/model.tflite"), None)
    assert split_choice("a/model.tflite@litert") == (Path("a/model.tflite"), "litert")
    assert split_choice("user@host/model.onnx") == (Path("user@host/model.onnx"), None)
    (tmp_path / "odd@name.onnx").touch()
    assert split_choice(str(tmp_path / "odd@name.onnx")) == (tmp_path / "odd@name.onnx", None)


def test_an_unknown_or_unfitting_runtime_lists_those_that_fit():
    with pytest.raises(ModelError, match="unknown runtime"):
        variant("litret", Path("model.tflite"))
    with pytest.raises(ModelError, match=r"opens .tflite files, not 'model.onnx': .* onnxruntime, onnxruntime_unopt"):
        variant("tflite_micro", Path("model.onnx"))


def test_engines_without_signatures_refuse_one(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"unknown option of runtime .onnxruntime.:"):
        open_runner(path, signature="serve")
