"""Pruned networks: exact sparsity, the schedule, what validation sees, files, checkpoints and the real loop."""

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import edgekd
from edgekd import architectures, recipe
from edgekd.data.dataset import Dataset
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.distill.state import TrainingState
from edgekd.distill.stopping import StopRequest
from edgekd.errors import ModelError, RecipeError, StoppedError
from edgekd.sparsify.pruning import PrunedKernel, prune
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.sizes import kernel_contents
from edgekd.sparsify.stripping import strip

Build = Callable[..., keras.Model]

SCHEDULE = PolynomialSchedule(begin_step=2, end_step=8, frequency=3)


def train(model: keras.Model, data: Dataset, *, settings: dict[str, Any] | None = None, **further: Any) -> Any:
    section = recipe.section(recipe.Training, {"epochs": 3, "learning_rate": 0.05, **(settings or {})})
    return fit(model, data, objective=Objective(), training=section, batch_size=32, seed=5, **further)


def zeros(model: keras.Model) -> dict[str, int]:
    return {content.layer: content.zeros for content in kernel_contents(model)}


@pytest.mark.parametrize("share", [0.0, 0.29, 0.5, 0.9])
def test_each_kernel_has_the_nearest_whole_number_of_zeros(tiny_network: Build, share: float) -> None:
    stripped = strip(prune(tiny_network(), sparsity=share, schedule=SCHEDULE))
    sizes = {"conv1": 72, "conv2": 576, "logits": 384}
    assert zeros(stripped) == {name: math.floor(share * size + 0.5) for name, size in sizes.items()}


def test_each_named_layer_has_a_sparsity_of_its_own(tiny_network: Build) -> None:
    stripped = strip(prune(tiny_network(), sparsity={"conv2": 0.75, "logits": 0.5}, schedule=SCHEDULE))
    assert zeros(stripped) == {"conv1": 0, "conv2": 432, "logits": 192}


def test_the_mask_of_a_training_step_is_that_of_the_schedule(tiny_network: Build, images: np.ndarray) -> None:
    model = prune(tiny_network(), sparsity=0.8, schedule=SCHEDULE)
    layer = model.get_layer("conv2")
    removed = []
    for _ in range(10):
        model(images, training=True)
        removed.append(int((~layer.mask.numpy()).sum()))
    # of 576: nothing before step 2 and, from 0, at it; 0.8·(1 − 0.5³) = 0.7 from step 5, 0.8 from step 8
    assert removed == [0, 0, 0, 0, 0, 403, 403, 403, 461, 461]


def test_after_the_last_change_the_mask_stays_though_weights_move(tiny_network: Build, images: np.ndarray) -> None:
    model = prune(tiny_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=1))
    layer = model.get_layer("conv2")
    for _ in range(2):
        model(images, training=True)
    mask = layer.mask.numpy()
    layer.layer.kernel.assign(layer.layer.kernel.numpy()[::-1])
    model(images, training=True)
    np.testing.assert_array_equal(layer.mask.numpy(), mask)
    kernel = strip(model).get_layer("conv2").kernel.numpy()
    np.testing.assert_array_equal(kernel, layer.layer.kernel.numpy() * mask)


@pytest.mark.parametrize("pattern", [{"sparsity": 0.7}, {"pattern": "2:4"}])
def test_inference_at_any_time_is_the_stripped_network(
    dense_network: Build, images: np.ndarray, pattern: dict[str, Any]
) -> None:
    model = prune(dense_network(), schedule=SCHEDULE, **pattern)
    for step in range(12):
        if step in {0, 4, 11}:
            np.testing.assert_array_equal(model(images, training=False).numpy(), strip(model)(images).numpy())
        model(images, training=True)


def test_a_pruned_network_begins_as_the_dense_one_and_leaves_it_alone(dense_network: Build, images: np.ndarray) -> None:
    dense = dense_network()
    before = [weight.numpy().copy() for weight in dense.variables]
    model = prune(dense, sparsity=0.9, schedule=PolynomialSchedule(begin_step=1, end_step=1))
    assert [layer.name for layer in model.layers] == [layer.name for layer in dense.layers]
    first = model(images, training=True).numpy()
    assert (model(images, training=True).numpy() != first).any()
    for old, weight in zip(before, dense.variables, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())
    # Dropout's state was copied too, so that both draw the same numbers.
    np.testing.assert_array_equal(first, dense(images, training=True).numpy())


