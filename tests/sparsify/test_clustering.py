"""Clustered kernels: k-means by an independent source, few values, gradients, kept zeros, plain results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.cluster.vq import kmeans2

from edgekd import architectures, recipe
from edgekd.data.dataset import Dataset
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.errors import ModelError, RecipeError
from edgekd.quantize.aware import quantize_aware
from edgekd.sparsify.clustering import cluster
from edgekd.sparsify.kmeans import centroids
from edgekd.sparsify.pruning import prune
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.shared_values import FixedClusters, keep_clusters
from edgekd.sparsify.sizes import kernel_contents
from edgekd.sparsify.stripping import strip

Build = Callable[..., keras.Model]

VALUES = np.random.default_rng(3).normal(size=500).astype(np.float32)


@pytest.mark.parametrize("initial", ["linear", "density"])
def test_centroids_are_those_of_scipys_k_means(initial: Any) -> None:
    start = {
        "linear": np.linspace(VALUES.min(), VALUES.max(), 6),
        "density": np.quantile(VALUES.astype(np.float64), (np.arange(6) + 0.5) / 6),
    }[initial]
    expected, _ = kmeans2(VALUES.astype(np.float64), start, iter=300, minit="matrix")
    np.testing.assert_allclose(centroids(VALUES, 6, initial=initial), np.sort(expected), rtol=1e-6)


def test_k_means_plus_plus_follows_its_seed_and_ends_at_a_fixed_point() -> None:
    found = centroids(VALUES, 8, initial="kmeans++", seed=1)
    np.testing.assert_array_equal(found, centroids(VALUES, 8, initial="kmeans++", seed=1))
    nearest = np.abs(VALUES[:, None].astype(np.float64) - found.astype(np.float64)).argmin(axis=1)
    means = [VALUES[nearest == place].mean(dtype=np.float64) for place in range(8)]
    np.testing.assert_allclose(found, means, rtol=1e-5)


def test_few_distinct_values_are_their_own_centroids() -> None:
    np.testing.assert_array_equal(centroids(np.array([[1.0, 3.0], [1.0, 2.0]], np.float32), 8), [1.0, 2.0, 3.0])


def test_a_kernel_holds_so_many_distinct_values_at_most_after_training(
    dense_network: Build, tiny_data: Dataset, images: np.ndarray
) -> None:
    model = cluster(dense_network(), clusters=5)
    start = model.get_layer("hidden").centroids.numpy().copy()
    training = recipe.section(recipe.Training, {"epochs": 2})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    plain = strip(model)
    assert max(content.distinct_values for content in kernel_contents(plain)) <= 5
    assert (model.get_layer("hidden").centroids.numpy() != start).all()
    np.testing.assert_array_equal(plain(images).numpy(), model(images, training=False).numpy())


def test_a_centroid_moves_by_the_mean_gradient_of_its_weights_and_a_weight_by_its_own(
    tiny_network: Build, images: np.ndarray
) -> None:
    dense = tiny_network()
    model = cluster(dense, clusters=4)
    layer = model.get_layer("logits")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=False)))
    for_centroids, for_weights = tape.gradient(loss, [layer.centroids.value, layer.layer.kernel.value])
    plain = strip(model)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(plain(images, training=False)))
    expected = tape.gradient(loss, plain.get_layer("logits").kernel.value).numpy()
    np.testing.assert_allclose(for_weights.numpy(), expected, rtol=1e-5, atol=1e-6)
    kernel = plain.get_layer("logits").kernel.numpy()
    means = [expected[kernel == value].mean() for value in layer.centroids.numpy()]
    np.testing.assert_allclose(for_centroids.numpy(), means, rtol=1e-4, atol=1e-6)


def test_zeros_stay_zero_and_are_one_of_the_values(dense_network: Build, tiny_data: Dataset) -> None:
    pruned = strip(prune(dense_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=0)))
    model = cluster(pruned, clusters=4)
    training = recipe.section(recipe.Training, {"epochs": 1})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    plain = strip(model)
    for content in kernel_contents(plain):
        assert content.sparsity >= 0.5
        assert content.distinct_values <= 4
    zero = pruned.get_layer("hidden").kernel.numpy() == 0
    np.testing.assert_array_equal(plain.get_layer("hidden").kernel.numpy()[zero], 0)


def test_two_values_of_a_pruned_kernel_are_zero_and_another(tiny_network: Build, images: np.ndarray) -> None:
    pruned = strip(prune(tiny_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=0)))
    plain = strip(cluster(pruned, clusters=2))
    assert [content.distinct_values for content in kernel_contents(plain)] == [2, 2, 2]
    assert np.isfinite(plain(images).numpy()).all()


def test_a_file_holds_the_clusters(tiny_network: Build, images: np.ndarray, tmp_path: Path) -> None:
    model = cluster(tiny_network(), clusters=3, exclude=["conv1"])
    architectures.save_model(model, tmp_path / "clustered.keras")
    again = architectures.load_model(tmp_path / "clustered.keras")
    np.testing.assert_array_equal(model(images).numpy(), again(images).numpy())
    assert [content.distinct_values for content in kernel_contents(strip(again))] == [72, 3, 3]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"clusters": 1}, RecipeError, "clusters is 1: expected 2"),
        ({"initial": "densety"}, RecipeError, "'densety'. Did you mean 'density'"),
        ({"exclude": ["logit"]}, ModelError, "'logit'. Did you mean 'logits'"),
        ({"exclude": ["conv1", "conv2", "logits"]}, ModelError, "nothing to cluster"),
    ],
)
def test_what_cannot_be_clustered_is_refused(
    tiny_network: Build, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cluster(tiny_network(), **settings)


def held(build: Build) -> tuple[keras.Model, keras.Model]:
    plain = strip(cluster(strip(prune(build(), sparsity=0.5, schedule=PolynomialSchedule(end_step=0))), clusters=5))
    return plain, keep_clusters(plain, clusters=5)


def test_clusters_that_are_kept_move_as_a_whole_and_zeros_stay(dense_network: Build, tiny_data: Dataset) -> None:
    before, model = held(dense_network)
    training = recipe.section(recipe.Training, {"epochs": 1, "momentum": 0.9})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    for name in ("hidden", "logits"):
        old, new = (network.get_layer(name).kernel.numpy() for network in (before, model))
        np.testing.assert_array_equal(new[old == 0], 0)
        for value in np.unique(old[old != 0]):
            (moved,) = np.unique(new[old == value])
            assert moved != value


def test_a_cluster_gets_the_mean_of_its_weights() -> None:
    constraint = FixedClusters.of(np.array([[1.0, 0.0, 2.0], [2.0, 1.0, 1.0]], np.float32))
    updated = np.array([[1.5, np.inf, 4.0], [2.0, 0.0, 3.0]], np.float32)
    np.testing.assert_array_equal(constraint(updated), [[1.5, 0.0, 3.0], [3.0, 1.5, 1.5]])


def test_kept_clusters_go_through_files_and_quantisation_and_strip_frees_them(
    tiny_network: Build, images: np.ndarray, tmp_path: Path
) -> None:
    _, model = held(tiny_network)
    architectures.save_model(model, tmp_path / "held.keras")
    again = architectures.load_model(tmp_path / "held.keras").get_layer("conv2").kernel.constraint
    np.testing.assert_array_equal(again.places, model.get_layer("conv2").kernel.constraint.places)
    aware = {layer.name: layer for layer in quantize_aware(model, images)._flatten_layers()}
    assert isinstance(aware["conv2"].kernel.constraint, FixedClusters)
    assert strip(model).get_layer("conv2").kernel.constraint is None


@pytest.mark.parametrize(
    ("clusters", "words"), [(1, "clusters is 1: expected 2"), (2, "no kernel of model 'dense' has 2 values or fewer")]
)
def test_clusters_that_are_none_cannot_be_kept(dense_network: Build, clusters: int, words: str) -> None:
    with pytest.raises((ModelError, RecipeError), match=words):
        keep_clusters(dense_network(), clusters=clusters)
