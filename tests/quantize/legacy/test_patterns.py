"""Zeros and clusters that tensorflow-model-optimization makes, and that survive quantisation-aware training."""

import numpy as np
import pytest
import tf_keras

from edgekd.errors import ModelError, RecipeError
from edgekd.quantize.legacy import (
    cluster_weights,
    prune_low_magnitude,
    prune_n_of_m,
    pruning_callbacks,
    quantize_aware,
    save,
    strip,
)

KERNELS = ("conv", "second", "logits")
CLUSTERS = 4


def kernels(model):
    return {name: model.get_layer(name).kernel.numpy() for name in KERNELS}


def zeros(array):
    return float(np.mean(array == 0))


def most_distinct(array, axis=None):
    """Returns the number of distinct values, or with an axis the largest number along it."""
    parts = [array] if axis is None else np.moveaxis(array, axis, 0)
    return max(np.unique(part).size for part in parts)


@pytest.fixture(scope="module")
def pruning(small, fit):
    return fit(prune_low_magnitude(small, sparsity=0.75, end_step=6, frequency=2), pruning_callbacks())


@pytest.fixture(scope="module")
def pruned(pruning):
    return strip(pruning)


@pytest.fixture(scope="module")
def clustered(pruned, train):
    """Has zeros, and few distinct weights in each output channel."""
    return strip(train(cluster_weights(pruned, clusters=CLUSTERS, per_channel=True, preserve_sparsity=True)))


def test_pruning_leaves_the_asked_fraction_of_zeros_and_the_layers_as_they_were_named(small, pruned, images):
    assert {name: zeros(kernel) for name, kernel in kernels(pruned).items()} == dict.fromkeys(KERNELS, 0.75)
    assert zeros(small.get_layer("conv").kernel.numpy()) == 0
    assert [layer.name for layer in pruned.layers] == [layer.name for layer in small.layers]
    assert [weight.shape for weight in pruned.weights] == [weight.shape for weight in small.weights]
    assert np.ptp(pruned(images, training=False)) > 0


def test_pruning_by_block_leaves_two_zeros_of_four_along_the_input_channels(small, fit):
    model = strip(fit(prune_n_of_m(small, exclude=["logits"]), pruning_callbacks()))
    blocks = np.moveaxis(model.get_layer("second").kernel.numpy(), -1, 0).reshape(-1, 4)
    np.testing.assert_array_equal(np.sum(blocks == 0, axis=1), 2)
    # Two input channels are no block, and the last layer was excluded.
    assert zeros(model.get_layer("conv").kernel.numpy()) == zeros(model.get_layer("logits").kernel.numpy()) == 0


def test_strip_removes_weights_that_grew_back_after_the_last_mask(pruning):
    """The callback masks at the end of an epoch only; a loop of one's own may stop anywhere."""
    wrapper = pruning.get_layer("prune_low_magnitude_second")
    before = wrapper.layer.kernel.numpy()
    wrapper.layer.kernel.assign(before + 1.0)
    try:
        assert zeros(strip(pruning).get_layer("second").kernel.numpy()) == 0.75
        assert zeros(wrapper.layer.kernel.numpy()) < 0.1  # the argument is not changed
    finally:
        wrapper.layer.kernel.assign(before)


def test_pruned_weights_are_zero_in_the_int8_file_after_quantisation_aware_training(
    pruned, train, int8_file, images, assert_same_steps
):
    quantised = train(quantize_aware(pruned, preserve=["sparsity"]))
    stripped = strip(quantised)
    np.testing.assert_array_equal(stripped(images, training=False), quantised(images, training=False))
    file = int8_file(stripped)
    assert file.dtypes == {np.int8, np.int32}
    assert [kernel.shape for kernel in file.kernels] == [(8, 3, 3, 2), (8, 3, 3, 8), (3, 32)]
    assert min(zeros(kernel) for kernel in file.kernels) >= 0.75
    assert_same_steps(file, quantised)


def test_without_preserving_them_zeros_grow_back(pruned, train):
    quantised = train(quantize_aware(pruned))
    assert zeros(quantised.get_layer("quant_second").get_weights()[0]) < 0.5