def test_only_kept_weights_get_a_gradient(tiny_network: Build, images: np.ndarray) -> None:
    model = prune(tiny_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=0))
    layer = model.get_layer("conv2")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=True)))
    gradient = tape.gradient(loss, layer.layer.kernel.value).numpy()
    mask = layer.mask.numpy()
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).mean() > 0.9  # but for kernels behind a ReLU that is off everywhere


def test_2_of_every_4_input_channels_are_kept_where_they_are_a_multiple(tiny_network: Build) -> None:
    stripped = strip(prune(tiny_network(), pattern="2:4", schedule=SCHEDULE))
    assert (stripped.get_layer("conv1").kernel.numpy() != 0).all()  # one input channel
    conv = stripped.get_layer("conv2").kernel.numpy().reshape(3, 3, 2, 4, 8)
    np.testing.assert_array_equal((conv != 0).sum(axis=3), 2)
    dense = stripped.get_layer("logits").kernel.numpy().reshape(32, 4, 3)
    np.testing.assert_array_equal((dense != 0).sum(axis=1), 2)


def test_a_shared_layer_changes_its_mask_once_a_step() -> None:
    inputs = keras.Input((6,))
    shared = layers.Dense(6, name="shared")
    model = prune(
        keras.Model(inputs, shared(shared(inputs))), sparsity=0.5, schedule=PolynomialSchedule(end_step=2, frequency=1)
    )
    removed = []
    for _ in range(4):
        model(np.ones((1, 6), np.float32), training=True)
        removed.append(int((~model.get_layer("shared").mask.numpy()).sum()))
    assert removed == [0, 16, 18, 18]  # 36 · 0.5 · (1 − 0.5³) = 15.75


def test_regularisers_of_a_pruned_layer_count(images: np.ndarray) -> None:
    inputs = keras.Input((8,))
    dense = layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l1", name="dense")
    model = keras.Model(inputs, dense(inputs))
    pruned = prune(model, sparsity=0.5, schedule=PolynomialSchedule(begin_step=9, end_step=9))
    rows = images[0, :, :, 0]
    for network in (model, pruned):
        network(rows, training=True)
    assert len(model.losses) == 2
    np.testing.assert_allclose(sorted(pruned.losses), sorted(model.losses), rtol=1e-6)


def test_nested_networks_are_pruned_by_path() -> None:
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, layers.Dense(4, name="deep")(inner_input), name="inner")
    outer = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="top")])
    stripped = strip(prune(outer, sparsity={"inner/deep": 0.5}, schedule=SCHEDULE))
    assert zeros(stripped) == {"inner/deep": 8, "top": 0}


def test_depthwise_kernels_stay_unless_they_are_named() -> None:
    inputs = keras.Input((4, 4, 4))
    x = layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = layers.SeparableConv2D(4, 1, name="separable")(x)
    model = keras.Model(inputs, x)
    assert zeros(strip(prune(model, sparsity=0.5, schedule=SCHEDULE))) == {"depthwise": 0, "separable": 8}
    named = prune(model, sparsity={"depthwise": 0.25}, schedule=SCHEDULE)
    assert zeros(strip(named)) == {"depthwise": 9, "separable": 0}


def test_a_file_holds_masks_and_steps_and_opens_in_safe_mode(
    tiny_network: Build, images: np.ndarray, tmp_path: Path
) -> None:
    model = prune(tiny_network(), sparsity=0.8, schedule=SCHEDULE)
    for _ in range(6):
        model(images, training=True)
    path = tmp_path / "pruned.keras"
    architectures.save_model(model, path)
    again = architectures.load_model(path)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for network in (model, again):
        for _ in range(4):
            network(images, training=True)
    np.testing.assert_array_equal(model.get_layer("logits").mask.numpy(), again.get_layer("logits").mask.numpy())
    assert zeros(strip(again)) == zeros(strip(model))


class StopAt(Callback):
    """Asks for a stop at one step, as a signal would."""

    def __init__(self, stop: StopRequest, *, epoch: int, step: int) -> None:
        self.stop, self.at = stop, (epoch, step)

    def on_step(self, state: TrainingState) -> None:
        if (state.epoch, state.step) == self.at:
            self.stop.received = signal.SIGTERM


