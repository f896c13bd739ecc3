"""What a comparison operator by operator finds in real files."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd import flatbuffer
from edgekd.architectures import load_model
from edgekd.errors import ModelError, ShapeError
from edgekd.runtime.layers._qoperators import written_out
from edgekd.verify.layers import LayerComparison, compare_files
from edgekd.verify.layers.tolerances import rounding_rms


def test_names_say_nothing(compared, changed):
    def nameless(model):
        for number, tensor in enumerate(model.subgraphs[0].tensors):
            tensor.name = b"t%d" % (97 * number % 101)

    def renamed(model):
        known = {name: f"t{97 * at % 1009}" for at, name in enumerate(
            dict.fromkeys(name for node in model.graph.node for name in node.output)
        )}  # fmt: skip
        for node in model.graph.node:
            node.input[:] = [known.get(name, name) for name in node.input]
            node.output[:] = [known[name] for name in node.output]
            node.name = ""
        for each in model.graph.output:
            each.name = known[each.name]

    found = compared(changed("int8.tflite", nameless), changed("float32.onnx", renamed))
    assert found.passed
    assert len(found.rows) >= 12
    assert found.unmatched_reference == found.unmatched_candidate == ()


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        ("aware.keras", "aware.int8.tflite"),
        ("float32.onnx", "qdq.onnx"),
        ("float32.onnx", "qoperator.onnx"),
        ("network.keras", "qoperator.onnx"),
    ],
)
def test_fake_quantised_networks_and_other_quantisers_files_are_understood(compared, reference, candidate):
    found = compared(reference, candidate)
    assert found.passed, [row.reason for row in found.rows if row.reason]
    assert found.unmatched_reference == found.unmatched_candidate == ()
    assert len(found.rows) == 12, "the input and eleven operators with what belongs to them"
    assert all(row.local is not None for row in found.rows)
    assert {row.matched_by for row in found.rows[1:]} == {"structure"}


def test_what_rounds_to_the_range_after_it_is_allowed_the_steps_of_that_range(compared, files):
    found = compared("aware.keras", "aware.int8.onnx")
    assert found.passed, [row.reason for row in found.rows if row.reason]
    assert found.unmatched_reference == found.unmatched_candidate == ()
    # The convolution's sums are rounded to the range after the ReLU, which is another operator of the ONNX file.
    rounding = load_model(files / "aware.keras").get_layer("joined_range")
    step = (float(rounding.maximum) - float(rounding.minimum)) / 255
    (row,) = [row for row in found.rows if row.reference_tensor == "depthwise_kernel"]
    assert 2 * step / np.sqrt(12) < row.limit < 1.2 * 2 * step / np.sqrt(12), "weights explain the rest"


def test_a_fake_quantised_network_is_its_file_step_by_step(compared):
    found = compared("aware.keras", "aware.int8.tflite")
    assert all(row.local.rms_lsb < rounding_rms(1.0) / 2 for row in found.rows if row.kind != "mean")
    plain = compared("network.keras", "aware.int8.tflite")
    assert max(row.local.rms_lsb for row in plain.rows) > rounding_rms(1.0) / 2, "which plain networks are not"


@pytest.mark.parametrize("name", ["qdq.onnx", "qoperator.onnx"])
@pytest.mark.parametrize(("layer", "part"), [("second", "W_scale"), ("third", "B_quantized")])
def test_the_operator_at_fault_is_named_in_other_quantisers_files(compared, changed, name, layer, part):
    def spoil(model):
        constants = {each.name: each for each in model.graph.initializer}
        constant = f"{layer}/BiasAdd.{part}"
        values = numpy_helper.to_array(constants[constant])
        worse = values * np.asarray([1, 1, 2, 1] if part == "W_scale" else 0)
        constants[constant].CopyFrom(numpy_helper.from_array(worse.astype(values.dtype), constant))

    found = compared("float32.onnx", changed(name, spoil))
    assert not found.passed
    assert layer in found.rows[found.first].candidate_tensor


def test_a_fused_operator_that_is_not_known_is_refused(files):
    model = onnx.load(files / "qoperator.onnx")
    (node,) = [each for each in model.graph.node if each.op_type == "QLinearLeakyRelu"]
    node.op_type = "QLinearWhere"
    with pytest.raises(ModelError, match=r"'a\.onnx' has the operator QLinearWhere, which cannot be .* QDQ form"):
        written_out(model, "a.onnx")


def test_later_operators_carry_the_error_on_but_are_not_blamed(compared, changed):
    def bias_off(model):
        (name,) = [each.input[2] for each in model.graph.node if each.output[0].startswith("second/BiasAdd")]
        (found,) = [each for each in model.graph.initializer if each.name == name]
        found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) + np.float32(0.5), name))

    found = compared("float32.onnx", changed("float32.onnx", bias_off))
    at = found.first
    before, after = found.rows[:at], found.rows[at + 1 :]
    assert all(row.cumulative.max_abs < 1e-6 for row in before)
    assert after
    assert all(row.cumulative.relative_l2 > 0.01 and row.local.relative_l2 < 1e-6 for row in after)
    assert found.rows[at].local.max_abs == pytest.approx(0.5, rel=1e-5)
    assert found.ranking[0] == at


def test_healthy_rounding_is_about_a_step_by_the_root_of_twelve(compared):
    found = compared("float32.tflite", "int8.tflite")
    row = next(row for row in found.rows if row.kind == "subtract")
    assert row.candidate_dtype == "int8"
    held = compared("float32.tflite", "int8.tflite").rows
    assert [row.kind for row in held] == [row.kind for row in found.rows]  # the same again
    leaky = next(row for row in found.rows if row.kind == "leaky_relu")
    assert leaky.local.rms_lsb == pytest.approx(rounding_rms(1.0), rel=0.05)
    assert leaky.limit == pytest.approx(2 * leaky.local.rms / leaky.local.rms_lsb * rounding_rms(1.0), rel=0.01)


def test_layouts_are_stated(compared):
    found = compared("network.keras", "float32.onnx")
    layouts = {row.kind: (row.layout, row.layout_by) for row in found.rows}
    assert layouts["conv"] == ("channels moved last", "shape")
    assert layouts["pool_max"] == ("channels moved last", "others")  # 4 by 4 by 4
    assert layouts["dense"] == ("same", "shape")


def test_the_record_is_one_json_document(compared):
    found = compared("float32.tflite", "int8.onnx")
    assert LayerComparison.model_validate_json(found.model_dump_json()) == found


def test_nothing_in_common_is_a_failure(tmp_path, files, images):
    def write(name, operator):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node(operator, ["x"], ["y"])],
            name,
            [value("x", TensorProto.FLOAT, [1, 4])],
            [value("y", TensorProto.FLOAT, [1, 4])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    paths = write("a.onnx", "Softmax"), write("b.onnx", "Floor")
    found = compare_files(*paths, [np.random.default_rng(0).random((4, 4), np.float32)], dataset="d", check=False)
    assert not found.passed
    assert [row.kind for row in found.rows] == ["input"]
    assert (found.unmatched_reference, found.unmatched_candidate) == (("Softmax y",), ("Floor y",))


def test_values_that_are_no_numbers_are_a_failure(compared, changed):
    def broken(model):
        (name,) = [node.input[2] for node in model.graph.node if node.output[0].startswith("third/")]
        (found,) = [each for each in model.graph.initializer if each.name == name]
        found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) * np.nan, name))

    found = compared("float32.tflite", changed("float32.onnx", broken))
    assert "NaN" in found.rows[found.first].reason
    assert "third" in found.rows[found.first].reference_tensor


def test_values_that_a_tensor_cannot_hold_are_a_failure(compared, changed):
    def narrower(model):
        graph = model.subgraphs[0]
        (found,) = [each for each in graph.tensors if each.name.startswith(b"leaky/")]
        found.quantization.scale = found.quantization.scale * np.float32(0.5)

    found = compared("float32.tflite", changed("int8.tflite", narrower))
    row = found.rows[found.first]
    assert row.kind == "leaky_relu"
    assert row.saturated > 0.1
    assert row.reason.endswith("of the values lie beyond what its output can hold")


def test_tensors_without_a_declared_shape_get_the_one_that_they_have(compared, changed):
    def shapeless(model):
        subgraph = model.subgraphs[0]
        ends = {*subgraph.inputs, *subgraph.outputs}
        for index, tensor in enumerate(subgraph.tensors):
            if index not in ends and model.buffers[tensor.buffer].data is None:
                tensor.shape = tensor.shapeSignature = None

    found = compared("float32.onnx", changed("float32.tflite", shapeless))
    assert found.passed
    assert all(row.local is not None for row in found.rows)


def test_samples_that_do_not_fit_are_refused(compared, files):
    with pytest.raises(ShapeError, match=r"takes samples of shape \[8, 8, 1\], received \[9, 9, 1\]"):
        compared("float32.tflite", "float32.onnx", [np.zeros((4, 9, 9, 1), np.float32)])
    with pytest.raises(ShapeError, match="at least 1 samples"):
        compared("float32.tflite", "float32.onnx", [np.zeros((0, 8, 8, 1), np.float32)])
    with pytest.raises(ModelError, match="has 1 inputs"):
        compared("float32.tflite", "float32.onnx", [np.zeros((4, 8, 8, 1), np.float32)] * 2)


def test_files_run_in_a_child_process(files, images, tmp_path):
    found = compare_files(files / "float32.tflite", files / "int8.onnx", [images[:8]], dataset="random")
    assert found.passed
    content = (files / "float32.onnx").read_bytes()
    (tmp_path / "damaged.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"damaged\.onnx"):
        compare_files(tmp_path / "damaged.onnx", files / "int8.onnx", [images[:8]], dataset="random")


def test_a_file_of_several_subgraphs_is_refused(files, changed, compared):
    def twice(model):
        model.subgraphs = model.subgraphs * 2

    with pytest.raises(ModelError, match="has 2 subgraphs: only files of one"):
        compared("float32.onnx", changed("float32.tflite", twice))


def test_the_file_is_what_the_parts_are_cut_from(files):
    """A part of one operator, packed and run alone, is what the whole file computes there."""
    from edgekd.runtime.layers import open_layers

    model = open_layers(files / "int8.tflite")
    samples = np.random.default_rng(0).random((3, 1, 8, 8, 1), np.float32)
    values = model.values([samples])
    assert len(model.graph.operators) == len(
        flatbuffer.read((files / "int8.tflite").read_bytes()).subgraphs[0].operators
    )
    for operator in model.graph.operators:
        (output,) = operator.outputs
        found = model.part({key: values[key] for key in operator.inputs}, output)
        assert np.array_equal(found, values[output])


def test_several_inputs_are_paired_by_name(tmp_path):
    def write(name, first, second):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("Tanh", ["d"], ["y"])],
            name,
            [value(each, TensorProto.FLOAT, [1, 4]) for each in (first, second)],
            [value("y", TensorProto.FLOAT, [1, 4])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    paths = write("ab.onnx", "a", "b"), write("ba.onnx", "b", "a")
    arrays = [np.full((3, 4), 0.25, np.float32), np.full((3, 4), 0.75, np.float32)]
    for names in (("a", "b"), ("b", "a"), None):
        found = compare_files(*paths, arrays, dataset="d", input_names=names, check=False)
        assert found.passed
        assert found.inputs_by == "name"
        assert {row.reference_tensor: row.candidate_tensor for row in found.rows} == {each: each for each in "abdy"}


def test_the_plot_is_one_page_that_needs_no_network(compared, changed, tmp_path):
    from edgekd.verify.layers.plot import figure, write_plot

    def weaker(model):
        (found,) = [each for each in model.graph.node if each.op_type == "LeakyRelu"]
        found.attribute[0].f = 0.6

    found = compared("float32.onnx", changed("float32.onnx", weaker))
    write_plot((found, found), tmp_path / "layers.html")
    page = (tmp_path / "layers.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 2
    assert "FAILED" in page
    assert 'src="http' not in page
    bars, local, cumulative = figure(found)["data"]
    assert bars["y"][found.first] == pytest.approx(found.rows[found.first].excess)
    assert [colour == "#dc2626" for colour in bars["marker"]["color"]] == [row.passed is False for row in found.rows]
    assert local["y"][found.first] == pytest.approx(cumulative["y"][found.first], rel=1e-3)
