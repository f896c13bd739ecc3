"""Shrunk networks give what the large one gives with the removed channels' weights zeroed, for less arithmetic."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import architectures, registry
from edgekd.cost import count_macs, count_parameters
from edgekd.errors import ModelError, RecipeError
from edgekd.sparsify.coupling import coupled, macs, parameters
from edgekd.sparsify.importance import importances
from edgekd.sparsify.layer_kinds import DEPTHWISE, PARAMETRIC, TRANSPOSED
from edgekd.sparsify.selection import groups, select
from edgekd.sparsify.shrinking import shrink, without_channels

# As small as each family can be built and still shrink; others are built as they are.
SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"input_shape": (20,), "width": 16},
    "deep_cnn": {"input_shape": (8, 8, 1)},
    "ds_cnn": {"input_shape": (10, 8, 1), "filters": 16, "blocks": 2},
    "lab_cnn": {"input_shape": (8, 8, 1), "filters": (16, 16)},
    "light_cnn": {"input_shape": (8, 8, 1)},
    "mobilenet_v1": {"input_shape": (9, 9, 3), "alpha": 0.25, "stem_stride": 1},
    "mobilenet_v2": {"input_shape": (9, 9, 3), "alpha": 0.35, "stem_stride": 1},
    "resnet": {"input_shape": (16, 16, 3), "width": 8},
    "scaled_cnn": {"input_shape": (8, 8, 1), "scale": 4},
    "wide_resnet": {"input_shape": (8, 8, 3), "depth": 10, "widen": 1},
}


def network(name: str, *, input_shape: tuple[int, ...], **arguments: Any) -> keras.Model:
    return architectures.create(name, input_shape=input_shape, num_classes=4, seed=0, arguments=arguments)


def randomised(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Gives biases and normalisations values of their own: the initial zeros and ones would hide defects.

    Moderate ones, since a deep network of large random weights multiplies the rounding of its first layer by millions.
    """
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in {"bias", "beta", "moving_mean", "gamma", "moving_variance", "alpha"}:
            centre = 1.0 if weight.name in {"gamma", "moving_variance"} else 0.0
            weight.assign(centre + random.uniform(0.05, 0.2, weight.shape) * random.choice([-1, 1], weight.shape))
    return model


def set_zeros(model: keras.Model, removed: Callable[[keras.layers.Layer], np.ndarray | None]) -> None:
    """Sets the weights that make removed channels to zero, written without the code under test."""
    for layer in model._flatten_layers():
        gone = removed(layer)
        if gone is None:
            continue
        for weight in layer.weights:
            value = weight.numpy().copy()
            if weight.name in {"moving_variance", "depthwise_kernel"}:
                continue
            if isinstance(layer, DEPTHWISE) and weight.name == "kernel":
                flat = value.reshape(*value.shape[:-2], -1)
                flat[..., gone] = 0
                value = flat.reshape(value.shape)
            elif isinstance(layer, TRANSPOSED) and weight.name == "kernel":
                value[..., gone, :] = 0
            else:
                value[..., gone] = 0
            weight.assign(value)


def assert_exact(model: keras.Model, *, amount: float = 0.3, **settings: Any) -> keras.Model:
    randomised(model)
    exclude = settings.pop("exclude", ())
    coupling = coupled(model, exclude=exclude)
    kept = select(coupling, amount, **{"divisor": 4, **settings}).kept
    removed = {
        id(use.layer): ~kept[coupling.outputs(use)] for use in coupling.uses if isinstance(use.layer, PARAMETRIC)
    }
    assert any(gone.any() for gone in removed.values())
    small = without_channels(model, coupling, kept)
    assert macs(coupling, kept) < macs(coupling, np.ones_like(kept))
    set_zeros(model, lambda layer: removed.get(id(layer)))
    shape = (3, *model.inputs[0].shape[1:])
    inputs = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected, found = model(inputs, training=False).numpy(), small(inputs, training=False).numpy()
    # Sums over fewer terms are rounded elsewhere: an error of a few float32 epsilons of the largest output.
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * np.finfo(np.float32).eps * np.abs(expected).max())
    assert count_parameters(small) < count_parameters(model)
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    return small


@pytest.mark.parametrize("name", registry.discover("edgekd.architectures"))
def test_a_shrunk_network_is_the_large_one_with_zeros(name: str) -> None:
    assert_exact(network(name, **SMALL.get(name, {"input_shape": (32, 32, 3)})))


def test_a_global_budget_is_exact_too_and_its_arithmetic_is_known() -> None:
    model = network("ds_cnn", **SMALL["ds_cnn"])
    coupling = coupled(model)
    kept = select(coupling, 0.3, divisor=4, scope="global").kept
    assert macs(coupling, np.ones_like(kept)) == count_macs(model)
    assert macs(coupling, kept) == count_macs(assert_exact(model, scope="global")) <= 0.7 * count_macs(model)


