"""`edgekd.sparsify_model`: made, taught and plain again in one call."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import edgekd
from edgekd.data.dataset import Dataset
from edgekd.errors import RecipeError
from edgekd.sparsify.sizes import values_of_kernels

Build = Callable[..., keras.Model]
TRAINING = {"epochs": 2, "optimizer": "adam", "learning_rate": 0.01, "batch_size": 16}


@pytest.mark.parametrize("taught", [True, False])
def test_a_pruned_network_is_plain_trained_and_beside_the_given_one(
    dense_network: Build, tiny_data: Dataset, taught: bool
) -> None:
    model = dense_network()
    before = model.get_weights()
    sparse = edgekd.sparsify_model(
        model, model if taught else None, tiny_data, prune={"sparsity": 0.75}, exclude=["logits"], **TRAINING
    )
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    kernels = {name: sparse.get_layer(name).kernel.numpy() for name in ("hidden", "logits")}
    assert {name: int((kernel == 0).sum()) for name, kernel in kernels.items()} == {"hidden": 384, "logits": 0}
    assert type(sparse.get_layer("hidden")) is keras.layers.Dense
    old = model.get_layer("hidden").kernel.numpy()
    assert (kernels["hidden"][kernels["hidden"] != 0] != old[kernels["hidden"] != 0]).all()


def test_settings_of_losses_and_of_the_network_go_their_ways(dense_network: Build, tiny_data: Dataset) -> None:
    model = dense_network()
    losses = [{"loss": "soft_logits", "temperature": 2.0}]
    clustered = edgekd.sparsify_model(
        model, model, tiny_data, cluster={"clusters": 3}, losses=losses, labels_weight=0.5, **TRAINING
    )
    values = values_of_kernels(clustered)
    assert values is not None
    assert values.distinct_values == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "exactly one of prune, cluster and shrink"),
        ({"prune": {"sparsity": 0.5}, "epoch": 2}, "epochs"),
        ({"prune": {"sparsity": 0.5, "rampe": {}}}, "ramp"),
    ],
)
def test_what_is_no_setting_is_refused(
    dense_network: Build, tiny_data: Dataset, settings: dict[str, Any], words: str
) -> None:
    model = dense_network()
    with pytest.raises(RecipeError, match=words):
        edgekd.sparsify_model(model, model, tiny_data, **settings)
