"""Any pair of models, whatever library wrote them and whichever runtime runs them."""

import json
import shutil

import numpy as np
import onnx
import pytest

import edgekd
from edgekd.errors import ModelError, RecipeError, ShapeError, StorageError
from edgekd.teachers.runnable import open_runnable

pytestmark = pytest.mark.usefixtures("kept_children")

FLOATS = ["network.h5", "saved", "legacy.h5", "legacy.keras", "legacy.keras@tf_keras", "float32.tflite", "float32.onnx"]
INTEGERS = ["int8.tflite", "integers.tflite", "int8.onnx"]


def test_floats_of_every_kind_are_the_network_and_integers_nearly(kinds):
    names = [*FLOATS, "float16.tflite", *INTEGERS]
    found = edgekd.verify_models(kinds / "network.keras", [f"{kinds}/{name}" for name in names], seeded=16)
    assert found
    assert [model.arithmetic for model in found.models] == ["float32"] * 8 + ["float16"] + ["integer"] * 3
    assert [model.runtime for model in found.models] == [
        *["keras", "keras", "saved_model", "keras", "tf_keras", "tf_keras", "litert", "onnxruntime", "litert"],
        *["litert", "litert", "onnxruntime"],
    ]
    kinds_of_tolerance = {verdict.candidate: verdict.tolerance.kind for verdict in found.verdicts}
    assert list(kinds_of_tolerance.values()) == ["float"] * 8 + ["quantised"] * 3
    ratios = {comparison.candidate: comparison.outputs[0].sqnr_db for comparison in found.comparisons}
    assert all(20 < ratios[name] < 60 for name in INTEGERS)


def test_seeded_samples_come_from_the_range_that_an_integer_file_was_made_for(kinds):
    found = edgekd.verify_models(kinds / "network.keras", [kinds / "int8.tflite"], seeded=64)
    assert found.seeded
    (described,) = found.inputs
    # It was calibrated on images from 0 to 1.
    assert 0 <= described.low < 0.01
    assert 0.95 < described.high < 1.01
    assert described.origin == "what int8.tflite can represent"
    again = edgekd.verify_models(kinds / "float32.onnx", [kinds / "int8.onnx"], seeded=64)
    assert again.inputs[0].origin == "what int8.onnx can represent"
    assert again.inputs[0].high == described.high


def test_a_matrix_compares_every_pair_in_every_runtime(kinds):
    found = edgekd.verify_models(
        kinds / "int8.tflite", [kinds / "integers.tflite", kinds / "int8.onnx"], runtimes=["all"], matrix=True
    )
    assert found
    assert [model.runtime for model in found.models] == [
        *["litert", "litert_builtin", "tflite_micro"] * 2,
        *["onnxruntime", "onnxruntime_unoptimised"],
    ]
    assert len(found.pairs) == 8 * 7 // 2
    assert {verdict.tolerance.kind for verdict in found.verdicts} == {"integer"}
    exact = {(pair.reference, pair.candidate): pair.comparison.outputs[0].max_abs for pair in found.pairs}
    assert exact["int8.tflite@litert_builtin", "int8.tflite@tflite_micro"] == 0
    assert exact["int8.tflite@litert", "integers.tflite@litert"] == 0


def test_an_int8_file_with_another_scale_in_one_kernel_fails(kinds, tmp_path):
    from edgekd import flatbuffer

    model = flatbuffer.read((kinds / "integers.tflite").read_bytes())
    kernel = next(tensor for tensor in model.subgraphs[0].tensors if len(tensor.shape) == 4 and tensor.shape[1] == 3)
    kernel.quantization.scale = kernel.quantization.scale * np.float32(1.5)
    (tmp_path / "broken.tflite").write_bytes(flatbuffer.pack(model))
    found = edgekd.verify_models(kinds / "int8.tflite", [tmp_path / "broken.tflite"])
    assert found.status == "failed"
    assert "are off by more than 1 LSB" in found.verdicts[0].reason


@pytest.fixture
def altered(kinds, tmp_path):
    """Returns a function that writes int8.tflite with its record and its kernels changed, and its path."""
    from edgekd import flatbuffer

    def write(name, *, record=None, kernels=None):
        model = flatbuffer.read((kinds / "int8.tflite").read_bytes())
        (entry,) = [each for each in model.metadata if each.name == b"edgekd.provenance"]
        if record is None:
            model.metadata.remove(entry)
        else:
            text = record(bytes(model.buffers[entry.buffer].data))
            model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)
        changed = 0
        for tensor in model.subgraphs[0].tensors:
            values = model.buffers[tensor.buffer].data
            if (
                kernels is not None
                and values is not None
                and tensor.type == 9
                and tensor.quantization.scale is not None
            ):
                changed += 1
                integers = kernels(np.asarray(values).view(np.int8).astype(int), changed)
                model.buffers[tensor.buffer].data = np.clip(integers, -127, 127).astype(np.int8).view(np.uint8)
        assert changed == (0 if kernels is None else 2), "the convolution's and the dense layer's"
        (tmp_path / name).write_bytes(flatbuffer.pack(model))
        return tmp_path / name

    return write


