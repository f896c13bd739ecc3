"""Other schemes for some layers of a TFLite file, as LiteRT computes them."""

import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from edgekd import flatbuffer, quantize, recipe
from edgekd.errors import ModelError, RecipeError
from edgekd.export import export_model
from edgekd.runtime import open_runner, predict
from edgekd.verify import metrics

TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="stem_conv")(inputs)
    x = layers.ReLU(name="stem")(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(12, 1, activation="elu", name="body")(x))
    return keras.Model(inputs, layers.Dense(5, name="classifier")(x), name="network")


def exported(network, images, path, **options):
    options = {"scheme": "int8", "calibration": images, **options}
    return export_model(network, path, format="tflite", name="file", source="network", **options)


def products(path):
    """Returns the types of input, weights and output of each operator with weights."""
    model = flatbuffer.read(path.read_bytes())
    graph = model.subgraphs[0]
    return [
        tuple(TYPES[graph.tensors[index].type] for index in (*operator.inputs[:2], operator.outputs[0]))
        for operator in graph.operators
        if flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
        in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]


def rounded(kernel, bits):
    """Returns a kernel rounded by hand: symmetric, with a scale for each output channel, the last axis."""
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / (2 ** (bits - 1) - 1)
    return np.round(kernel / scale) * scale


def test_only_the_weights_of_the_named_layer_are_rounded(network, images, tmp_path):
    path = tmp_path / "file.tflite"
    artifact = exported(
        network, images, path, scheme="float32", calibration=None, layers={"classifier": "weight_only_int8"}
    )
    assert artifact.scheme == "float32, classifier: weight_only_int8"
    by_hand = keras.models.clone_model(network)
    by_hand.set_weights(network.get_weights())
    kernel, bias = by_hand.get_layer("classifier").get_weights()
    by_hand.get_layer("classifier").set_weights([rounded(kernel, 8), bias])
    with open_runner(path, check=False) as runner:
        outputs = predict(runner, images)
    assert outputs == pytest.approx(by_hand(images).numpy(), abs=1e-6)
    assert np.abs(outputs - network(images).numpy()).max() > 1e-5


def test_a_layer_in_float_stands_between_integers(network, images, tmp_path):
    path = tmp_path / "file.tflite"
    artifact = exported(network, images, path, layers={"body": "float32", "depth*": "int16x8", "stem": "int8x4"})
    assert products(path) == [
        ("INT8", "INT4", "INT8"),
        ("INT16", "INT8", "INT16"),
        ("FLOAT32", "FLOAT32", "FLOAT32"),
        ("INT8", "INT8", "INT8"),
    ]
    assert any(operator.startswith("ELU body") for operator in artifact.float_operators)
    with open_runner(path, check=False) as runner:
        outputs = predict(runner, images)
    assert 10 < metrics.sqnr_db(network(images).numpy(), outputs) < 40
    again = exported(
        network, images, tmp_path / "again.tflite", layers={"stem": "int8x4", "depth*": "int16x8", "body": "float32"}
    )
    assert again.sha256 == artifact.sha256


def test_four_bits_in_one_layer_are_the_noise_of_that_layer(network, images, tmp_path):
    reference = network(images).numpy()

    def noise(name, chosen):
        path = tmp_path / f"{name}.tflite"
        exported(network, images, path, scheme="dynamic_int8", calibration=None, layers=chosen)
        with open_runner(path, check=False) as runner:
            return metrics.sqnr_db(reference, predict(runner, images))

    assert noise("four", {"classifier": "dynamic_int4"}) < 25 < noise("float", {"classifier": "float32"})


def test_a_nested_layer_is_named_after_its_network(images, tmp_path):
    inner_input = keras.Input((8, 8, 3))
    inner = keras.Model(inner_input, layers.Conv2D(4, 3, name="conv")(inner_input), name="inner")
    inputs = keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    path = tmp_path / "file.tflite"
    exported(model, images, path, scheme="weight_only_int8", calibration=None, layers={"inner/conv": "dynamic_int8"})
    assert [each[1] for each in products(path)] == ["INT8", "FLOAT32", "FLOAT32"]  # dequantised where only stored


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"layers": {"clasifier": "float32"}}, RecipeError, "Did you mean 'classifier'"),
        ({"layers": {"stem": "float32", "stem_conv": "int8x4"}}, RecipeError, "two schemes, by 'stem' and by 'stem_co"),
        ({"layers": {"stem": "int9"}}, RecipeError, "unknown scheme 'int9'"),
        ({"layers": {"stem": "float16"}}, RecipeError, "scheme 'float16' cannot stand beside others"),
        ({"layers": {"stem": "float32"}, "scheme": "float16"}, RecipeError, "'float16' cannot stand beside others"),
        ({"layers": {}}, RecipeError, "expected schemes by layer names"),
        ({"layers": ["stem"]}, RecipeError, "expected schemes by layer names"),
        ({"layers": {"stem": "float32"}, "input_dtype": "int8"}, RecipeError, "takes and gives float32"),
        ({"layers": {"stem": "float32"}}, ModelError, "no kernel of the integer scheme .* ELU body"),
        ({"layers": {"stem": "int8"}, "calibration": None}, Exception, "calibration samples are missing"),
    ],
)
def test_layers_that_cannot_be_are_refused_and_nothing_written(network, images, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        exported(network, images, tmp_path / "file.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_a_fake_quantised_network_keeps_its_one_scheme(network, images, tmp_path):
    int8 = quantize.aware.quantize_aware(network, images, exclude=["body"])
    with pytest.raises(RecipeError, match="fake-quantised to int8 throughout"):
        exported(int8, images, tmp_path / "file.tflite", layers={"stem": "float32"})


def test_a_recipe_gives_layers_schemes_and_its_files_names_of_their_own():
    def document(**export):
        student = {"architecture": "resnet"}
        return {"teacher": student, "student": student, "quantize": {}, "export": [{"format": "tflite", **export}]}

    chosen = recipe.from_document(
        {
            **document(),
            "export": [
                {"format": "tflite", "scheme": "int8"},
                {"format": "tflite", "scheme": "int8", "layers": {"stage3*": "int8x4", "logits": "float32"}},
            ],
        }
    )
    plain, mixed = chosen.export
    assert (plain.file_name, mixed.file_name) == (
        "student-int8.tflite",
        "student-int8-logits_float32-stage3__int8x4.tflite",
    )
    assert [chosen.comes_from_quantize(each) for each in chosen.export] == [True, False]
    with pytest.raises(RecipeError, match="unknown scheme 'float31'"):
        recipe.from_document(document(scheme="int8", layers={"logits": "float31"}))
    with pytest.raises(RecipeError, match="layers"):
        recipe.from_document({**document(), "export": [{"format": "onnx", "scheme": "int8", "layers": {"a": "int8"}}]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layer", "logits"), "'logits' is not of the form PATTERN=SCHEME"),
        (("--layer", "logits=int8", "--layer", "logits=float32"), "each pattern once"),
        (("--layer", "logits=int8"), "scheme float32, logits: int8 needs --dataset"),
        (("--layer", "logits=int8", "--format", "onnx"), "layers"),
    ],
)
def test_the_command_line_takes_one_scheme_for_each_pattern(edgekd_command, tmp_path, options, words):
    with zipfile.ZipFile(tmp_path / "some.keras", "w") as archive:  # read no further than the options are
        archive.writestr("config.json", "{}")
    done = edgekd_command("export", tmp_path / "some.keras", *options)
    assert done.status == 2
    assert words in done.err
