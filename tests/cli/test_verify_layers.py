"""edgekd verify --layers: what it prints, its exit status, its document and its plot."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import EdgekdError
from edgekd.verify.layers import LayeredVerification, compare_files, comparison

pytestmark = pytest.mark.usefixtures("kept_children")


@pytest.fixture
def write(tmp_path):
    """Returns a function that writes Gemm, Relu, Gemm with some weights as an ONNX file and returns its path."""

    def write_file(name, *kernels):
        names = ("first", "second")
        graph = helper.make_graph(
            [
                helper.make_node("Gemm", ["image", "w0"], ["first"]),
                helper.make_node("Relu", ["first"], ["positive"]),
                helper.make_node("Gemm", ["positive", "w1"], ["second"]),
            ],
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("second", TensorProto.FLOAT, ["batch", 3])],
            [numpy_helper.from_array(each, f"w{number}") for number, each in enumerate(kernels)],
        )
        assert len(kernels) == len(names)
        imports = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / name)
        return tmp_path / name

    return write_file


@pytest.fixture
def models(write):
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 5), (5, 3)))
    changed = first.copy()
    changed[:, 2] *= 1.5
    return write("a.onnx", first, second), write("same.onnx", first, second), write("other.onnx", changed, second)


def test_the_first_operator_at_fault_is_named_and_drawn(edgekd_command, models, tmp_path):
    result = edgekd_command("verify", *models, "--layers", "--layer-samples", "8", "--plot", tmp_path / "layers.html")
    assert result.status == 1, result.err
    healthy, broken = result.out.split("operator by operator, on 8 samples of ")[1:]
    assert "at fault" not in healthy
    assert broken.endswith("\n2 candidates: 1 passed, 1 failed; operator by operator: 1 passed, 1 failed\n")
    assert "first at fault: 1 Gemm first" in broken
    assert "1 Gemm first: its error of" in broken
    assert "in channel 2" in broken
    page = (tmp_path / "layers.html").read_text(encoding="utf-8")
    assert "same.onnx against a.onnx: passed" in page
    assert "other.onnx against a.onnx: FAILED" in page


def test_what_passes_ends_with_status_0_and_one_document(edgekd_command, models):
    reference, same, other = models
    result = edgekd_command("verify", reference, same, "--layers", "--json")
    assert result.status == 0, result.err
    found = LayeredVerification.model_validate_json(result.out)
    assert json.loads(result.out)["layers"][0]["rows"][1]["matched_by"] == "structure"
    (layers,) = found.layers
    assert (layers.reference, layers.candidate, layers.samples) == ("a.onnx", "same.onnx", 32)
    assert [row.kind for row in layers.rows] == ["input", "dense", "relu", "dense"]
    lenient = ["--max-abs", "100", "--min-sqnr-db", "-100"]  # the whole may pass where an operator does not
    result = edgekd_command("verify", reference, other, "--layers", "--json", *lenient)
    assert result.status == 1
    assert LayeredVerification.model_validate_json(result.out).verdicts[0]


def test_an_error_that_is_not_finite_is_a_failure_of_its_operator(edgekd_command, write):
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 5), (5, 3)))
    huge = first.copy()
    huge[2, 1] = 1e38  # whose square is none that a float32 can hold
    result = edgekd_command("verify", write("a.onnx", first, second), write("huge.onnx", huge, second), "--layers")
    assert (result.status, result.err) == (1, "")
    assert "1 Gemm first: what rounding explains is not finite" in result.out
    assert "1 candidate: 1 failed; operator by operator: 1 failed" in result.out


def test_what_was_verified_stands_where_operators_cannot_be_compared(edgekd_command, tmp_path):
    table = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    for name in ("a.onnx", "b.onnx"):
        graph = helper.make_graph(
            [helper.make_node("Gather", ["table", "places"], ["found"])],
            "network",
            [helper.make_tensor_value_info("places", TensorProto.INT32, ["batch", 2])],
            [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 2, 3])],
            [numpy_helper.from_array(table, "table")],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
    given = (tmp_path / "a.onnx", tmp_path / "b.onnx", "--seeded", "4", "--layers")
    result = edgekd_command("verify", *given)
    assert (result.status, result.err) == (3, "")
    assert "not compared operator by operator: an input of 'a.onnx' takes integers that stand for" in result.out
    assert result.out.endswith("\n1 candidate: 1 passed; operator by operator: 1 not compared\n")


def test_operators_with_weights_that_nothing_judges_are_named(models, monkeypatch):
    run = comparison.Bench.run

    def without_products(bench, pair):
        if pair.kind == "dense":
            raise EdgekdError("no engine runs it alone")
        return run(bench, pair)

    monkeypatch.setattr(comparison.Bench, "run", without_products)
    reference, same, _ = models
    found = compare_files(reference, same, [np.ones((4, 4), np.float32)], dataset="d", check=False)
    assert [row.passed for row in found.rows] == [True, None, True, None]
    assert (found.status, found.passed) == ("inconclusive", False)
    assert found.unjudged == ("Gemm first", "Gemm second")


def test_what_cannot_be_compared_so_is_refused(edgekd_command, models):
    result = edgekd_command("verify", *models, "--plot", "layers.html")
    assert result.status == 2
    assert "--plot draws what --layers finds" in result.err
    result = edgekd_command("verify", *models, "--layers", "--plot", "layers.png")
    assert result.status == 2
    assert "--plot writes an HTML page, and 'layers.png' does not end in .html" in result.err
    result = edgekd_command("verify", "--stages", "run", "--layers")
    assert result.status == 2
