"""Quantisation-aware training by tensorflow-model-optimization, up to the int8 file."""

import h5py
import numpy as np
import pytest
import tf_keras

from edgekd.errors import ModelError, RecipeError, StorageError
from edgekd.quantize.legacy import inference_function, load, quantize_aware, save, strip


@pytest.fixture(scope="module")
def quantised(small, fit):
    return fit(quantize_aware(small))


def test_the_int8_file_computes_what_the_fake_quantised_network_computes(quantised, int8_file, assert_same_steps):
    file = int8_file(quantised)
    assert file.operators == ["CONV_2D", "CONV_2D", "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert file.dtypes == {np.int8, np.int32}
    assert_same_steps(file, quantised)


def test_the_network_that_is_given_stays_as_it_was(small, images):
    before = small.get_weights()
    names = [weight.name for weight in small.weights]
    quantised = quantize_aware(small)
    quantised.set_weights([np.zeros_like(weight) for weight in quantised.get_weights()])
    assert [weight.name for weight in small.weights] == names
    for one, other in zip(small.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(len(layer._inbound_nodes) == 1 for layer in small.layers)


def test_an_excluded_layer_keeps_float_weights(small, train, int8_file):
    quantised = train(quantize_aware(small, exclude=["second"]))
    assert quantised.get_layer("second").kernel.shape == (3, 3, 8, 8)
    assert "quant_conv" in [layer.name for layer in quantised.layers]
    file = int8_file(quantised)
    assert np.float32 in file.dtypes
    assert [(kernel.shape, kernel.dtype) for kernel in file.kernels] == [
        ((8, 3, 3, 2), np.int8),
        ((8, 3, 3, 8), np.float32),
        ((3, 32), np.int8),
    ]


def network_of_refused_layers():
    layers = tf_keras.layers
    inner_image = tf_keras.Input((4, 4, 4), name="inner_image")
    inner = tf_keras.Model(inner_image, layers.Conv2D(4, 1, name="deep")(inner_image), name="inner")
    image = tf_keras.Input((4, 4, 2), name="image")
    x = layers.Rescaling(2.0, name="rescale")(image)
    x = layers.Conv2D(4, 1, activation="elu", name="conv")(x)
    x = layers.SeparableConv2D(4, 1, activation="selu", name="separable")(x)
    x = layers.LayerNormalization(name="layer_norm")(x)
    x = layers.Reshape((4, 4, 4), name="back")(
        layers.SeparableConv1D(4, 1, name="line")(layers.Reshape((16, 4), name="flatten")(x))
    )
    x = layers.MaxPooling2D(1, name="pool")(x)
    x = layers.BatchNormalization(name="lonely_norm")(x)
    x = layers.Multiply(name="gate")([x, layers.Activation("softplus", name="odd")(x)])
    return tf_keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten(name="flat")(inner(x))), name="refused")


def test_every_layer_that_cannot_be_quantised_is_named_at_once():
    with pytest.raises(ModelError) as refused:
        quantize_aware(network_of_refused_layers())
    message = str(refused.value)
    for part in (
        "9 layer(s)", "'refused'", "rescale (Rescaling)", "conv (Conv2D with activation elu)",
        "separable (SeparableConv2D with activation selu)", "layer_norm (LayerNormalization)",
        "line (SeparableConv1D)", "lonely_norm (BatchNormalization that does not directly follow", "gate (Multiply)",
        "odd (Activation with activation softplus)", "inner (a nested model",
        "exclude", "from_tf_keras",
    ):  # fmt: skip
        assert part in message
    for innocent in ("logits", "flat", "pool"):
        assert f"{innocent} (" not in message


def test_excluding_what_was_named_leaves_nothing_to_refuse(images):
    layers = tf_keras.layers
    image = tf_keras.Input((7, 7, 2), name="image")
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(0.5, name="rescale")(image))
    x = layers.Multiply(name="gate")([x, x])
    model = tf_keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten(name="flat")(x)))
    quantised = quantize_aware(model, exclude=["rescale", "gate"])
    quantised(images, training=True)  # the ranges
    assert np.isfinite(quantised(images, training=False)).all()


@pytest.mark.parametrize("preserve", ["sparsity", "clusters"])
def test_there_must_be_something_to_preserve(small, preserve):
    with pytest.raises(ModelError, match=r"nothing to preserve: use (prune_low_magnitude|cluster_weights) and strip"):
        quantize_aware(small, preserve=[preserve])


