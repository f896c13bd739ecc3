"""From a float network to a fake-quantised one."""

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import architectures
from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.quantize import aware
from edgekd.quantize.aware.layers import FreezingBatchNorm
from edgekd.quantize.aware.rounding import FakeQuantize


def ranges(model: keras.Model) -> dict[str, tuple[float, float]]:
    return {
        layer.name: (float(layer.minimum), float(layer.maximum))
        for layer in model._flatten_layers()
        if isinstance(layer, FakeQuantize)
    }


def test_arrays_are_rounded_once_where_the_integer_file_rounds_them(network, fake_quantised):
    assert set(ranges(fake_quantised(network))) == {
        "input_range",
        "first_range",  # convolution, batch normalisation and ReLU are one operator
        "second_bn_range",
        "second_range",  # the sum and its ReLU
        "pool_range",
        "logits_range",
    }


def test_layers_keep_their_names_so_that_taps_find_them(network, fake_quantised):
    names = {layer.name for layer in fake_quantised(network).layers}
    assert {layer.name for layer in network.layers} <= names


def test_ranges_start_from_what_the_samples_show(network, fake_quantised, samples):
    found = ranges(fake_quantised(network))
    inner = keras.Model(
        network.inputs[0], [network.get_layer(name).output for name in ("first", "second_bn", "logits")]
    )
    first, second, logits = (array.numpy() for array in inner(samples, training=False))
    assert found["input_range"] == pytest.approx((samples.min(), samples.max()))
    assert found["first_range"] == pytest.approx((first.min(), first.max()), rel=1e-5)
    assert found["second_bn_range"] == pytest.approx((second.min(), second.max()), rel=1e-5)
    assert found["logits_range"] == pytest.approx((logits.min(), logits.max()), rel=1e-5)


def test_ranges_behind_a_clipping_activation_are_those_of_clipped_values(samples, fake_quantised):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 2))
    clipped = layers.ReLU(max_value=0.1, name="clipped")(layers.Conv2D(4, 3, name="first")(inputs))
    scaled = layers.Rescaling(100.0, name="scaled")(layers.Conv2D(4, 3, name="second")(clipped))
    gated = layers.Activation("hard_silu", name="gated")(scaled)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(gated)))
    found = ranges(fake_quantised(model))
    for name in ("second", "gated", "logits"):
        shown = keras.Model(inputs, model.get_layer(name).output)(samples).numpy()
        assert found[f"{name}_range"] == pytest.approx((shown.min(), shown.max()), rel=1e-4, abs=1e-5)


def test_the_way_to_calibrate_can_be_chosen(network, fake_quantised, samples):
    found = ranges(fake_quantised(network, calibration="percentile", percentile=90.0))
    assert found["input_range"] == pytest.approx(tuple(np.percentile(samples, [5, 95])), abs=0.01)


def test_the_outputs_are_near_those_of_the_float_network_and_not_equal(network, fake_quantised, samples):
    expected, found = network(samples).numpy(), fake_quantised(network)(samples).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < 0.05


def test_the_float_network_stays_as_it_is(network, fake_quantised):
    before = architectures.weights_sha256(network)
    made = fake_quantised(network)
    for variable in made.variables:
        variable.assign(variable + 1)
    assert architectures.weights_sha256(network) == before


def test_a_saved_network_loads_with_the_same_outputs_and_ranges(network, fake_quantised, samples, tmp_path):
    model = fake_quantised(network, ranges="learned", freeze_after=7)
    architectures.save_model(model, tmp_path / "int8.keras")
    loaded = architectures.load_model(tmp_path / "int8.keras")
    assert (loaded(samples).numpy() == model(samples).numpy()).all()
    assert loaded.get_layer("first_range").get_config() == model.get_layer("first_range").get_config()
    assert aware.is_quantize_aware(loaded)
    assert not aware.is_quantize_aware(network)


def test_nested_networks_are_opened_and_shared_layers_stay_shared(fake_quantised):
    shared = layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    block = keras.Sequential([keras.Input((12, 12, 4)), shared, layers.Conv2D(4, 1, name="inner")], name="block")
    inputs = keras.Input((12, 12, 2))
    x = block(layers.Conv2D(4, 1, name="stem")(inputs))
    model = keras.Model(inputs, layers.Flatten()(shared(block(x))))
    found = fake_quantised(model)
    names = [layer.name for layer in found.layers]
    assert {"block.inner", "block.inner_range", "block.inner_range_"} <= set(names)
    assert sum(name in {"shared", "block.shared"} for name in names) == 1
    assert len(found.trainable_variables) == len(model.trainable_variables)


def test_every_layer_without_an_integer_form_is_named_at_once_with_what_to_do(samples):
    inputs = keras.Input((12, 12, 2))
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.Activation("gelu", name="bent")(x)
    x = keras.ops.exp(layers.Conv2D(4, 3, activation="elu", name="elu_conv")(x))
    model = keras.Model(inputs, layers.Flatten()(x))
    with pytest.raises(ModelError) as caught:
        aware.check(model)
    message = str(caught.value)
    assert "replace them (a normalisation by BatchNormalization" in message
    for name in ("norm (LayerNormalization)", "bent (Activation)", "elu_conv (Conv2D)", "exp (Exp)"):
        assert name in message
    assert "exclude: [norm, bent, elu_conv, exp]" in message
    aware.check(model, exclude=["norm", "bent", "elu_conv", "exp"])


