"""Rescaling and normalisation inside the graph, outside it, or folded away: the file's outputs are the network's."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import flatbuffer, provenance
from edgekd.errors import ModelError, RecipeError, ShapeError
from edgekd.export import _preprocessing, check_preprocessing, export_model
from edgekd.inspect import inspect_model
from edgekd.quantize import aware
from edgekd.quantize.byte_range import byte_step
from edgekd.records import Preprocessing
from edgekd.runtime import open_runner, predict
from edgekd.runtime.layers import open_layers
from edgekd.runtime.preprocessing import from_metadata, preprocessed, raw_range
from edgekd.verify.tolerances import float_tolerance

pytestmark = pytest.mark.usefixtures("kept_children")

MEAN, VARIANCE = [120.0, 110.0, 100.0], [3000.0, 2500.0, 4000.0]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (32, 6, 6, 3)).astype(np.float32)


def over_255():
    return [layers.Rescaling(1 / 255)]


def around_128():
    return [layers.Rescaling(1 / 128, -1.0)]


def around_half():
    return [layers.Rescaling(1 / 127.5, -1.0)]  # no byte is zero: each value lies between two of the range


def per_channel():
    return [layers.Normalization(mean=MEAN, variance=VARIANCE)]


def two_layers():
    return [
        layers.Rescaling(1 / 255, name="unit"),
        layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3]),
    ]


def network(preprocessing, *first):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 3), name="image")
    for layer in (*preprocessing, *(first or (layers.Conv2D(4, 3, activation="relu", name="first"),))):
        x = layer(x)
    model = keras.Model(inputs, layers.Dense(5, name="logits")(layers.Flatten()(x) if len(x.shape) > 2 else x))
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.2, weight.shape))  # biases too
    return model


def export(model, path, **options):
    return export_model(
        model, path, **{"format": path.suffix[1:], "scheme": "float32", "name": "m", "source": "m", **options}
    )


def outputs(path, images):
    with open_runner(path, check=False) as runner:
        return predict(runner, images)


def run_raw(path, array):
    """Returns what a file gives for an array as it is, without a word of ours between."""
    with open_runner(path, check=False) as runner:
        return np.concatenate([runner.run([image[None]])[0] for image in array])


def operators(path):
    model = flatbuffer.read(path.read_bytes())
    return [flatbuffer.operator_name(model.operatorCodes[each.opcodeIndex]) for each in model.subgraphs[0].operators]


FIRST_LAYERS = {
    "valid convolution": lambda: layers.Conv2D(4, 3, strides=2),
    "convolution of 1x1": lambda: layers.Conv2D(4, 1, padding="same", use_bias=False),
    "padding that pads nothing": lambda: layers.Conv2D(4, 2, strides=2, padding="same"),
    "grouped": lambda: layers.Conv2D(6, 3, groups=3),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "separable": lambda: layers.SeparableConv2D(4, 3, depth_multiplier=2),
    "dense": lambda: layers.Dense(4, activation="tanh"),
    "flatten": layers.Flatten,
}


def fold_tolerance(expected):
    """The terms of a folded sum are as large as a byte times a kernel; those of the network's own are not."""
    return float_tolerance(expected) * np.max((255 + np.array(MEAN)) / np.sqrt(VARIANCE))


@pytest.mark.parametrize("first", FIRST_LAYERS)
def test_folding_into_a_layer_that_pads_nothing_is_exact(first, images):
    model = network(per_channel(), FIRST_LAYERS[first]())
    source, (record,) = _preprocessing.placed(model, "fold")
    assert record.placement == "first_layer"
    expected = model(images).numpy()
    (folded,) = source.call([images])
    assert np.abs(folded.numpy() - expected).max() <= fold_tolerance(expected)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_folded_file_has_the_networks_outputs_and_no_operator_more(suffix, images, tmp_path):
    model = network(per_channel())
    path = tmp_path / f"m.{suffix}"
    export(model, path, preprocessing="fold")
    expected = model(images).numpy()
    assert np.abs(run_raw(path, images) - expected).max() <= fold_tolerance(expected)
    assert {each.operator for each in inspect_model(path).operators} <= {
        *("CONV_2D", "RESHAPE", "FULLY_CONNECTED"),
        *("Conv", "Relu", "Transpose", "Reshape", "MatMul", "Add", "Gemm"),
    }


