"""`edgekd diff`: what people and programs read, and its exit statuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytestmark = pytest.mark.usefixtures("kept_children")

Command = Callable[..., Any]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(name: str, kernel: Any, **metadata: str) -> Path:
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        nodes = [helper.make_node("MatMul", ["x", "kernel"], ["t"]), helper.make_node("Relu", ["t"], ["y"])]
        ends = [helper.make_tensor_value_info(each, kind, [1, 4]) for each in ("x", "y")]
        initial = [onnx.numpy_helper.from_array(np.float32(kernel), "kernel")]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initial)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return save


def test_people_are_told_what_changed(edgekd_command: Command, saved: Callable[..., Path]) -> None:
    kernel = np.diag([1.0, 2.0, 3.0, 4.0])
    old, new = saved("old.onnx", kernel), saved("new.onnx", kernel + np.eye(4) * [0, 0, 0, 1], author="someone")
    done = edgekd_command("diff", old, new)
    assert (done.status, done.err) == (0, "")
    for expected in (
        "old.onnx -> new.onnx: differ in weights, metadata",
        "2 operators matched of 2 and 2; 1 of 1 constants differ",
        "metadata: author: added, someone",
        "kernel",
        "6.25 %",
    ):
        assert expected in done.out
    assert edgekd_command("diff", old, new, "--exit-code").status == 1
    document = json.loads(edgekd_command("diff", old, new, "--json").out)
    assert document["schema_version"] == 1
    assert document["kinds"] == ["weights", "metadata"]
    assert document["weights"][0]["max_abs"] == 1.0


def test_what_was_only_rounded_otherwise_is_one_line(edgekd_command: Command, saved: Callable[..., Path]) -> None:
    kernel = np.float32(np.eye(4))
    old, new = saved("old.onnx", kernel), saved("new.onnx", kernel * np.float32(1 + 2.0**-23))
    done = edgekd_command("diff", old, new, "--exit-code")
    assert done.status == 1
    assert "old.onnx -> new.onnx: differ in weights (within rounding)" in done.out
    assert done.out.endswith("\nequal within rounding: 1 constant (at most 1.192e−07 apart); --all lists them\n")
    assert "Largest error" not in done.out
    assert "Largest error" in edgekd_command("diff", old, new, "--all").out


def test_files_that_say_the_same_are_status_0(edgekd_command: Command, saved: Callable[..., Path]) -> None:
    kernel = np.eye(4)
    old, told = saved("old.onnx", kernel), saved("told.onnx", kernel, author="someone")
    done = edgekd_command("diff", old, old, "--exit-code")
    assert (done.status, done.out) == (0, "old.onnx -> old.onnx: identical\n")
    done = edgekd_command("diff", old, told)
    assert "old.onnx -> told.onnx: the same model; only metadata differs" in done.out


def test_a_mistake_is_one_line_and_status_2(
    edgekd_command: Command, saved: Callable[..., Path], tmp_path: Path
) -> None:
    good, damaged = saved("good.onnx", np.eye(4)), tmp_path / "damaged.onnx"
    damaged.write_bytes(good.read_bytes()[:40])
    for other in (damaged, tmp_path / "absent.onnx", tmp_path / "m.txt"):
        done = edgekd_command("diff", good, other, "--exit-code")
        assert (done.status, done.err.count("\n"), done.out) == (2, 1, "")
        assert other.name in done.err


def test_names_in_a_file_cannot_speak_to_the_terminal(
    edgekd_command: Command, saved: Callable[..., Path], tmp_path: Path
) -> None:
    old = saved("old.onnx", np.eye(4))
    model = onnx.load(saved("new.onnx", 2 * np.eye(4), **{"a\x1b[2J": "b\x1b]0;title\x07"}))
    model.graph.initializer[0].name = model.graph.node[0].input[1] = "kernel\x1b[31m"
    model.graph.node[0].op_type = "No\x1b[1mSuch"
    onnx.save(model, tmp_path / "new.onnx")
    for arguments in (["diff", old, tmp_path / "new.onnx"], ["inspect", tmp_path / "new.onnx", "--tensors"]):
        done = edgekd_command(*arguments)
        assert done.status == 0
        assert "\x1b" not in done.out
        assert "\\x1b" in done.out