def rounded_down(kernel, seed):
    return kernel - np.random.default_rng(seed).integers(0, 2, kernel.shape)


@pytest.mark.parametrize("reference", ["bare.tflite", "int8.tflite", "int8.onnx"])
def test_a_file_whose_weights_were_all_rounded_wrongly_fails(reference, kinds, altered):
    healthy = altered("bare.tflite")
    path = healthy if reference == "bare.tflite" else kinds / reference
    wrong = altered("wrong.tflite", kernels=rounded_down)
    found = edgekd.verify_models(path, [healthy, wrong], seeded=400)
    assert [pair.status for pair in found.pairs] == ["passed", "failed"]
    origin = found.pairs[1].verdicts[0].tolerance.origin
    assert "one network (100 % of the kernels' channels are the same within a step)" in origin


def test_a_file_of_other_weights_is_not_proven_by_its_noise(kinds, altered):
    def nearly(kernel, seed):
        return kernel + np.random.default_rng(seed).integers(-9, 10, kernel.shape)

    def of_others(record):
        document = json.loads(record)
        document["weights_sha256"] = "0" * 64
        return json.dumps(document).encode()

    others = [altered("bare.tflite", kernels=nearly), altered("recorded.tflite", record=of_others, kernels=nearly)]
    found = edgekd.verify_models(kinds / "int8.tflite", others, seeded=64)
    assert [pair.status for pair in found.pairs] == ["inconclusive"] * 2
    assert all(pair.comparison.outputs[0].sqnr_db > 10 for pair in found.pairs)
    reasons = [pair.verdicts[0].reason for pair in found.pairs]
    assert "% of the kernels' channels are the same within a step" in reasons[0]
    assert "made from other weights, as both files record" in reasons[1]
    assert edgekd.verify_models(kinds / "int8.tflite", others, seeded=64, expect="close")
    assert edgekd.verify_models(kinds / "float32.tflite", others, seeded=64).pairs[1].status == "inconclusive"


def test_labels_give_accuracy_and_its_interval(kinds):
    found = edgekd.verify_models(kinds / "network.keras", [kinds / "int8.onnx"], data=kinds / "data.npz")
    (comparison,) = found.comparisons
    assert found.labelled
    assert (found.dataset, comparison.samples) == ("data.npz", 32)
    assert comparison.reference_accuracy == 1  # the labels are what it says
    assert comparison.agreement.value >= 0.9
    assert [gate.name for gate in found.gates] == ["accuracy_drop", "agreement"]


def test_networks_in_memory_are_compared_too(kinds):
    import keras

    network = keras.saving.load_model(kinds / "network.keras")
    assert edgekd.verify_models(network, [kinds / "float32.tflite"], seeded=4)
    kernel = network.get_layer("logits").kernel
    kernel.assign(kernel * 1.001)
    changed = edgekd.verify_models(network, [kinds / "float32.tflite"], seeded=4)
    assert changed.status == "failed"


def test_a_state_is_reset_between_samples_in_every_runtime(programs):
    ways = [f"{programs}/state.tflite@{name}" for name in ("litert", "litert_builtin", "tflite_micro")]
    for every in (1, 4):
        found = edgekd.verify_models(ways[0], ways[1:], seeded=8, reset_every=every)
        assert found
        assert [model.stateful for model in found.models] == [True] * 3
    with open_runnable(ways[1]).runner as runner:
        ones = np.ones((1, 3), np.float32)
        first, second = runner.run([ones]), runner.run([ones])
        runner.reset()
        np.testing.assert_array_equal(
            [first, second, runner.run([ones])], np.array([1, 2, 1]).repeat(3).reshape(3, 1, 1, 3)
        )


def test_one_of_several_signatures_must_be_chosen(programs):
    with pytest.raises(ModelError, match=r"two\.tflite' has 2 signatures: choose one of one, other"):
        edgekd.verify_models(programs / "two.tflite", [programs / "two"])
    found = edgekd.verify_models(programs / "two.tflite", [programs / "two"], signature="one")
    assert found
    assert [each.name for each in found.inputs] == ["a", "x"]
    assert [verdict.output for verdict in found.verdicts] == ["b", "z"]
    assert edgekd.verify_models(programs / "two", [programs / "two.tflite"], signature="other")
    with pytest.raises(ModelError, match="unknown signature"):
        edgekd.verify_models(programs / "two.tflite", [programs / "two"], signature="on")