def test_a_stopped_pruning_goes_on_to_the_same_bits(dense_network: Build, tiny_data: Dataset, tmp_path: Path) -> None:
    schedule = PolynomialSchedule(begin_step=1, end_step=9, frequency=2)
    straight = prune(dense_network(), sparsity=0.7, schedule=schedule)
    train(straight, tiny_data)
    stop = StopRequest()
    path = tmp_path / "checkpoint.npz"
    callbacks = [StopAt(stop, epoch=1, step=2)]  # between two changes of the masks
    with pytest.raises(StoppedError):
        train(
            prune(dense_network(), sparsity=0.7, schedule=schedule),
            tiny_data,
            checkpoint=Checkpoint(path, "key", stop),
            callbacks=callbacks,
        )
    resumed = prune(dense_network(seed=77), sparsity=0.7, schedule=schedule)
    train(resumed, tiny_data, checkpoint=Checkpoint(path, "key"))
    for mine, theirs in zip(straight.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)


def test_the_epoch_that_is_kept_has_the_whole_sparsity_even_if_it_is_the_first(
    dense_network: Build, tiny_data: Dataset
) -> None:
    model = prune(dense_network(), sparsity=0.9, schedule=PolynomialSchedule(end_step=10, frequency=1))
    # With no movement to speak of, no epoch is better than the first, in which little has been pruned yet.
    state = train(model, tiny_data, settings={"learning_rate": 1e-12})
    assert state.best_epoch == 1
    assert int(model.get_layer("logits").calls.numpy()) < 10
    assert zeros(strip(model)) == {"hidden": 461, "logits": 22}


def test_a_pruned_student_is_distilled_with_the_dense_ones_taps(tiny_network: Build, tiny_data: Dataset) -> None:
    student = prune(tiny_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=4, frequency=1))
    curve = edgekd.distill_model(
        student,
        tiny_network(seed=9),
        tiny_data,
        losses=[
            {"loss": "soft_logits"},
            {"loss": "attention_transfer", "taps": [["stage1", "stage1"], ["conv2", "conv2"]]},
        ],
        epochs=1,
        batch_size=32,
    )
    assert len(curve) == 1
    assert zeros(strip(student)) == {"conv1": 36, "conv2": 288, "logits": 192}


def test_pruning_works_in_half_precision_and_with_xla(dense_network: Build, tiny_data: Dataset) -> None:
    model = prune(dense_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=2, frequency=1))
    train(model, tiny_data, settings={"epochs": 1, "precision": "mixed_float16", "xla": True})
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert zeros(strip(model)) == {"hidden": 256, "logits": 12}


def test_what_a_step_changes_can_be_collected_by_a_scope_around_it(tiny_network: Build, images: np.ndarray) -> None:
    # This is how several devices share a step.
    model = prune(tiny_network(), sparsity=0.5, schedule=PolynomialSchedule(end_step=0))
    layer = model.get_layer("conv2")
    with keras.StatelessScope() as scope:
        model(images, training=True)
    assert layer.mask.numpy().all()
    assert int(scope.get_current_value(layer.calls)) == 1
    assert int(tf.reduce_sum(tf.cast(scope.get_current_value(layer.mask), "int32"))) == 288


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sparsity": 1.0}, RecipeError, r"sparsity is 1.0: expected a number from 0 to below 1"),
        ({"sparsity": -0.1}, RecipeError, r"sparsity is -0.1"),
        ({"sparsity": {"conv2": 1.5}}, RecipeError, r"layer 'conv2' is 1.5"),
        ({}, RecipeError, "give a sparsity for unstructured pruning"),
        ({"sparsity": 0.5, "pattern": "2:4"}, RecipeError, "none for n:m"),
        ({"sparsity": 0.5, "exclude": "conv1"}, RecipeError, r"expected a list of their names, such as \['conv1'\]"),
        ({"sparsity": 0.5, "exclude": ["conv3"]}, ModelError, r"'conv3'. Did you mean 'conv\d'"),
        ({"sparsity": {"logit": 0.5}}, ModelError, r"'logit'. Did you mean 'logits'"),
        ({"sparsity": {"flat": 0.5}}, ModelError, r"layer 'flat' \(Flatten\).*no kernel"),
        ({"sparsity": 0.5, "exclude": ["conv1", "conv2", "logits"]}, ModelError, "nothing to prune"),
        ({"pattern": "3:7"}, ModelError, "nothing to prune.*multiple of 7"),
    ],
)
def test_what_cannot_be_pruned_is_refused(
    tiny_network: Build, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        prune(tiny_network(), schedule=SCHEDULE, **settings)


def test_a_subclassed_network_is_refused() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ModelError, match=r"\(Own\) is subclassed"):
        prune(Own(), sparsity=0.5, schedule=SCHEDULE)


def test_the_layer_is_registered_under_its_package() -> None:
    assert keras.saving.get_registered_name(PrunedKernel) == "edgekd>PrunedKernel"