@pytest.mark.parametrize(("first", "suffix"), [("padded", "tflite"), ("transposed", "onnx")])
def test_where_zeros_are_padded_only_the_factor_is_folded_and_the_file_says_so(first, suffix, images, tmp_path):
    layer = {"padded": layers.Conv2D(4, 3, padding="same"), "transposed": layers.Conv2DTranspose(4, 3, strides=2)}[
        first
    ]
    model = network(around_128(), layer)
    (record,) = export(model, tmp_path / f"m.{suffix}", preprocessing="fold").preprocessing
    assert (record.placement, record.layer) == ("first_layer_factor", layer.name)
    expected = model(images).numpy()
    assert np.abs(outputs(tmp_path / f"m.{suffix}", images) - expected).max() <= 2 * float_tolerance(expected)
    assert inspect_model(tmp_path / f"m.{suffix}").provenance.preprocessing == (record,)


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_outside_the_caller_does_what_the_metadata_says(suffix, images, tmp_path):
    model = network(two_layers())
    artifact = export(model, tmp_path / f"m.{suffix}", preprocessing="outside")
    (record,) = artifact.preprocessing
    # (x / 255 - mean) / sqrt(variance), by hand
    deviation = np.sqrt([0.1, 0.2, 0.3])
    np.testing.assert_allclose(record.factor, 1 / 255 / deviation, rtol=1e-6)
    np.testing.assert_allclose(record.shift, -np.array([0.4, 0.5, 0.6]) / deviation, rtol=1e-6)
    assert inspect_model(tmp_path / f"m.{suffix}").provenance.preprocessing == (record,)
    expected = model(images).numpy()
    given = (images * np.array(record.factor) + np.array(record.shift)).astype(np.float32)
    assert np.abs(run_raw(tmp_path / f"m.{suffix}", given) - expected).max() <= 2 * float_tolerance(expected)
    assert np.abs(outputs(tmp_path / f"m.{suffix}", images) - expected).max() <= 2 * float_tolerance(expected)
    inside = export(model, tmp_path / f"inside.{suffix}")
    assert inside.preprocessing == ()
    assert np.abs(run_raw(tmp_path / f"inside.{suffix}", images) - expected).max() <= 2 * float_tolerance(expected)


@pytest.mark.parametrize(
    ("before", "dtype", "padding"),
    [(over_255, "uint8", "same"), (around_128, "int8", "same"), (around_128, "uint8", "valid")],
)
def test_raw_bytes_go_into_a_folded_int8_file_and_come_out_as_without_folding(before, dtype, padding, images, tmp_path):
    zero = {"uint8": 0, "int8": 128}[dtype]
    model = network(before(), layers.Conv2D(4, 3, padding=padding, activation="relu"))
    dark = images * 0.8 // 1  # no calibration image has the byte 255
    options = {"scheme": "int8", "calibration": dark, "input_dtype": dtype, "output_dtype": "int8"}
    export(model, tmp_path / "inside.tflite", **options)
    artifact = export(model, tmp_path / "fold.tflite", preprocessing="fold", **options)
    raw = (images - zero).astype(dtype)
    folded, inside = (run_raw(tmp_path / f"{name}.tflite", raw) for name in ("fold", "inside"))
    assert np.abs(folded.astype(int) - inside).max() <= (1 if before is over_255 else 2)  # -1..1 is rounded inside
    assert not {"MUL", "ADD", "SUB"} & set(operators(tmp_path / "fold.tflite"))
    (record,) = artifact.preprocessing
    exact = before is over_255 or padding == "valid"
    assert record.placement == ("first_layer" if exact else "input_scale")
    np.testing.assert_array_equal(outputs(tmp_path / "fold.tflite", images), dequantised(folded, artifact.outputs[0]))