def test_clustering_leaves_few_values_in_each_kernel_and_the_network_that_was_given_as_it_was(small, train):
    before = small.get_weights()
    model = strip(train(cluster_weights(small, clusters=CLUSTERS, exclude=["logits"])))
    found = {name: most_distinct(kernel) for name, kernel in kernels(model).items()}
    assert found["logits"] == 96
    assert all(2 <= found[name] <= CLUSTERS for name in ("conv", "second"))
    assert [layer.name for layer in model.layers] == [layer.name for layer in small.layers]
    for one, other in zip(small.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_clustering_keeps_the_zeros_that_it_is_told_to_keep(clustered):
    for name, kernel in kernels(clustered).items():
        assert zeros(kernel) >= 0.75
        assert most_distinct(kernel, axis=None if name == "logits" else -1) <= CLUSTERS


@pytest.mark.parametrize("preserve", [["clusters"], ["sparsity", "clusters"]])
def test_clusters_are_in_the_int8_file_after_quantisation_aware_training(
    clustered, train, int8_file, images, assert_same_steps, preserve
):
    quantised = train(quantize_aware(clustered, preserve=preserve))
    stripped = strip(quantised)
    np.testing.assert_array_equal(stripped(images, training=False), quantised(images, training=False))
    assert not [weight.name for weight in stripped.weights if "cluster" in weight.name]
    file = int8_file(stripped)
    assert file.dtypes == {np.int8, np.int32}
    assert len(file.kernels) == len(KERNELS)
    for kernel in file.kernels:
        assert most_distinct(kernel, axis=0 if kernel.ndim == 4 else None) <= CLUSTERS
        assert "sparsity" not in preserve or zeros(kernel) >= 0.75
    assert_same_steps(file, quantised)


def test_a_layer_without_zeros_does_not_stop_the_others_from_keeping_theirs(clustered, train):
    """As one registry of tfmot's would, which has one quantiser for all convolutions."""
    mixed = tf_keras.models.clone_model(clustered)
    mixed.set_weights(clustered.get_weights())
    (kernel,) = mixed.get_layer("conv").get_weights()
    mixed.get_layer("conv").set_weights([np.random.default_rng(3).choice([0.1, 0.2, 0.3], kernel.shape)])
    quantised = train(quantize_aware(mixed, preserve=["sparsity", "clusters"]))
    assert zeros(quantised.get_layer("quant_conv").get_weights()[0]) == 0
    assert zeros(quantised.get_layer("quant_second").get_weights()[0]) >= 0.75


def test_training_in_progress_is_neither_saved_nor_wrapped_again(pruning, tmp_path):
    with pytest.raises(ModelError, match=r"already being .*prune_low_magnitude_conv.*Strip the network first"):
        cluster_weights(pruning, clusters=CLUSTERS)
    with pytest.raises(ModelError, match=r"prune_low_magnitude_conv.*Strip the network first"):
        save(pruning, tmp_path / "network.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0, "end_step": 10}, "sparsity must be from 0 to below 1, received 1.0"),
        ({"sparsity": 0.5, "initial_sparsity": -0.1, "end_step": 10}, "initial_sparsity .* received -0.1"),
        ({"sparsity": 0.5, "begin_step": 10, "end_step": 10}, "begin_step < end_step, received 10 and 10"),
        ({"sparsity": 0.5, "end_step": 10, "frequency": 100}, "frequency must divide .* = 10, received 100"),
        ({"sparsity": 0.5, "end_step": 10, "frequency": 3}, "frequency must divide .* = 10, received 3"),
    ],
)
def test_schedules_that_do_not_reach_the_sparsity_are_refused(small, arguments, message):
    with pytest.raises(RecipeError, match=message):
        prune_low_magnitude(small, **arguments)


def test_numbers_out_of_range_are_refused(small):
    with pytest.raises(RecipeError, match="0 < zeros < block, received 4 and 4"):
        prune_n_of_m(small, zeros=4, block=4)
    with pytest.raises(RecipeError, match="clusters must be at least 2, received 1"):
        cluster_weights(small, clusters=1)
    with pytest.raises(RecipeError, match="clusters must be at least 3 with preserve_sparsity, received 2"):
        cluster_weights(small, clusters=2, preserve_sparsity=True)


def test_layers_that_cannot_be_treated_are_named_at_once(small):
    layers = tf_keras.layers
    image = tf_keras.Input((6, 2), name="image")
    x = layers.Conv1DTranspose(4, 3, name="up")(layers.Conv1D(4, 3, name="line")(image))
    model = tf_keras.Model(image, layers.SimpleRNN(2, name="recurrent")(x), name="odd")
    with pytest.raises(ModelError, match=r"1 layer\(s\) of model 'odd'.*up \(Conv1DTranspose\).*exclude"):
        prune_low_magnitude(model, sparsity=0.5, end_step=10, frequency=5)
    with pytest.raises(ModelError, match=r"line \(Conv1D\), up \(Conv1DTranspose\)"):
        prune_n_of_m(model)
    with pytest.raises(ModelError, match=r"conv \(144\), logits \(96\)"):
        cluster_weights(small, clusters=200)
    with pytest.raises(ModelError, match=r"'cnv'.*Did you mean 'conv'"):
        cluster_weights(small, clusters=4, exclude=["cnv"])
    with pytest.raises(ModelError, match="no layer to prune"):
        prune_n_of_m(small, exclude=["second", "logits"])
    with pytest.raises(ModelError, match="no layer to cluster"):
        cluster_weights(small, clusters=4, exclude=KERNELS)


def test_layers_of_nested_models_are_treated_and_excluded_by_their_paths():
    layers = tf_keras.layers
    inner_image = tf_keras.Input((7, 7, 2), name="inner_image")
    x = layers.Conv2D(4, 1, name="left")(inner_image)
    inner = tf_keras.Model(inner_image, layers.Conv2D(4, 1, name="right")(x), name="inner")
    image = tf_keras.Input((7, 7, 2), name="image")
    x = layers.Flatten(name="flat")(inner(image))
    model = tf_keras.Model(image, layers.Dense(3, name="logits")(x))
    clustered = strip(cluster_weights(model, clusters=3, exclude=["inner/right"]))
    found = clustered.get_layer("inner")
    assert [most_distinct(found.get_layer(name).kernel.numpy()) for name in ("left", "right")] == [3, 16]
    assert most_distinct(clustered.get_layer("logits").kernel.numpy()) == 3