@pytest.mark.parametrize("name", ["ds_cnn", "resnet", "mobilenet_v1"])
def test_a_budget_of_parameters_counts_them_as_keras_does(name: str) -> None:
    model = network(name, **SMALL.get(name, {"input_shape": (32, 32, 3)}))
    coupling = coupled(model)
    kept = select(coupling, 0.4, of="parameters", divisor=2).kept
    assert parameters(coupling, np.ones_like(kept)) == count_parameters(model)
    small = shrink(model, amount=0.4, of="parameters", divisor=2)
    assert parameters(coupling, kept) == count_parameters(small)
    assert 0.5 * count_parameters(model) < count_parameters(small) <= 0.6 * count_parameters(model)


def test_a_shortcut_that_pads_channels_follows_its_block() -> None:
    model = network("resnet", input_shape=(16, 16, 1), width=8, shortcut="pad")
    small = assert_exact(model, of="channels", scope="global", amount=0.4, divisor=1)
    assert small.get_layer("stage3_block1_shortcut_pad").output.shape[-1] < 32


def squeeze_excite() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(16, 3, activation="relu", name="conv")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid", name="excite")(gate)
    x = layers.Multiply()([x, gate])
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)))


def branches() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    left = layers.Conv2D(12, 3, padding="same", name="left")(inputs)
    right = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2, activation="relu", name="right")(inputs)
    x = layers.Concatenate()([left, right])
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(8, 1, name="separable")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, activation="tanh", name="transposed")(x)
    x = layers.AveragePooling2D(2)(layers.LeakyReLU()(x))
    x = layers.Reshape((16, 8))(x)
    x = layers.Conv1D(8, 3, name="conv1d")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalMaxPooling1D()(x)))


def shared() -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(16, 1, name="first")(inputs)
    conv = layers.Conv2D(16, 3, padding="same", name="shared")
    x = layers.Subtract()([conv(conv(x)), x])
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)))


def constants() -> keras.Model:
    """Channels of sigmoid(0) = 1/2 reach a convolution with padding: they cannot go; those after it can."""
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(16, 1, activation="sigmoid", name="half")(inputs)
    x = layers.Conv2D(16, 3, padding="same", name="after")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x)))


def nested() -> keras.Model:
    inner_input = keras.Input((8,))
    x = layers.Dense(16, activation="relu", name="wide")(inner_input)
    inner = keras.Model(inner_input, layers.Dense(12, name="narrow")(x), name="inner")
    inputs = keras.Input((5,))
    x = inner(layers.Dense(8, name="before")(inputs))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.ReLU()(x)))


@pytest.mark.parametrize("build", [squeeze_excite, branches, shared, constants, nested])
def test_graphs_of_every_kind_shrink_exactly(build: Callable[[], keras.Model]) -> None:
    model = build()
    coupling = coupled(model)
    kept = select(coupling, 0.4, of="channels", divisor=4).kept
    assert macs(coupling, np.ones_like(kept)) == count_macs(model)
    small = assert_exact(model, of="channels", amount=0.4)
    assert macs(coupling, kept) == count_macs(small)
    assert parameters(coupling, kept) == count_parameters(small)


def test_channels_that_are_constant_but_not_zero_stay_where_they_are_summed() -> None:
    small = assert_exact(constants(), of="channels", amount=0.4)
    assert (small.get_layer("half").filters, small.get_layer("after").filters) == (16, 8)


def test_inputs_of_nested_networks_keep_their_channels() -> None:
    small = assert_exact(nested(), of="channels", amount=0.4)
    inner = small.get_layer("inner")
    assert (small.get_layer("before").units, inner.get_layer("wide").units, inner.get_layer("narrow").units) == (
        8,
        8,
        8,
    )


def test_a_residual_sum_couples_its_layers_and_nothing_else() -> None:
    model = network("resnet", input_shape=(16, 16, 1), width=8)
    coupling = coupled(model)
    of = {use.layer.name: set(coupling.outputs(use).tolist()) for use in coupling.uses}
    assert of["stem_conv"] == of["stem_bn"] == of["stage1_block1_b_conv"] == of["stage1_block1_b_bn"]
    assert of["stage2_block1_shortcut_conv"] == of["stage2_block1_b_conv"]
    assert not of["stem_conv"] & of["stage1_block1_a_conv"]
    assert sorted(map(len, groups(coupling))) == [8, 8, 16, 16, 32, 32]
    assert coupling.fixed[sorted(of["logits"])].all()


def chain() -> keras.Model:
    inputs = keras.Input((2,))
    x = layers.Dense(4, name="first")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Dense(8, name="second")(x)))
    first = np.array([[3.0, 0.1, 2.0, 0.0], [4.0, 0.2, -2.0, 1.0]])
    second = np.zeros((4, 8))
    second[0] = [8, 7, 6, 5, 4, 3, 2, 1]
    model.set_weights([first, np.zeros(4), second, np.zeros(8), np.ones((8, 3)), np.zeros(3)])
    return model


