"""One network quantised in many ways."""

import keras
import pytest
from keras import layers

from edgekd.errors import ModelError, RecipeError
from edgekd.quantize import aware
from edgekd.quantize.aware.rounding import FakeQuantize


@pytest.fixture(scope="module")
def many_kinds(statistics) -> keras.Model:
    """Layers of several steps, ranges that are shared, a folded normalisation, a shared layer, and known ranges."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 2), name="image")
    x = layers.ZeroPadding2D(name="padded")(inputs)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    x = layers.BatchNormalization(name="separable_bn")(x)
    x = layers.ReLU(max_value=0.5, name="clipped")(x)
    twice = layers.Conv2D(4, 3, padding="same", activation="silu", name="twice")
    x = twice(twice(x))
    x = layers.Concatenate(name="joined")([x, layers.AveragePooling2D(1, name="mean")(x)])
    gate = layers.Dense(8, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(name="pool")(x))
    x = layers.Multiply(name="gated")([x, layers.Reshape((1, 1, 8), name="reshaped")(gate)])
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(2, name="largest")(x))
    x = layers.Dropout(0.5, name="dropout")(layers.Dense(6, name="hidden")(x))
    x = layers.BatchNormalization(name="hidden_bn")(layers.Dense(6, name="folded")(x))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.ReLU(name="hidden_relu")(x)))
    statistics(model)
    return model


@pytest.fixture(scope="module")
def mixable(many_kinds, samples) -> aware.Mixable:
    return aware.Mixable(many_kinds, samples)


@pytest.mark.parametrize(
    "exclude",
    [
        (),
        ("separable",),
        ("twice", "gate"),
        ("joined", "hidden_bn"),
        ("folded", "flat", "largest", "hidden", "dropout", "gated"),
        ("padded", "separable", "separable_bn", "clipped", "mean", "pool", "reshaped", "logits"),
    ],
)
def test_networks_of_one_calibration_are_those_that_would_be_calibrated_anew(mixable, many_kinds, samples, exclude):
    anew = aware.quantize_aware(many_kinds, samples, exclude=exclude)
    once = mixable.network(exclude)
    assert once(samples).numpy() == pytest.approx(anew(samples).numpy(), abs=1e-6)
    for mine, its in zip(once._flatten_layers(), anew._flatten_layers(), strict=True):
        assert mine.name == its.name
        if isinstance(mine, FakeQuantize):
            assert mine.scale() == pytest.approx(its.scale(), rel=1e-5)


def test_the_units_are_what_integer_operators_compute(mixable):
    found = {unit.name: (unit.layers, unit.exclude, unit.weights) for unit in mixable.units}
    assert found == {
        "separable": (("separable", "separable_bn", "clipped"), ("separable", "separable_bn", "clipped"), 18 + 8),
        "twice": (("twice",), ("twice",), 144),
        "mean": (("mean",), ("mean",), 0),
        "joined": (("joined",), ("joined",), 0),
        "pool": (("pool",), ("pool",), 0),
        "gate": (("gate",), ("gate",), 64),
        "gated": (("gated",), ("gated",), 0),
        "hidden": (("hidden",), ("hidden",), 6 * 6 * 8 * 6),
        "folded": (("folded", "hidden_bn", "hidden_relu"), ("folded",), 36),
        "logits": (("logits",), ("logits",), 18),
    }


def test_what_only_passes_values_on_between_layers_in_float_is_left_in_float_too(mixable):
    assert mixable.exclusions(["hidden"]) == ("hidden",)
    assert mixable.exclusions(["hidden", "gated"]) == ("gated", "largest", "flat", "hidden")
    assert mixable.exclusions(["separable"])[:2] == ("padded", "separable")
    assert mixable.exclusions([]) == ()


def test_a_sum_takes_its_relu_along_only_if_it_is_named(network, samples):
    mixable = aware.Mixable(network, samples)
    units = {unit.name: unit for unit in mixable.units}
    assert units["sum"].exclude == ("sum", "second")
    assert units["first_conv"].exclude == ("first_conv",)
    assert units["first_conv"].layers == ("first_conv", "first_bn", "first")


def test_layers_that_integers_cannot_compute_stay_in_float_in_all_networks(samples):
    inputs = keras.Input((12, 12, 2))
    x = layers.Activation("elu", name="elu")(layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x)))
    with pytest.raises(ModelError, match=r"exclude: \[elu\]"):
        aware.Mixable(model, samples)
    mixable = aware.Mixable(model, samples, exclude=["elu"])
    assert [unit.name for unit in mixable.units] == ["conv", "logits"]
    assert mixable.exclusions(["logits"]) == ("elu", "flat", "logits")
    assert mixable.exclusions(["conv"]) == ("conv", "elu")
    anew = aware.quantize_aware(model, samples, exclude=["conv", "elu"])
    assert mixable.network(("conv", "elu"))(samples).numpy() == pytest.approx(anew(samples).numpy(), abs=1e-6)


def test_unknown_units_and_quantised_networks_are_refused(mixable, network, samples):
    with pytest.raises(RecipeError, match="Did you mean 'hidden'"):
        mixable.exclusions(["hiden"])
    with pytest.raises(ModelError, match="fake-quantised to int8 already"):
        aware.Mixable(aware.quantize_aware(network, samples), samples)