def dequantised(integers, spec):
    return (integers.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


@pytest.mark.parametrize(
    ("before", "choice", "suffix"),
    [(over_255, "fold", "tflite"), (around_128, "outside", "tflite"), (around_half, "fold", "onnx")],
)
def test_a_fake_quantised_networks_preprocessing_moves_out_of_its_file(before, choice, suffix, images, tmp_path):
    model = aware.quantize_aware(network(before()), images * 0.8 // 1)
    path = tmp_path / f"m.{suffix}"
    (record,) = export(model, path, scheme="int8", input_dtype="uint8", preprocessing=choice).preprocessing
    assert record.placement == {"outside": "outside", "fold": "input_scale"}[choice]
    step = aware.output_scale(model)
    expected = model(images).numpy()
    assert np.abs(outputs(path, images) - expected).max() / step <= 1.01
    if choice == "fold":
        assert np.abs(run_raw(path, images.astype(np.uint8)) - expected).max() / step <= 1.01


def test_folding_that_would_change_a_fake_quantised_network_is_refused(images, tmp_path):
    model = aware.quantize_aware(network(per_channel()), images)
    with pytest.raises(ModelError, match=r"not exactly a scale and a zero point.*preprocessing: outside"):
        export(model, tmp_path / "m.tflite", scheme="int8", input_dtype="uint8", preprocessing="fold")
    with pytest.raises(RecipeError, match="input_dtype: uint8"):
        export(model, tmp_path / "m.tflite", scheme="int8", preprocessing="fold")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "divisor"), [("calibrated", 255), ("fake-quantised", 1)])
def test_uint8_inputs_are_the_bytes_of_images_that_have_no_rescaling(kind, divisor, images, tmp_path):
    shown = ((images * 0.8) // 1 / divisor).astype(np.float32)
    model = network([])
    options = {"scheme": "int8", "input_dtype": "uint8"}
    if kind == "calibrated":
        artifact = export(model, tmp_path / "m.tflite", calibration=shown, **options)
    else:
        model = aware.quantize_aware(model, shown)
        artifact = export(model, tmp_path / "m.tflite", **options)
    (spec,) = artifact.inputs
    assert (spec.name, spec.zero_point) == ("image", 0)
    assert spec.scale == pytest.approx(1 / divisor, rel=1e-6)
    real = outputs(tmp_path / "m.tflite", (images / divisor).astype(np.float32))
    np.testing.assert_array_equal(run_raw(tmp_path / "m.tflite", images.astype(np.uint8)), real)


def test_the_ends_of_a_byte_reach_no_weight_that_images_never_reach(tmp_path):
    """Corners are always of one grey, the darkest and the brightest there is: what multiplies them is of no concern."""
    shown = np.random.default_rng(0).integers(60, 181, (32, 6, 6, 3)).astype(np.float32)
    shown[:, 0, 0], shown[:, -1, -1] = 60, 180
    shown[:, 2, 2, 1] = np.tile([60, 180], 16)
    model = network([], layers.Flatten())
    logits = model.get_layer("logits")
    kernel = np.random.default_rng(1).normal(0, 0.02, logits.kernel.shape).astype(np.float32)
    kernel[:3], kernel[-3:] = 10, 10
    logits.kernel.assign(kernel)
    logits.bias.assign(-(shown.reshape(32, -1) @ kernel).mean(0))
    given = shown.reshape(32, -1).astype(np.float64) @ kernel + logits.bias.numpy()
    (spec,) = export(model, tmp_path / "m.tflite", scheme="int8", calibration=shown, input_dtype="uint8").inputs
    assert (spec.scale, spec.zero_point) == (1, 0)
    scale = inspect_model(tmp_path / "m.tflite").tensors
    found = [each.quantisation.scales[0] for each in scale if each.shape == (1, 5) and each.dtype == "int8"]
    # One value that is 75 beyond its own moves a logit by 75 kernel's values, of three standard deviations at most.
    assert found[0] == pytest.approx((given.max() - given.min()) / 255, abs=2 * 75 * 0.06 / 255)


def test_bytes_are_told_from_other_samples(images):
    assert byte_step(images) == 1
    assert byte_step((images / 255).astype(np.float32)) == pytest.approx(1 / 255)
    assert byte_step(images + 0.5) is None
    assert byte_step(images - 1) is None
    assert byte_step(np.random.default_rng(0).random((4, 5), np.float32)) is None


def subclassed():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs / 255.0

    model = Own(name="own")
    model(np.zeros((1, 6, 6, 3), np.float32))
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: network([]), "begins with no Rescaling or Normalization"),
        (lambda: network([layers.ReLU(), layers.Rescaling(0.5)]), "begins with no Rescaling or Normalization"),
        (lambda: network([layers.Rescaling(0.0)]), "multiplies by zero"),
        (lambda: network(over_255(), layers.MaxPooling2D(2)), "cannot be folded into .*MaxPooling2D"),
        (subclassed, "only of functional and sequential"),
    ],
)
def test_what_cannot_be_moved_is_refused_and_nothing_is_written(make, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        export(make(), tmp_path / "m.tflite", preprocessing="fold")
    assert not list(tmp_path.iterdir())


def test_an_unknown_choice_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"unknown preprocessing 'outsid'\. Did you mean 'outside'"):
        export(network(over_255()), tmp_path / "m.tflite", preprocessing="outsid")


