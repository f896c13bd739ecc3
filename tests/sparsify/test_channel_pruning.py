"""Channels that fade out while a network trains, and the small network that comes out."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from edgekd import architectures, recipe
from edgekd.cost import count_macs
from edgekd.data.dataset import Dataset
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.errors import ModelError
from edgekd.sparsify.channel_pruning import prune_channels
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.shrinking import shrink
from edgekd.sparsify.stripping import strip

Build = Callable[..., keras.Model]


def resnet() -> keras.Model:
    return architectures.create("resnet", input_shape=(8, 8, 1), num_classes=3, seed=0, arguments={"width": 4})


def test_channels_go_by_the_schedule_coupled_ones_together(images: np.ndarray) -> None:
    model = prune_channels(
        resnet(),
        amount=0.5,
        of="channels",
        divisor=1,
        schedule=PolynomialSchedule(begin_step=1, end_step=5, frequency=2),
    )
    names = ("stage2_block1_b_bn", "stage2_block1_shortcut_conv")
    gone = {name: [] for name in names}
    for _ in range(7):
        model(images, training=True)
        for name in names:
            layer = model.get_layer(name)
            step = int(layer.calls.numpy()) - 1
            gone[name].append(np.flatnonzero(~layer._kept(step).numpy()).tolist())
    # of the 4 that go of 8: none at step 1, 4 · (1 − 0.5³) = 3.5 → 4 at step 3
    assert [len(each) for each in gone[names[0]]] == [0, 0, 0, 4, 4, 4, 4]
    assert gone[names[0]] == gone[names[1]]


def test_trained_and_stripped_channels_are_removed_without_a_change(
    tiny_network: Build, tiny_data: Dataset, images: np.ndarray, tmp_path: Path
) -> None:
    dense = tiny_network()
    schedule = PolynomialSchedule(end_step=6, frequency=2)
    model = prune_channels(dense, amount=0.4, divisor=2, schedule=schedule)
    training = recipe.section(recipe.Training, {"epochs": 2, "learning_rate": 0.05})
    fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
    plain = strip(model)
    np.testing.assert_array_equal(plain(images).numpy(), model(images, training=False).numpy())
    small = shrink(plain)
    np.testing.assert_allclose(small(images).numpy(), plain(images).numpy(), atol=2e-6)
    assert count_macs(small) <= 0.6 * count_macs(dense)
    assert count_macs(small) == count_macs(shrink(dense, amount=0.4, divisor=2))
    architectures.save_model(model, tmp_path / "fading.keras")
    again = architectures.load_model(tmp_path / "fading.keras")
    np.testing.assert_array_equal(again(images).numpy(), model(images).numpy())


def test_batch_normalisation_follows_its_statistics_while_channels_fade(images: np.ndarray) -> None:
    dense = resnet()
    schedule = PolynomialSchedule(begin_step=100, end_step=100)
    model = prune_channels(dense, amount=0.5, of="channels", divisor=1, schedule=schedule)
    dense(images, training=True)
    model(images, training=True)
    norm = model.get_layer("stage1_block1_a_bn").layer
    expected = dense.get_layer("stage1_block1_a_bn")
    np.testing.assert_array_equal(norm.moving_mean.numpy(), expected.moving_mean.numpy())
    np.testing.assert_array_equal(norm.moving_variance.numpy(), expected.moving_variance.numpy())
    assert (norm.moving_mean.numpy() != 0).all()


def test_excluded_layers_keep_their_channels(images: np.ndarray) -> None:
    model = prune_channels(
        resnet(),
        amount=0.1,
        divisor=2,
        schedule=PolynomialSchedule(end_step=0),
        exclude=["stem_conv"],
    )
    small = shrink(strip(model))
    assert small.get_layer("stem_conv").filters == 4
    assert small.get_layer("stage3_block1_a_conv").filters < 16


def test_a_budget_out_of_reach_is_refused() -> None:
    with pytest.raises(ModelError, match="95% of the macs cannot be removed"):
        prune_channels(resnet(), amount=0.95, divisor=2, schedule=PolynomialSchedule(end_step=0))
