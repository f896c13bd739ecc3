"""What a check finds: every layer that somebody refuses, by the user's name for it, for what was asked and no more."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import architectures, portability
from edgekd.errors import ModelError, NonFiniteError, RecipeError
from edgekd.export import export_model
from edgekd.portability import targets
from edgekd.portability.owners import Owners
from edgekd.quantize import aware

EVERYONE = ("qat", "tflite", "onnx", "tflite-micro", "ethos-u55-128", "ethos-u65-256", "ethos-u85-256")


def nested_elu(x):
    inner = keras.Sequential([layers.Activation("elu", name="inner")], name="outer")
    return layers.Activation("gelu", name="soft")(inner(x))


@pytest.fixture(scope="module")
def clean(build):
    return build(lambda x: layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x)))


@pytest.fixture(scope="module")
def offender(build):
    return build(nested_elu)


@pytest.fixture(scope="module")
def offender_file(offender, tmp_path_factory):
    path = tmp_path_factory.mktemp("offender") / "offender.keras"
    architectures.save_model(offender, path)
    return path


@pytest.fixture(scope="module")
def int8_file(offender, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "small.tflite"
    export_model(
        offender,
        path,
        format="tflite",
        scheme="int8",
        name="small",
        source="small",
        calibration=np.random.default_rng(0).random((4, 8, 8, 3), np.float32),
        allow_float_operators=True,
    )
    return path


def about(check):
    return {(each.layer, each.operator, each.targets, each.schemes) for each in check.findings}


def test_nothing_is_found_in_a_network_that_everybody_carries(clean):
    check = portability.check_model(clean, targets=EVERYONE)
    assert check.findings == ()
    assert check.targets == EVERYONE
    assert check.notes == (
        "tflite-micro (int8): TFLM ran the file",
        "ethos-u55-128 (int8): 0 operators on the CPU, 1 parts on the NPU",
        "ethos-u65-256 (int8): 0 operators on the CPU, 1 parts on the NPU",
        "ethos-u85-256 (int8): 0 operators on the CPU, 1 parts on the NPU",
    )


def test_every_refused_layer_is_named_by_everyone_who_refuses_it(offender):
    check = portability.check_model(offender, targets=("qat", "tflite", "onnx", "tflite-micro", "ethos-u55-128"))
    assert about(check) == {
        ("outer.inner", "Activation", ("qat",), ()),
        ("soft", "Activation", ("qat",), ()),
        ("outer.inner", "ELU", ("tflite", "onnx", "tflite-micro"), ("int8",)),
        ("soft", "Erfc", ("onnx",), ("float32",)),
        ("soft", "TFL_GELU", ("onnx",), ("int8",)),
        ("soft", "GELU", ("tflite-micro",), ("int8",)),
        ("outer.inner", "ELU", ("ethos-u55-128",), ("int8",)),
    }
    (vela,) = [each for each in check.findings if each.targets == ("ethos-u55-128",)]
    assert "is computed by the CPU: Operation has tensor with unsupported DataType Float32" in vela.problem
    (trained, _) = [each for each in check.findings if each.targets == ("qat",)]
    assert trained.advice.endswith("or leave it in float with exclude: [outer.inner]")


def test_only_what_was_asked_is_looked_at(offender):
    assert portability.check_model(offender, targets=("tflite",), schemes=("float32", "dynamic_int4")).findings == ()
    excluded = portability.check_model(offender, targets=("qat",), exclude=("outer.inner", "soft"))
    assert excluded.findings == ()


def test_a_target_that_was_not_tried_is_not_among_those_that_nothing_keeps_it_from(clean):
    check = portability.check_model(clean, schemes=("float16",))
    assert (check.targets, check.findings) == (("qat", "tflite"), ())
    assert [note.partition(":")[0] for note in check.notes] == ["onnx", "tflite-micro"]


def test_operators_that_need_flex_are_named_all_at_once(build):
    def middle(x):
        x = layers.Resizing(8, 8, interpolation="bicubic", name="resize")(x)
        return keras.ops.tan(x)

    check = portability.check_model(build(middle), targets=("tflite", "tflite-micro"))
    found = {(each.layer, each.operator, each.output): each for each in check.findings}
    assert set(found) == {("resize", "ResizeBicubic", "resize/resize/ResizeBicubic"), (None, "Tan", "Tan")}
    for each in found.values():
        assert each.targets == ("tflite", "tflite-micro")
        assert each.schemes == ("float32", "int8")
        assert "(Flex, SELECT_TF_OPS)" in each.problem
    assert found[None, "Tan", "Tan"].subject == "Tan Tan"
    assert check.notes == ("tflite-micro (int8): not tried, since there is no file",)


def test_the_opset_that_has_an_operator_is_found(build):
    model = build(layers.Activation("hard_silu", name="act"))
    low = portability.check_model(model, targets=("onnx",), opset=13)
    (found,) = low.findings
    assert (found.layer, found.operator, found.schemes) == ("act", "HardSwish", ("int8",))
    assert found.problem == "ONNX opset 13 has no operator for it"
    assert found.advice == "set opset: 14"  # onnx.ai: HardSwish since version 14
    assert portability.check_model(model, targets=("onnx",), opset=14).findings == ()


def test_a_network_of_several_inputs_has_no_integers(build):
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = keras.Model([left, right], layers.Add(name="add")([left, right]))
    check = portability.check_model(model, targets=("qat", "tflite"))
    trained, converted = check.findings
    assert (trained.targets, trained.schemes) == (("qat",), ())
    assert (converted.targets, converted.schemes) == (("tflite",), ("int8",))
    for found in (trained, converted):
        assert "has 2 inputs" in found.problem


def test_what_is_no_keras_3_network_is_not_checked_for_training_unless_asked(build):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(np.zeros((1, 4), np.float32))
    (found,) = portability.check_model(model, targets=("qat",)).findings
    assert "only built functional and sequential networks" in found.problem


def test_a_file_is_checked_operator_by_operator(int8_file):
    check = portability.check_file(int8_file, targets=("tflite", "tflite-micro", "ethos-u55-128"))
    assert {(each.operator, each.layer, each.targets) for each in check.findings} == {
        ("GELU", None, ("tflite-micro",)),
        ("ELU", None, ("ethos-u55-128",)),
        ("QUANTIZE", None, ("ethos-u55-128",)),
        ("DEQUANTIZE", None, ("ethos-u55-128",)),
    }
    (edge,) = [each for each in check.findings if each.operator == "QUANTIZE"]
    assert edge.advice == "let the file take and give integers: input_dtype and output_dtype int8"
    with pytest.raises(RecipeError, match=r"target 'onnx' is for models, and 'small.tflite' has been exported already"):
        portability.check_file(int8_file, targets=("onnx",))


def test_the_layer_of_an_output_is_the_one_that_makes_it(clean):
    owners = Owners(clean)
    assert owners.of("logits").name == "classes"
    assert owners.of("stem/convolution1;norm/batchnorm").name == "stem"
    assert owners.of("elsewhere/Mul") is None


def test_targets_are_those_of_vela():
    said = subprocess.run([sys.executable, "-m", "ethosu.vela", "--help"], capture_output=True, text=True, check=True)
    listed = said.stdout.partition("--accelerator-config {")[2].partition("}")[0]
    assert set(listed.replace("\n", "").replace(" ", "").split(",")) == set(targets.ETHOS_U)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"targets": ("onnx",), "opset": 19}, RecipeError, "opset 19 cannot be written: choose 13 to 18"),
        ({"targets": ("tflite",), "opset": 13}, RecipeError, "opset is for target 'onnx'"),
        ({"targets": ("tflite",), "exclude": ("stem",)}, RecipeError, "exclude is for target 'qat'"),
        ({"targets": ("qat",), "exclude": ("stemm",)}, RecipeError, "layer to exclude 'stemm'. Did you mean 'stem'"),
        ({"targets": ("onnx",), "schemes": ("float16",)}, RecipeError, "'onnx' cannot carry scheme float16"),
        ({"targets": ("ethos-u55-128",), "schemes": ("float32",)}, RecipeError, "choose one of int16x8, int8"),
        ({"targets": ("tflite",), "schemes": ("int9",)}, RecipeError, "unknown scheme 'int9'"),
        ({"targets": ("tflight",)}, RecipeError, "unknown target 'tflight'"),
        ({"targets": ()}, RecipeError, "there is no target to check for"),
        ({"targets": ("tflite",), "schemes": ()}, RecipeError, "cannot carry"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, error, words, clean):
    with pytest.raises(error, match=words):
        portability.check_model(clean, **asked)


def test_an_open_size_is_refused_until_it_is_given(build):
    model = build(layers.ReLU(name="relu"), shape=(None, None, 3))
    with pytest.raises(ModelError, match=r"only the batch may vary. Fix the other sizes with shape"):
        portability.check_model(model, targets=("tflite",))
    assert portability.check_model(model, targets=("tflite",), shape=[8, 8, 3]).findings == ()


def test_weights_that_are_not_finite_are_refused(build):
    model = build(lambda x: x)
    model.layers[-1].set_weights([np.full((4, 3), np.nan, np.float32), np.zeros(3, np.float32)])
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        portability.check_model(model, targets=("tflite",))


def test_an_int8_network_is_checked_as_int8_and_not_for_training(clean):
    samples = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    network = aware.quantize_aware(clean, samples)
    check = portability.check_model(network, targets=("tflite", "onnx"))
    assert check.findings == ()
    assert portability.default_targets(network) == ("tflite", "onnx", "tflite-micro")
    with pytest.raises(RecipeError, match="fake-quantised to int8 already"):
        portability.check_model(network, targets=("qat",))
    with pytest.raises(RecipeError, match="cannot become float16"):
        portability.check_model(network, targets=("tflite",), schemes=("float16",))


def test_without_vela_nothing_passes(clean, monkeypatch):
    monkeypatch.setitem(sys.modules, "ethosu", None)
    with pytest.raises(ModelError, match=r"ethos-u-vela.* is not installed: pip install 'edgekd\[microcontroller\]'"):
        portability.check_model(clean, targets=("ethos-u55-128",))


def test_the_command_prints_a_table_and_ends_with_one_where_something_is_found(offender_file, edgekd_command):
    done = edgekd_command("export", offender_file, "--check", "--target", "qat,onnx", "--scheme", "float32")
    assert done.status == 1
    assert "outer.inner (Activation)" in done.out
    assert "exclude: [outer.inner]" in " ".join(done.out.split())
    assert "onnx (float32)" in done.out
    assert done.out.rstrip().endswith("small for qat, onnx: 3 problems")
    assert [each.name for each in offender_file.parent.iterdir()] == [offender_file.name]


def test_the_command_prints_one_json_document_and_ends_with_zero_where_nothing_is_found(offender_file, edgekd_command):
    done = edgekd_command("export", offender_file, "--check", "--target", "tflite", "--scheme", "float32", "--json")
    assert done.status == 0
    document = json.loads(done.out)
    assert document["schema_version"] == 1
    assert document["findings"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--check", "--out", "elsewhere"), "--out cannot be combined with --check"),
        (("--opset", "13"), "--opset is for ONNX files: add --format onnx"),
        (("--check", "--target", "onnx", "--opset", "12"), "opset 12 cannot be written: choose 13 to 18"),
    ],
)
def test_the_command_refuses_what_does_not_go_together(arguments, words, offender_file, edgekd_command):
    done = edgekd_command("export", offender_file, *arguments)
    assert done.status == 2
    assert words in done.err


def test_the_command_says_of_an_exported_file_what_can_be_done_with_it(int8_file, tmp_path, edgekd_command):
    done = edgekd_command("export", int8_file)
    assert done.status == 2
    assert "has been exported already" in done.err
    checked = edgekd_command("export", int8_file, "--check", "--target", "tflite")
    assert checked.status == 0
    assert "small.tflite for tflite: nothing stands in the way" in checked.out