def test_an_unknown_layer_to_exclude_is_named_with_the_nearest(network):
    with pytest.raises(RecipeError, match=r"frist_conv.*first_conv"):
        aware.check(network, exclude=["frist_conv"])


def test_a_list_of_layers_is_not_one_name(network, samples):
    with pytest.raises(RecipeError, match="expected a list"):
        aware.quantize_aware(network, samples, exclude="first_conv")


def test_an_excluded_convolution_takes_its_normalisation_and_activation_along(network, fake_quantised):
    found = fake_quantised(network, exclude=["first_conv"])
    assert not isinstance(found.get_layer("first_bn"), FreezingBatchNorm)
    assert isinstance(found.get_layer("second_bn"), FreezingBatchNorm)
    assert "first_range" in ranges(found)


def test_a_subclassed_network_is_refused(samples):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ModelError, match="only built functional and sequential networks"):
        aware.quantize_aware(Own(), samples)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:0], "no calibration samples"),
        (lambda x: x[:, :5], r"expected \[samples, 12, 12, 2\]"),
        (lambda x: np.where(x > 0.99, np.nan, x), "NaN or infinity"),
        (np.ones_like, "every calibration value is 1.0"),
    ],
)
def test_samples_that_show_no_range_are_refused(network, samples, change, words):
    with pytest.raises(DataError, match=words):
        aware.quantize_aware(network, change(samples))


def test_what_only_has_the_name_of_a_layer_or_function_is_refused(samples):
    def leaky_relu(x):
        return keras.ops.leaky_relu(x, 0.01)

    class Add(layers.Layer):
        def call(self, inputs):
            return inputs[0] + 2 * inputs[1]

    class Own(layers.ReLU):
        def call(self, inputs):
            return -inputs

    inputs = keras.Input((12, 12, 2))
    x = layers.Conv2D(2, 1, activation=leaky_relu, name="bent")(inputs)
    x = Own(name="own")(Add(name="sum")([x, inputs]))
    model = keras.Model(inputs, layers.Flatten()(layers.Dropout(0.5, name="always")(x, training=True)))
    with pytest.raises(ModelError, match=r"exclude: \[bent, sum, own, always\]"):
        aware.check(model)


def test_frozen_layers_stay_frozen(fake_quantised):
    inputs = keras.Input((12, 12, 2))
    x = layers.SeparableConv2D(4, 3, trainable=False)(inputs)
    x = layers.Conv2D(4, 3, trainable=False)(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    assert len(fake_quantised(model).trainable_variables) == len(model.trainable_variables) == 2


def test_names_that_the_transform_would_give_may_be_taken(fake_quantised):
    inputs = keras.Input((12, 12, 2))
    x = layers.ReLU(name="input_range")(inputs)
    x = layers.Conv2D(3, 1, activation="tanh", name="a")(x)
    x = layers.Conv2D(3, 1, name="a_kernel")(layers.Conv2D(3, 1, name="a_range")(x))
    found = fake_quantised(keras.Model(inputs, layers.Flatten()(x)))
    assert {"input_range", "a", "a_kernel", "a_range"} <= {layer.name for layer in found.layers}


def test_the_structure_of_the_outputs_stays(fake_quantised, samples):
    inputs = keras.Input((12, 12, 2))
    x = layers.Flatten()(inputs)
    model = keras.Model(inputs, {"z": layers.Dense(2, name="z1")(x), "a": layers.Dense(3, name="a1")(x)})
    outputs = fake_quantised(model)(samples)
    assert {name: tuple(array.shape) for name, array in outputs.items()} == {"z": (128, 2), "a": (128, 3)}


def test_dropout_without_a_seed_gets_one_from_the_seed(fake_quantised):
    inputs = keras.Input((12, 12, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Dropout(0.5, name="drop")(inputs))))
    seeds = [fake_quantised(model, seed=seed).get_layer("drop").seed for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_network_in_mixed_precision_becomes_one_in_float32(fake_quantised, samples):
    inputs = keras.Input((12, 12, 2))
    x = layers.Conv2D(2, 3, dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, layers.Dense(3, dtype="mixed_float16")(layers.Flatten()(x)))
    assert fake_quantised(model)(samples).dtype == "float32"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"momentum": 1.5}, RecipeError, "momentum is 1.5"),
        ({"freeze_after": -1}, RecipeError, "freeze_after is -1"),
        ({"ranges": "lerned"}, RecipeError, "learned"),
        ({"exclude": ["image", "x"]}, RecipeError, "unknown layer"),
    ],
)
def test_settings_that_cannot_work_are_refused(network, samples, settings, error, words):
    with pytest.raises(error, match=words):
        aware.quantize_aware(network, samples, **settings)


def test_what_is_no_float_network_is_refused(network, samples, fake_quantised):
    with pytest.raises(ModelError, match="no Keras 3 network"):
        aware.quantize_aware("model.keras", samples)
    with pytest.raises(ModelError, match="fake-quantised to int8 already"):
        aware.quantize_aware(fake_quantised(network), samples)
    everything = [layer.name for layer in network.layers[1:]]
    with pytest.raises(RecipeError, match="nothing is left to quantise"):
        aware.quantize_aware(network, samples, exclude=everything)
