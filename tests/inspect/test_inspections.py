"""What an inspection says of a file is what was built, counted by hand."""

import functools
import hashlib

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer
from edgekd.errors import ModelError, StorageError
from edgekd.inspect import inspect_model

pytestmark = pytest.mark.usefixtures("kept_children")

# 8x8 positions: stem 3x3 of 3 channels, convolution 3x3 of 16, depthwise 3x3, each into 16 channels; a dense of 16x5.
MACS = 64 * 16 * 27 + 64 * 16 * 144 + 64 * 16 * 9 + 80
WEIGHTS = {"stem": 27 * 16 + 16, "conv": 144 * 16 + 16, "depthwise": 9 * 16 + 16, "logits": 16 * 5 + 5}
EVERY = ["network.keras", "float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"]
MAP = 8 * 8 * 16 * 4  # bytes of one float32 feature map


@functools.cache
def inspected(path):
    """Files that this session made itself need no child process."""
    return inspect_model(path, check=False)


def counts(found):
    return {each.operator: each.count for each in found.operators}


@pytest.mark.parametrize("name", EVERY)
def test_every_format_has_the_macs_size_and_hash(name, files):
    found = inspected(files / name)
    content = (files / name).read_bytes()
    assert found.macs == MACS
    assert found.macs_note is None
    assert (found.size_bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert found.schema_version == 2
    if not name.endswith(".keras"):
        assert found == inspect_model(files / name), "as read in a child process"
    assert (found.name, found.format) == (name, name.partition(".")[2])


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_transposed_and_grouped_convolutions_and_products_are_counted(suffix, files):
    # 5x5x2 images spread by 3x3 kernels into 4 channels; 10x10x8 results of 3x3 over 2 channels; 100 rows of 8 by 3.
    found = inspected(files / f"further.{suffix}")
    assert found.macs == 25 * 2 * 9 * 4 + 800 * 18 + 100 * 8 * 3
    assert sorted(each.macs for each in found.operators if each.macs) == [1800, 2400, 14400]


def test_a_tflite_file_has_its_operators_with_their_shares(files):
    found = inspected(files / "float32.tflite")
    assert counts(found) == {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "ADD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    assert {each.operator: each.macs for each in found.operators} == {
        "CONV_2D": 64 * 16 * (27 + 144),
        "DEPTHWISE_CONV_2D": 64 * 16 * 9,
        "ADD": 0,
        "MEAN": 0,
        "FULLY_CONNECTED": 80,
    }
    (signature,) = found.signatures
    assert (signature.name, signature.inputs, list(signature.outputs)) == (
        "serving_default",
        {"image": found.inputs[0].name},
        ["logits"],
    )
    assert found.inputs[0].shape == (None, 8, 8, 3)
    assert found.format_version == "TFLite schema 3"


def test_memory_follows_the_lifetimes_of_a_residual_block(files):
    # Image, four feature maps, 16 means and 5 logits; the shortcut lives beside two maps.
    found = inspected(files / "float32.tflite").memory
    assert found.activations_bytes == 8 * 8 * 3 * 4 + 4 * MAP + 16 * 4 + 5 * 4
    assert found.peak_bytes == 3 * MAP
    # stem, conv, depthwise, add, mean, dense: what each reads and makes, and the stem's map until it is added
    live = [8 * 8 * 3 * 4 + MAP, 2 * MAP, 3 * MAP, 3 * MAP, MAP + 64, 64 + 20]
    assert list(found.live_bytes) == live
    assert found.peak_operator == live.index(3 * MAP)
    assert "operators in file order" in found.method


def test_weights_are_counted_in_bytes(files):
    float_bytes = 4 * sum(WEIGHTS.values())
    assert inspected(files / "network.keras").weights_bytes == float_bytes
    assert inspected(files / "network.keras").parameters == sum(WEIGHTS.values())
    assert inspected(files / "float32.onnx").weights_bytes == pytest.approx(float_bytes, rel=0.02)
    found = inspected(files / "float32.tflite")
    axes = 8  # the two axes of the mean, as int32
    assert found.weights_bytes == float_bytes + axes
    # int8 kernels and int32 biases
    kernels = sum(WEIGHTS.values()) - 16 * 3 - 5
    assert inspected(files / "int8.tflite").weights_bytes == kernels + 4 * (16 * 3 + 5) + axes


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx"])
def test_quantised_kernels_have_one_scale_for_each_channel(name, files):
    found = inspected(files / name)
    kernels = [
        each for each in found.tensors if each.dtype == "int8" and each.role == "constant" and len(each.shape) == 4
    ]
    assert len(kernels) == 3
    for kernel in kernels:
        assert kernel.quantisation.granularity == "per_channel"
        assert len(kernel.quantisation.scales) == kernel.shape[kernel.quantisation.axis] == 16
        assert set(kernel.quantisation.zero_points) == {0}
        assert kernel.size_bytes == np.prod(kernel.shape)


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx"])
def test_a_quantised_input_has_the_scale_that_the_samples_gave_it(name, files):
    (source,) = inspected(files / name).inputs
    assert source.dtype == "int8"
    assert source.scale == pytest.approx(1 / 255, rel=2e-3)  # samples in [0, 1)
    assert source.zero_point == -128
    (target,) = inspected(files / name).outputs
    assert (target.dtype, target.scale, target.zero_point) == ("float32", None, None)


@pytest.mark.parametrize("name", ["float32.tflite", "int8.onnx"])
def test_the_file_tells_where_it_comes_from(name, files):
    found = inspected(files / name)
    assert found.provenance.source == "student_distilled"
    assert found.provenance.recipe_sha256 == "ab" * 32
    assert found.provenance.validation_accuracy == 0.875
    assert "edgekd.provenance" in found.metadata
    assert found.metadata_bytes == sum(found.metadata.values())


def test_a_file_of_others_has_no_provenance(files, tmp_path):
    model = onnx.load(files / "float32.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    assert inspect_model(tmp_path / "other.onnx").provenance is None


def test_layers_of_a_keras_file_are_its_operators(files):
    found = inspected(files / "network.keras")
    assert counts(found) == {
        "Conv2D": 2,
        "DepthwiseConv2D": 1,
        "Add": 1,
        "GlobalAveragePooling2D": 1,
        "Dense": 1,
    }
    assert found.memory is None
    assert {each.name for each in found.tensors} >= {"stem/kernel", "logits/bias"}


def changed(source, target, change):
    model = flatbuffer.read(source.read_bytes())
    change(model)
    target.write_bytes(flatbuffer.pack(model))
    return target


def test_operators_that_nothing_here_can_run_are_shown_and_not_taken_to_be_free(files, tmp_path):
    def own_operator(model):
        code = next(
            each for each in model.operatorCodes if each.builtinCode == schema.BuiltinOperator.DEPTHWISE_CONV_2D
        )
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"MyOwnOperator"

    found = inspect_model(changed(files / "float32.tflite", tmp_path / "own.tflite", own_operator))
    assert counts(found)["MyOwnOperator"] == 1
    assert found.macs is None
    assert found.macs_note == "the arithmetic of MyOwnOperator is not known"


def test_an_onnx_operator_of_another_domain_is_not_taken_to_be_free(files, tmp_path):
    model = onnx.load(files / "float32.onnx")
    next(node for node in model.graph.node if node.op_type == "Relu").domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "own.onnx")
    found = inspect_model(tmp_path / "own.onnx")
    assert counts(found)["com.example.Relu"] == 1
    assert found.macs is None
    assert found.macs_note.startswith("the arithmetic of ")


@pytest.mark.parametrize("name", ["float32.tflite", "float32.onnx"])
@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_a_truncated_file_is_an_error(name, kept, files, tmp_path):
    content = (files / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError, match="float32"):
        inspect_model(tmp_path / name)


@pytest.mark.parametrize("name", ["int8.tflite", "float32.onnx"])
@pytest.mark.parametrize("seed", range(2))
def test_flipped_bytes_are_shown_or_refused(name, seed, files, tmp_path):
    rng = np.random.default_rng(seed)
    content = np.frombuffer((files / name).read_bytes(), np.uint8).copy()
    content[rng.integers(8, 900, 40)] = rng.integers(0, 256, 40)
    (tmp_path / name).write_bytes(content.tobytes())
    try:
        found = inspect_model(tmp_path / name)
    except ModelError as error:
        assert name in str(error)  # noqa: PT017 - a file that can still be read is as good
    else:
        assert found.size_bytes == len(content)


def test_metadata_that_is_no_text_is_an_error(files, tmp_path):
    content = (files / "float32.onnx").read_bytes()
    assert content.count(b"student_distilled") == 1
    (tmp_path / "m.onnx").write_bytes(content.replace(b"student_distilled", b"\xff\xfe\xfddent_distilled"))
    with pytest.raises(ModelError, match=r"m\.onnx"):
        inspect_model(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx", "m.keras"])
@pytest.mark.parametrize("content", [b"", b"not a model at all, only some text"], ids=["empty", "text"])
def test_a_file_that_is_no_model_is_an_error(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        inspect_model(tmp_path / name)


def test_a_buffer_that_does_not_exist_is_an_error(files, tmp_path):
    def lose_a_buffer(model):
        model.subgraphs[0].tensors[2].buffer = 10_000

    path = changed(files / "float32.tflite", tmp_path / "m.tflite", lose_a_buffer)
    with pytest.raises(ModelError, match=r"m\.tflite.* is damaged"):
        inspect_model(path)


def test_damaged_provenance_is_named(files, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(flatbuffer.with_metadata((files / "float32.tflite").read_bytes(), "edgekd.provenance", b"[1]"))
    with pytest.raises(ModelError, match=r"'m\.tflite' has damaged 'edgekd\.provenance' metadata"):
        inspect_model(path)


def test_an_unknown_suffix_or_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"unknown model file suffix '\.txt'.*\.keras, \.onnx, \.tflite"):
        inspect_model(tmp_path / "m.txt")
    with pytest.raises(StorageError, match="does not exist"):
        inspect_model(tmp_path / "m.onnx")