def test_importances_are_norms_of_kernels() -> None:
    model = chain()
    coupling = coupled(model)
    of_first = coupling.outputs(coupling.uses[0])
    np.testing.assert_allclose(importances(coupling, "l2")[of_first], [5.0, 0.05**0.5, 8**0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(importances(coupling, "l1")[of_first], [7.0, 0.3, 4.0, 1.0], rtol=1e-6)


def test_a_budget_of_channels_takes_the_same_share_of_every_layer_and_the_least_important() -> None:
    small = shrink(chain(), amount=0.5, of="channels", divisor=1)
    np.testing.assert_array_equal(small.get_layer("first").kernel.numpy(), [[3.0, 2.0], [4.0, -2.0]])
    np.testing.assert_array_equal(small.get_layer("second").kernel.numpy()[0], [8, 7, 6, 5])


def test_a_global_budget_compares_importances_relative_to_their_layer() -> None:
    # Over their root mean squares, 2.95 and 5.05: first 0.08, 0.34, 0.96, 1.7; second 0.2, 0.4, 0.59, ...
    small = shrink(chain(), amount=0.25, of="channels", scope="global", divisor=1)
    assert (small.get_layer("first").units, small.get_layer("second").units) == (2, 7)


def test_a_budget_of_arithmetic_is_met_and_no_more_than_a_portion_too_many() -> None:
    # 2·4 + 4·8 + 8·3 = 64 in all. One channel of `second` is 4 + 3, one of `first` 2 + 8 (or less, together).
    model = chain()
    small = shrink(model, amount=0.25, divisor=1)
    assert count_macs(model) == 64
    assert count_macs(small) <= 48
    assert count_macs(shrink(model, amount=0.1, divisor=1)) == 57


def test_what_is_left_is_a_multiple_of_the_divisor() -> None:
    inputs = keras.Input((3,))
    x = layers.Dense(20, name="odd")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(8, name="least")(x)))
    small = shrink(model, amount=0.1, of="channels", divisor=8)
    assert (small.get_layer("odd").units, small.get_layer("least").units) == (16, 8)


def test_slim_factors_of_batch_normalisation_choose_channels() -> None:
    inputs = keras.Input((4, 4, 1))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 1, use_bias=False, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("norm").gamma.assign([0.5, 0.01, -0.9, 0.02])
    small = shrink(model, amount=0.5, of="channels", importance="bn_gamma", divisor=1)
    np.testing.assert_allclose(small.get_layer("norm").gamma.numpy(), [0.5, -0.9])
    with pytest.raises(ModelError, match="channels of first, second have no factor of batch normalisation"):
        shrink(chain(), amount=0.5, importance="bn_gamma", divisor=1)


def test_without_an_amount_channels_of_zeros_go_and_one_is_left() -> None:
    model = chain()
    for name, places in (("first", [1, 3]), ("second", range(8))):
        kernel = model.get_layer(name).kernel.numpy().copy()
        kernel[:, list(places)] = 0
        model.get_layer(name).kernel.assign(kernel)
    inputs = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    small = shrink(model)
    assert (small.get_layer("first").units, small.get_layer("second").units) == (2, 1)
    np.testing.assert_allclose(small(inputs), model(inputs), atol=1e-6)
    with pytest.raises(ModelError, match="no channels of zeros"):
        shrink(chain())


def unsupported() -> keras.Model:
    class Own(layers.Dense):
        pass

    inputs = keras.Input((4, 4, 4))
    x = layers.Conv2D(8, 1, groups=2, name="grouped")(inputs)
    x = Own(8, name="own")(x)
    x = layers.Conv2D(16, 1, name="plain")(x)
    x = keras.ops.sort(x)
    return keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x)))


def test_all_layers_that_cannot_be_followed_are_named_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        shrink(unsupported(), amount=0.1)
    message = str(caught.value)
    assert "'grouped' (Conv2D with groups)" in message
    assert "'own' (Own)" in message
    assert "(Sort)" in message
    assert "'plain'" not in message


def test_excluded_layers_keep_the_channels_that_they_take_and_give() -> None:
    model = chain()
    small = shrink(model, amount=0.5, of="channels", divisor=1, exclude=["first"])
    assert (small.get_layer("first").units, small.get_layer("second").units) == (4, 4)
    with pytest.raises(ModelError, match="no channels that can be removed"):
        shrink(model, amount=0.1, exclude=["second"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"amount": 1.0}, RecipeError, "amount to remove is 1.0"),
        ({"amount": 0.5, "divisor": 0}, RecipeError, "divisor is 0"),
        ({"amount": 0.5, "of": "mac"}, RecipeError, "'mac'. Did you mean 'macs'"),
        ({"amount": 0.5, "scope": "layers"}, RecipeError, "'layers'. Did you mean 'layer'"),
        ({"amount": 0.5, "importance": "l3"}, RecipeError, "unknown importance of channels 'l3'"),
        ({"amount": 0.99, "divisor": 1}, ModelError, r"99% of the macs cannot be removed: 90.6% is the most"),
        ({"amount": 0.5, "exclude": ["frist"]}, ModelError, "'frist'. Did you mean 'first'"),
    ],
)
def test_what_cannot_be_shrunk_is_refused(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    # The least: 2·1 + 1·1 + 1·3 = 6 of 64 multiply-accumulates.
    with pytest.raises(error, match=message):
        shrink(chain(), **settings)