def test_inputs_are_paired_by_name_or_as_given(programs, tmp_path):
    """The ONNX model has its inputs in another order, and its second output first."""
    value, node, types = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto

    def write(name, x, a, z, b):
        graph = onnx.helper.make_graph(
            [
                node("Add", [x, x], ["twice"]),
                node("Add", ["twice", a], [z]),
                node("Add", [x, "one"], [b]),
            ],
            "g",
            [value(each, types.FLOAT, [1, 3]) for each in (x, a)],
            [value(each, types.FLOAT, [1, 3]) for each in (z, b)],
            [onnx.numpy_helper.from_array(np.float32([1, 1, 1]), "one")],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    same = write("same.onnx", "x", "a", "z", "b")
    found = edgekd.verify_models(programs / "two.tflite", [same], signature="one")
    assert found
    assert (found.models[1].inputs_by, found.pairs[0].outputs_by) == ("by name", "by name")
    other = write("other.onnx", "in0", "in1", "out0", "out1")
    wrong = edgekd.verify_models(programs / "two.tflite", [other], signature="one")
    assert wrong.status == "failed"
    assert (wrong.models[1].inputs_by, wrong.pairs[0].outputs_by) == ("by position", "by position")
    names = {"x": "in0", "a": "in1", "z": "out0", "b": "out1"}
    assert edgekd.verify_models(programs / "two.tflite", [other], signature="one", paired=names)
    for of in ({"x": "in0", "a": "in1"}, {"z": "out0", "b": "out1"}):  # inputs and outputs alike
        with pytest.raises(ModelError, match=r"unknown (input|output) of 'same\.onnx': '(in|out)[01]'"):
            edgekd.verify_models(programs / "two.tflite", [other, same], signature="one", paired=of)
    with pytest.raises(ModelError, match="unknown input or output of the candidates: 'in2'"):
        edgekd.verify_models(programs / "two.tflite", [other], signature="one", paired={**names, "x": "in2"})
    with pytest.raises(ShapeError, match=r"2 input\(s\) .* 1 \(x\)"):
        edgekd.verify_models(same, [f"{programs}/state.tflite"])


def test_models_that_hold_strings_are_refused(tmp_path, linear):
    value, node, types = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node("Identity", ["text"], ["same"])],
        "g",
        [value("text", types.STRING, [1])],
        [value("same", types.STRING, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "text.onnx")
    with pytest.raises(ModelError, match=r"'text' of 'text.onnx' is a tensor\(string\): only tensors of numbers"):
        edgekd.verify_models(tmp_path / "text.onnx", [linear("model.onnx", np.ones((3, 2)))])


def test_nan_from_a_file_is_a_failure_not_an_error(linear):
    good, bad = linear("good.onnx", np.ones((3, 2))), linear("bad.onnx", [[1, np.nan]] * 3)
    found = edgekd.verify_models(good, [bad])
    assert found.status == "failed"
    assert found.verdicts[0].reason == "64 of 128 values of 'bad.onnx' are NaN or infinite"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"reference": "absent.onnx"}, StorageError, "absent.onnx"),
        (
            {"reference": "network.keras@litert"},
            ModelError,
            "runtime 'litert' does not open .* there is keras, tf_keras",
        ),
        ({"reference": "float32.onnx@litert"}, ModelError, "runtime 'litert' opens .tflite files"),
        ({"reference": "float32.onnx@litret"}, ModelError, "unknown runtime 'litret'. Did you mean 'litert'"),
        ({"runtimes": ["litret"]}, ModelError, "unknown runtime 'litret'"),
        ({"reference": "data.npz"}, ModelError, "unknown model file suffix '.npz'"),
        ({"signature": "serve"}, RecipeError, "signature 'serve' was chosen, but no model is a TFLite file"),
        ({"candidates": []}, ShapeError, "at least one candidate"),
        ({"data": "data.npz", "seeded": 3}, RecipeError, "choose one of them"),
        ({"expect": "sam"}, RecipeError, "Did you mean 'same'"),
        ({"max_drop": 1}, RecipeError, "unknown limit 'max_drop'"),
        ({"shapes": {"image": (1, 8, 8, 2)}}, ShapeError, "cannot be"),
        ({"max_accuracy_drop": 0.0}, RecipeError, "needs labelled data, and 64 seeded samples"),
        ({"data": "data.npz", "ranges": {"image": (0, 1)}}, RecipeError, "are those of seeded samples"),
        ({"runtimes": ["litert"]}, RecipeError, "nothing would be run in it"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_do(kinds, change, error, message):
    arguments = {"reference": "network.keras", "candidates": ["float32.onnx"], **change}
    arguments["reference"] = f"{kinds}/{arguments['reference']}"
    arguments["candidates"] = [f"{kinds}/{name}" for name in arguments["candidates"]]
    with pytest.raises(error, match=message):
        edgekd.verify_models(**arguments)


def test_a_file_that_tflm_cannot_run_is_an_error_here(kinds, tmp_path):
    content = (kinds / "integers.tflite").read_bytes()
    shutil.copy(kinds / "integers.tflite", tmp_path / "good.tflite")
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cut"):
        edgekd.verify_models(tmp_path / "good.tflite", [f"{tmp_path}/cut.tflite@tflite_micro"])


def test_a_tflm_runner_tells_what_it_needs_and_can_be_closed(kinds):
    runner = open_runnable(f"{kinds}/integers.tflite@tflite_micro").runner
    with runner:
        assert runner.inputs[0].dtype == "int8"
        with pytest.raises(ShapeError, match=r"'image' .* received \[1, 8, 8, 2\]"):
            runner.run([np.zeros((1, 8, 8, 2), np.int8)])
    with pytest.raises(ModelError, match="is closed"):
        runner.run([np.zeros((1, 8, 8, 1), np.int8)])