def test_unknown_names_are_refused_with_the_nearest_known_one(small):
    with pytest.raises(ModelError, match=r"'secnd'.*Did you mean 'second'"):
        quantize_aware(small, exclude=["secnd"])
    with pytest.raises(RecipeError, match=r"exclude is 'second': expected a list"):
        quantize_aware(small, exclude="second")
    with pytest.raises(RecipeError, match=r"'sparse'.*Did you mean 'sparsity'"):
        quantize_aware(small, preserve=["sparse"])


def test_networks_of_keras_3_and_subclassed_ones_are_refused(small):
    import keras

    image = keras.Input((4,), name="image")
    with pytest.raises(ModelError, match="to_tf_keras"):
        quantize_aware(keras.Model(image, keras.layers.Dense(2)(image)))

    class Own(tf_keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ModelError, match="subclassed or unbuilt"):
        quantize_aware(Own())
    with pytest.raises(ModelError, match="subclassed or unbuilt"):
        quantize_aware(tf_keras.Sequential([tf_keras.layers.Dense(2)]))


def test_a_quantised_network_is_not_quantised_again(quantised):
    with pytest.raises(ModelError, match=r"already being .*quant_conv, .*Strip the network first"):
        quantize_aware(quantised)


def test_a_layer_that_is_not_trainable_is_refused_since_it_would_be_trained():
    image = tf_keras.Input((4,), name="image")
    x = tf_keras.layers.Dense(4, trainable=False, name="frozen")(image)
    model = tf_keras.Model(image, tf_keras.layers.Dense(2, name="logits")(x), name="network")
    with pytest.raises(ModelError, match=r"1 layer\(s\).*frozen \(Dense that is not trainable"):
        quantize_aware(model)
    assert [weight.name for weight in quantize_aware(model, exclude=["frozen"]).trainable_weights] == [
        "logits/kernel:0",
        "logits/bias:0",
    ]


def test_layers_that_are_called_twice_and_separable_ones_are_quantised(images, int8_file):
    layers = tf_keras.layers
    image = tf_keras.Input((7, 7, 2), name="image")
    shared = layers.Conv2D(2, 3, padding="same", name="shared")
    x = layers.Add(name="add")([shared(shared(image)), image])
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(layers.SeparableConv2D(3, 3, name="split")(x)))
    quantised = quantize_aware(tf_keras.Model(image, x))
    quantised(images, training=True)  # the ranges
    file = int8_file(quantised)
    assert file.operators == ["CONV_2D", "CONV_2D", "ADD", "DEPTHWISE_CONV_2D", "CONV_2D"]
    assert file.dtypes == {np.int8, np.int32}


def test_a_saved_network_has_the_same_outputs_and_can_be_trained_on(quantised, train, images, tmp_path):
    save(quantised, tmp_path / "network.h5")
    loaded = load(tmp_path / "network.h5")
    np.testing.assert_array_equal(loaded(images, training=False), quantised(images, training=False))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in quantised.layers]
    train(loaded)
    assert np.any(np.asarray(loaded(images, training=False)) != np.asarray(quantised(images, training=False)))


def test_only_h5_files_are_written_and_only_networks_are_read(quantised, tmp_path):
    with pytest.raises(ModelError, match=r"\.h5"):
        save(quantised, tmp_path / "network.keras")
    with pytest.raises(StorageError, match="does not exist"):
        load(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("no network")
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path / "text.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["text.h5"]
    save(quantised, tmp_path / "network.h5")
    with h5py.File(tmp_path / "network.h5", "a") as file:
        del file["model_weights"]["quant_conv"]
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tmp_path / "network.h5")


def test_code_in_a_file_is_neither_written_nor_run(tmp_path):
    image = tf_keras.Input((4,), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Lambda(lambda x: x, name="code")(image))
    with pytest.raises(ModelError, match="code"):
        save(model, tmp_path / "network.h5")
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(tmp_path / "network.h5")
    with pytest.raises(ModelError, match="code"):
        load(tmp_path / "network.h5")


def test_a_plain_network_has_nothing_to_strip(small):
    with pytest.raises(ModelError, match="no layer that is being pruned, clustered or quantised"):
        strip(small)


def test_the_function_needs_one_input_of_known_size():
    image = tf_keras.Input((None, 4), name="image")
    with pytest.raises(ModelError, match="only the batch may vary"):
        inference_function(tf_keras.Model(image, tf_keras.layers.Dense(2)(image)))
    one, two = tf_keras.Input((4,)), tf_keras.Input((4,))
    with pytest.raises(ModelError, match="has 2 inputs"):
        inference_function(tf_keras.Model([one, two], tf_keras.layers.Add()([one, two])))