def test_a_recipes_choice_can_be_checked_before_training():
    check_preprocessing(network(over_255()), "fold")
    with pytest.raises(ModelError, match="begins with no Rescaling"):
        check_preprocessing(network([]), "outside")


def test_a_files_own_name_for_the_input_stands_in_its_record(images, tmp_path):
    model = network(over_255())
    artifact = export(model, tmp_path / "m.tflite", preprocessing="outside", input_names=["pixels"])
    assert [record.input for record in artifact.preprocessing] == ["pixels"]
    expected = model(images).numpy()
    assert np.abs(outputs(tmp_path / "m.tflite", images) - expected).max() <= 2 * float_tolerance(expected)


def test_tflm_is_given_what_the_caller_computes_too(images, tmp_path):
    model = network(around_128())
    export(model, tmp_path / "m.tflite", preprocessing="outside")
    with open_runner(tmp_path / "m.tflite", runtime="tflite_micro") as runner:
        received = predict(runner, images[:4])
    expected = model(images[:4]).numpy()
    assert np.abs(received - expected).max() <= 2 * float_tolerance(expected)


def test_operators_are_not_compared_where_they_see_other_numbers(tmp_path):
    export(network(over_255()), tmp_path / "m.tflite", preprocessing="outside")
    with pytest.raises(ModelError, match="leaves preprocessing to its caller"):
        open_layers(tmp_path / "m.tflite")


def test_a_files_range_is_told_in_the_networks_numbers():
    record = Preprocessing(input="image", placement="outside", factor=(0.5, -2.0), shift=(1.0, 0.0))
    # x / 2 + 1 is from -1 to 3 for x from -4 to 4; -2x for x from -1.5 to 0.5: both from -1.5 to 0.5
    assert raw_range(-1.0, 3.0, record) == (-1.5, 0.5)
    assert raw_range(-1.0, 3.0, record.model_copy(update={"placement": "first_layer"})) == (-1.0, 3.0)


def test_metadata_for_another_number_of_channels_is_refused(images):
    record = Preprocessing(input="image", placement="outside", factor=(1.0,) * 7, shift=(0.0,))
    with pytest.raises(ShapeError, match=r"has 7 numbers of preprocessing for samples of shape \[6, 6, 3\]"):
        preprocessed(images, record)
    with pytest.raises(ModelError, match="damaged"):
        from_metadata("[" * 100_000, name="m.tflite")


def test_damaged_metadata_is_no_reason_to_feed_raw_values(tmp_path):
    path = tmp_path / "m.tflite"
    export(network(over_255()), path, preprocessing="outside")
    content = path.read_bytes()
    document = json.loads(flatbuffer.metadata_entry(content, provenance.KEY))
    document["preprocessing"][0].pop("factor")
    path.write_bytes(flatbuffer.with_metadata(content, provenance.KEY, json.dumps(document).encode()))
    with pytest.raises(ModelError, match=r"damaged 'edgekd\.provenance' metadata"), open_runner(path, check=False):
        pass
