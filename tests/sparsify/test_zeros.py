"""Zeros that are kept stay zero through training, files, clones and other wrappers."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from edgekd import architectures, recipe
from edgekd.data.dataset import Dataset
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.errors import ModelError
from edgekd.quantize.aware import quantize_aware
from edgekd.sparsify.kernels import kernel_of
from edgekd.sparsify.pruning import prune
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.stripping import strip
from edgekd.sparsify.zeros import FixedZeros, keep_zeros

Build = Callable[..., keras.Model]


def pruned(build: Build) -> keras.Model:
    return strip(prune(build(), sparsity=0.6, schedule=PolynomialSchedule(end_step=0)))


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [layer.kernel.numpy() for layer in model.layers if isinstance(layer, layers.Dense)]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "adamw", "learning_rate": 0.01, "accumulation_steps": 2, "precision": "mixed_float16"},
    ],
)
def test_zeros_survive_training_and_the_other_weights_move(
    dense_network: Build, tiny_data: Dataset, settings: dict[str, object]
) -> None:
    start = pruned(dense_network)
    model = keep_zeros(start)
    training = recipe.section(recipe.Training, {"epochs": 2, **settings})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    for before, after in zip(kernels(start), kernels(model), strict=True):
        np.testing.assert_array_equal(after[before == 0], 0)
        assert (after[before != 0] != before[before != 0]).mean() > 0.9


def test_zeros_survive_quantisation_aware_training(tiny_network: Build, tiny_data: Dataset, images: np.ndarray) -> None:
    start = pruned(tiny_network)
    model = quantize_aware(keep_zeros(start), images)
    training = recipe.section(recipe.Training, {"epochs": 1})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    trained = {layer.name: layer for layer in model._flatten_layers() if kernel_of(layer) is not None}
    for name in ("conv1", "conv2", "logits"):
        before, after = start.get_layer(name).kernel.numpy(), trained[name].kernel.numpy()
        np.testing.assert_array_equal(after[before == 0], 0)
        assert (after[before != 0] != before[before != 0]).mean() > 0.9


def test_zeros_survive_in_a_layer_that_another_wraps(tiny_network: Build, images: np.ndarray) -> None:
    inner = keep_zeros(pruned(tiny_network)).get_layer("conv2")
    copy = type(inner).from_config(inner.get_config())
    inputs = keras.Input((8, 8, 8))
    model = keras.Model(inputs, layers.TimeDistributed(copy)(layers.Reshape((1, 8, 8, 8))(inputs)))
    copy.set_weights(inner.get_weights())
    zero = copy.kernel.numpy() == 0
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    features = np.repeat(images, 8, axis=-1)
    model.fit(features, np.ones((4, 1, 4, 4, 8), np.float32), epochs=3, verbose=0)
    np.testing.assert_array_equal(copy.kernel.numpy()[zero], 0)
    assert (copy.kernel.numpy()[~zero] != inner.kernel.numpy()[~zero]).all()


def test_a_file_holds_the_constraint(tiny_network: Build, tmp_path: Path) -> None:
    model = keep_zeros(pruned(tiny_network))
    architectures.save_model(model, tmp_path / "fixed.keras")
    again = architectures.load_model(tmp_path / "fixed.keras")
    constraint = again.get_layer("conv2").kernel.constraint
    assert isinstance(constraint, FixedZeros)
    np.testing.assert_array_equal(constraint.kept, model.get_layer("conv2").kernel.numpy() != 0)


def test_an_infinite_update_of_a_zero_is_undone() -> None:
    constraint = FixedZeros(np.array([True, False, False]))
    np.testing.assert_array_equal(constraint(np.array([2.0, np.inf, np.nan], np.float32)), [2.0, 0.0, 0.0])


def test_strip_removes_the_constraint_and_nothing_else(tiny_network: Build) -> None:
    model = keep_zeros(pruned(tiny_network))
    plain = strip(model)
    assert plain.get_layer("conv2").kernel.constraint is None
    for mine, theirs in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_a_network_without_zeros_is_refused(tiny_network: Build) -> None:
    with pytest.raises(ModelError, match="no kernel of model 'tiny' holds a zero"):
        keep_zeros(tiny_network())


def test_a_constraint_of_the_users_own_is_not_replaced() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_constraint="non_neg", name="mine")])
    model.set_weights([np.zeros((3, 2)), np.zeros(2)])
    with pytest.raises(ModelError, match=r"layers mine of model .* have a constraint"):
        keep_zeros(model)
