"""Networks of Keras 3 and of tf_keras that compute the same; the reference is always the network that was given."""

import keras
import numpy as np
import pytest
import tf_keras

from edgekd import architectures, registry
from edgekd.errors import ModelError
from edgekd.quantize.legacy import from_tf_keras, to_tf_keras
from edgekd.quantize.legacy._layers import _KNOWN

EPSILON = np.finfo(np.float32).eps
FAMILIES = registry.discover("edgekd.architectures")
SMALL = {
    "mobilenet_v1": {"alpha": 0.125},
    "mobilenet_v2": {"alpha": 0.1},
    "wide_resnet": {"depth": 10, "widen": 1},
    "resnet": {"width": 4},
}


def randomised(model):
    """Gives every weight, moving statistics included, a value of its own."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.2, 1.0, w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


def outputs(model, *arrays):
    found = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    return [np.asarray(each) for each in (found if isinstance(found, list | tuple) else [found])]


def samples(shape, count=3):
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, *shape)).astype("float32")


def assert_close(found, expected, epsilons):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert np.max(np.abs(one - other)) <= epsilons * EPSILON * np.max(np.abs(other))
        assert np.ptp(other) > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_computes_the_same_in_tf_keras_and_back(name):
    natural = registry.describe("edgekd.architectures", name, entry="build").constants["INPUT_SHAPE"]
    shape = (32, 32, 3) if len(natural) == 3 else natural
    model = architectures.create(name, input_shape=shape, num_classes=5, seed=0, arguments=SMALL.get(name, {}))
    for weight in model.weights:  # as training would leave them
        if weight.path.rpartition("/")[2] in {"gamma", "beta", "moving_mean", "moving_variance"}:
            weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
    legacy = to_tf_keras(model)
    returned = from_tf_keras(legacy)
    images = samples(shape)
    normalises = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    assert isinstance(legacy, tf_keras.Model)
    assert [layer.name for layer in legacy.layers] == [layer.name for layer in model.layers]
    assert (legacy.name, legacy.inputs[0].name, legacy.count_params()) == (
        model.name,
        model.inputs[0].name,
        model.count_params(),
    )
    # Bit for bit but for tf_keras' fused batch normalisation.
    assert_close(outputs(legacy, images), outputs(model, images), epsilons=32 if normalises else 0)
    np.testing.assert_array_equal(outputs(returned, images), outputs(model, images))
    assert architectures.weights_sha256(returned) == architectures.weights_sha256(model)


# By class: the shape of a sample, and the arguments of one or more layers.
LAYERS = {
    "ActivityRegularization": ((4,), [{"l1": 0.1}]),
    "Add": ((4,), [{}]),
    "AlphaDropout": ((4,), [{"rate": 0.5}]),
    "Average": ((4,), [{}]),
    "AveragePooling1D": ((6, 2), [{"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": "same"}]),
    "AveragePooling2D": ((6, 5, 2), [{"pool_size": 2}, {"pool_size": (3, 2), "strides": 2, "padding": "same"}]),
    "AveragePooling3D": ((4, 4, 4, 2), [{"pool_size": 2}]),
    "BatchNormalization": ((4, 4, 2), [{}, {"scale": False, "center": False}, {"epsilon": 0.1, "axis": 1}]),
    "Concatenate": ((4, 2), [{}, {"axis": 1}]),
    "Conv1D": ((6, 2), [{"filters": 3, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}]),
    "Conv1DTranspose": ((6, 2), [{"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}]),
    "Conv2D": (
        (6, 5, 4),
        [
            {"filters": 3, "kernel_size": (3, 2), "strides": 2, "padding": "same", "activation": "relu"},
            {"filters": 4, "kernel_size": 3, "dilation_rate": 2, "use_bias": False},
            {"filters": 4, "kernel_size": 3, "groups": 2, "kernel_regularizer": "l2", "bias_constraint": "non_neg"},
        ],
    ),
    "Conv2DTranspose": (
        (4, 4, 2),
        [
            {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"},
            {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "valid", "output_padding": 1},
        ],
    ),
    "Conv3D": ((4, 4, 4, 2), [{"filters": 2, "kernel_size": 2}]),
    "Conv3DTranspose": ((3, 3, 3, 2), [{"filters": 2, "kernel_size": 2, "strides": 2}]),
    "Cropping1D": ((6, 2), [{"cropping": (1, 2)}]),
    "Cropping2D": ((6, 5, 2), [{"cropping": ((1, 0), (2, 1))}]),
    "Cropping3D": ((4, 4, 4, 2), [{"cropping": 1}]),
    "Dense": ((4,), [{"units": 3, "activation": "softmax"}, {"units": 2, "use_bias": False}]),
    "DepthwiseConv1D": ((6, 2), [{"kernel_size": 3, "depth_multiplier": 2}]),
    "DepthwiseConv2D": (
        (6, 6, 2),
        [
            {"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "padding": "same", "depthwise_regularizer": "l1"},
            {"kernel_size": 3, "dilation_rate": 2},
        ],
    ),
    "Dot": ((4,), [{"axes": 1}, {"axes": -1, "normalize": True}]),
    "Dropout": ((4,), [{"rate": 0.5, "seed": 3}]),
    "ELU": ((4,), [{"alpha": 0.5}]),
    "Flatten": ((3, 2), [{}]),
    "GaussianDropout": ((4,), [{"rate": 0.5}]),
    "GaussianNoise": ((4,), [{"stddev": 0.5}]),
    "GlobalAveragePooling1D": ((6, 2), [{}]),
    "GlobalAveragePooling2D": ((6, 5, 2), [{}, {"keepdims": True}]),
    "GlobalAveragePooling3D": ((4, 4, 4, 2), [{}]),
    "GlobalMaxPooling1D": ((6, 2), [{}]),
    "GlobalMaxPooling2D": ((6, 5, 2), [{"keepdims": True}]),
    "GlobalMaxPooling3D": ((4, 4, 4, 2), [{}]),
    "GroupNormalization": ((4, 4, 4), [{"groups": 2}]),
    "Identity": ((4,), [{}]),
    "LayerNormalization": ((4, 3), [{}, {"axis": [1, 2], "epsilon": 0.01}, {"scale": False}]),
    "LeakyReLU": ((4,), [{}, {"negative_slope": 0.05}]),
    "MaxPooling1D": ((6, 2), [{"pool_size": 3, "padding": "same"}]),
    "MaxPooling2D": ((6, 5, 2), [{}, {"pool_size": (2, 3), "strides": 1}]),
    "MaxPooling3D": ((4, 4, 4, 2), [{}]),
    "Maximum": ((4,), [{}]),
    "Minimum": ((4,), [{}]),
    "Multiply": ((4,), [{}]),
    "Normalization": ((3, 2), [{"mean": [0.5, 1.0], "variance": [2.0, 3.0]}, {"axis": 1}, {"axis": None}]),
    "PReLU": ((4, 3), [{}, {"shared_axes": [1]}]),
    "Permute": ((3, 2), [{"dims": (2, 1)}]),
    "ReLU": ((4,), [{}, {"max_value": 0.3, "negative_slope": 0.1, "threshold": 0.05}]),
    "RepeatVector": ((4,), [{"n": 3}]),
    "Rescaling": ((4,), [{"scale": 1 / 255, "offset": -0.5}]),
    "Reshape": ((4, 2), [{"target_shape": (2, -1)}]),
    "SeparableConv1D": ((6, 2), [{"filters": 3, "kernel_size": 3, "depth_multiplier": 2}]),
    "SeparableConv2D": ((6, 6, 2), [{"filters": 3, "kernel_size": 3, "strides": 2, "activation": "relu6"}]),
    "Softmax": ((4, 3), [{}, {"axis": 1}]),
    "SpatialDropout1D": ((4, 3), [{"rate": 0.5}]),
    "SpatialDropout2D": ((4, 4, 3), [{"rate": 0.5}]),
    "SpatialDropout3D": ((2, 2, 2, 3), [{"rate": 0.5}]),
    "Subtract": ((4,), [{}]),
    "UnitNormalization": ((4,), [{}]),
    "UpSampling1D": ((4, 2), [{"size": 3}]),
    "UpSampling2D": ((4, 3, 2), [{"size": (2, 3)}, {"interpolation": "bilinear"}]),
    "UpSampling3D": ((2, 2, 2, 2), [{}]),
    "ZeroPadding1D": ((4, 2), [{"padding": (1, 2)}]),
    "ZeroPadding2D": ((4, 3, 2), [{"padding": ((0, 1), (2, 0))}, {"padding": 1, "data_format": "channels_first"}]),
    "ZeroPadding3D": ((2, 2, 2, 2), [{}]),
    **{
        f"Activation({name})": ((5,), [{"activation": name}])
        for name in (
            "elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu", "linear", "mish", "relu", "relu6",
            "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "tanh",
        )
    },
}  # fmt: skip
MERGING = {"Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"}


def test_every_layer_that_the_bridge_knows_is_tested():
    assert {name.partition("(")[0] for name in LAYERS} == _KNOWN


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_computes_the_same_in_tf_keras_and_back(case):
    kind = case.partition("(")[0]
    shape, every = LAYERS[case]
    image = keras.Input(shape, name="image")
    other = keras.Input(shape, name="other") if kind in MERGING else None
    layers = [getattr(keras.layers, kind)(**arguments, name=f"layer{index}") for index, arguments in enumerate(every)]
    given = image if other is None else [image, other]
    model = randomised(keras.Model(given, [layer(given) for layer in layers]))
    legacy = to_tf_keras(model)
    returned = from_tf_keras(legacy)
    arrays = [2 * samples(shape), 2 * samples(shape)[::-1]][: 1 if other is None else 2]
    fused = kind in {"BatchNormalization", "LayerNormalization", "GroupNormalization"}
    expected = outputs(model, *arrays)
    assert_close(outputs(legacy, *arrays), expected, epsilons=8 if fused else 2)
    for one, two in zip(outputs(returned, *arrays), expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_nested_and_shared_layers_stay_nested_and_shared():
    inner_image = keras.Input((4,), name="inner_image")
    inner = keras.Model(inner_image, keras.layers.Dense(4, name="dense")(inner_image), name="inner")
    chain = keras.Sequential([keras.Input((4,), name="start"), keras.layers.Dense(4, name="link")], name="chain")
    shared = keras.layers.Dense(4, activation="tanh", name="shared")
    image = keras.Input((4,), name="image")
    x = chain(inner(image))
    x = keras.layers.Add(name="add")([shared(x), shared(inner(x))])
    model = randomised(keras.Model(image, x, name="outer"))
    for carried in (to_tf_keras(model), from_tf_keras(to_tf_keras(model))):
        assert [layer.name for layer in carried.layers] == [layer.name for layer in model.layers]
        assert carried.get_layer("inner").get_layer("dense") is not None
        assert type(carried.get_layer("chain")).__name__ == "Sequential"
        assert carried.count_params() == model.count_params() == 3 * (4 * 4 + 4)
        assert_close(outputs(carried, samples((4,))), outputs(model, samples((4,))), epsilons=2)


def test_several_named_inputs_and_outputs_keep_their_structure_and_dtypes():
    left = keras.Input((3,), name="left")
    right = keras.Input((3,), name="right", dtype="uint8")
    half = keras.layers.Rescaling(0.5, name="half")(right)
    both = {"sum": keras.layers.Add(name="sum")([left, half]), "half": half}
    model = keras.Model({"left": left, "right": right}, both, name="dictionaries")
    given = {"left": samples((3,)), "right": np.arange(9, dtype="uint8").reshape(3, 3)}
    expected = {"sum": given["left"] + given["right"] * np.float32(0.5), "half": given["right"] * np.float32(0.5)}
    for carried in (to_tf_keras(model), from_tf_keras(to_tf_keras(model))):
        found = carried(given)
        assert set(found) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_a_fixed_batch_size_and_a_layer_that_is_always_in_inference_stay_so():
    image = keras.Input(batch_shape=(2, 4), name="image")
    model = randomised(keras.Model(image, keras.layers.BatchNormalization(name="norm")(image, training=False)))
    legacy = to_tf_keras(model)
    before = legacy.get_layer("norm").get_weights()
    array = samples((4,), count=2)
    assert legacy.inputs[0].shape == (2, 4)
    assert_close([np.asarray(legacy(array, training=True))], outputs(model, array), epsilons=8)
    np.testing.assert_array_equal(legacy.get_layer("norm").get_weights(), before)


def test_an_adapted_normalization_keeps_what_it_has_learned():
    values = np.array([[1.0, 10.0], [3.0, 30.0]], "float32")
    layer = keras.layers.Normalization(name="norm")
    layer.adapt(values)
    image = keras.Input((2,), name="image")
    model = keras.Model(image, layer(image))
    for carried in (to_tf_keras(model), from_tf_keras(to_tf_keras(model))):
        # Means 2 and 20, standard deviations 1 and 10.
        np.testing.assert_allclose(carried(values), [[-1.0, -1.0], [1.0, 1.0]], rtol=4 * EPSILON)


def test_what_training_needs_is_carried_and_the_copy_shares_no_weights():
    image = keras.Input((3,), name="image")
    dense = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5), kernel_constraint="non_neg", name="a")
    frozen = keras.layers.Dense(2, trainable=False, name="b")
    model = randomised(keras.Model(image, frozen(dense(image))))
    legacy = to_tf_keras(model)
    kernel = dense.kernel.numpy()
    np.testing.assert_allclose(legacy.losses[0], 0.5 * np.sum(kernel**2), rtol=4 * EPSILON)
    assert isinstance(legacy.get_layer("a").kernel_constraint, tf_keras.constraints.NonNeg)
    assert [weight.name for weight in legacy.trainable_weights] == ["a/kernel:0", "a/bias:0"]
    legacy.get_layer("a").kernel.assign(np.zeros((3, 2)))
    np.testing.assert_array_equal(dense.kernel.numpy(), kernel)


def nothing(weight):
    return 0.0 * keras.ops.sum(weight)


def test_every_layer_without_a_counterpart_is_named_at_once():
    image = keras.Input((4, 4, 2), name="image")
    inner_image = keras.Input((4, 4, 2), name="inner_image")
    inner = keras.Model(inner_image, keras.layers.RandomFlip(name="flip")(inner_image), name="inner")
    x = keras.layers.Conv2D(2, 1, activation="log_softmax", name="conv")(inner(image) / 2.0)
    x = keras.layers.Dense(2, kernel_regularizer=nothing, name="dense")(x)
    x = keras.layers.RMSNormalization(name="rms")(x)
    half = keras.layers.Dense(2, dtype="mixed_float16", name="half")(x)
    with pytest.raises(ModelError) as refused:
        to_tf_keras(keras.Model(image, half, name="network"))
    message = str(refused.value)
    for part in (
        "'network'", "inner/flip (RandomFlip)", "(TrueDivide)", "conv (Conv2D): its activation log_softmax",
        "dense (Dense): its kernel_regularizer", "rms (RMSNormalization)", "mixed_float16", "tf_keras",
    ):  # fmt: skip
        assert part in message


def test_hard_sigmoid_of_tf_keras_is_refused_since_keras_3_computes_another():
    image = tf_keras.Input((3,), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Activation("hard_sigmoid", name="gate")(image))
    with pytest.raises(ModelError, match=r"gate \(Activation\): its activation hard_sigmoid has no counterpart"):
        from_tf_keras(model)


def test_models_of_the_wrong_library_and_without_a_graph_are_refused():
    image = keras.Input((3,), name="image")
    model = keras.Model(image, keras.layers.Dense(2)(image))
    with pytest.raises(ModelError, match=r"expected a tf_keras\.Model, received keras"):
        from_tf_keras(model)
    with pytest.raises(ModelError, match=r"expected a keras\.Model, received tf_keras"):
        to_tf_keras(to_tf_keras(model))

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ModelError, match="has no graph of layers"):
        to_tf_keras(Own())
    with pytest.raises(ModelError, match="has no graph of layers"):
        to_tf_keras(keras.Sequential([keras.layers.Dense(2)]))
