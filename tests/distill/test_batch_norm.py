"""The fused batch normalisation against numpy and against Keras' own layer; the model is left as it was."""

import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgekd.distill.batch_norm import fused_batch_norm
from edgekd.errors import ModelError

SHAPE = (6, 5, 4, 3)


def images(dtype: str = "float32", shape: tuple[int, ...] = SHAPE) -> tf.Tensor:
    values = np.random.default_rng(0).normal(3.0, 2.0, shape) * np.linspace(0.5, 4.0, shape[-1])
    return tf.constant(values, dtype)


def filled(model: keras.Layer) -> keras.Layer:
    """Gives every parameter and average a value of its own, none the default."""
    generator = np.random.default_rng(1)
    for variable in model.variables:
        variable.assign(generator.uniform(0.5, 2.0, variable.shape))
    return model


def normalization(shape: tuple[int, ...] = SHAPE, **options: Any) -> layers.BatchNormalization:
    layer = layers.BatchNormalization(name="norm", **options)
    layer.build(shape)
    return filled(layer)


def kernels(function: Any) -> int:
    """How many fused kernels a traced function calls."""
    return [operation.type for operation in function.graph.get_operations()].count("FusedBatchNormV3")


class Step:
    """One traced forward and gradient of Σ outputs · cos(position)."""

    def __init__(self, model: keras.Layer, *, fused: bool, training: bool = True, jit: bool = False) -> None:
        self.model, self.fused, self.training = model, fused, training
        self.compiled = tf.function(self.gradients, autograph=False, jit_compile=jit)

    def gradients(self, inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = self.model(inputs, training=self.training)
            flat = tf.reshape(tf.cast(outputs, "float32"), [-1])
            total = tf.reduce_sum(flat * tf.cos(tf.range(tf.size(flat), dtype="float32")))
        return outputs, tape.gradient(total, [inputs, *self.model.trainable_variables])

    def __call__(self, inputs: tf.Tensor, **options: bool) -> dict[str, np.ndarray]:
        if self.fused:
            with fused_batch_norm(self.model, **options):
                function = self.compiled.get_concrete_function(inputs)
        else:
            function = self.compiled.get_concrete_function(inputs)
        self.kernels = kernels(function)
        outputs, gradients = self.compiled(inputs)
        found = {"outputs": outputs, "to inputs": gradients[0]}
        found |= {f"to {v.path}": g for v, g in zip(self.model.trainable_variables, gradients[1:], strict=True)}
        found |= {v.path: v.value for v in self.model.non_trainable_variables}
        return {name: value.numpy() for name, value in found.items()}


def assert_same_as_keras(build: Any, inputs: tf.Tensor, *, kernels: int, atol: float = 2e-5, **options: Any) -> None:
    step = Step(build(), fused=True, **options)
    found, expected = step(inputs), Step(build(), fused=False, **options)(inputs)
    assert step.kernels == kernels
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        scale = np.abs(value.astype("float64")).max()
        np.testing.assert_allclose(
            found[name].astype("float64"), value.astype("float64"), rtol=0, atol=atol * scale, err_msg=name
        )


def test_forward_gradient_and_averages_are_those_of_the_paper() -> None:
    layer = normalization(momentum=0.8, epsilon=0.01)
    gamma, beta, mean_before, variance_before = (v.numpy().astype("float64") for v in layer.variables)
    x = images().numpy().astype("float64")
    axes, n = (0, 1, 2), 6 * 5 * 4
    mean, variance = x.mean(axes), x.var(axes)  # numpy's variance is the biased one
    normalized = (x - mean) / np.sqrt(variance + 0.01)
    upstream = np.cos(np.arange(x.size)).reshape(x.shape)
    to_normalized = upstream * gamma
    to_inputs = (n * to_normalized - to_normalized.sum(axes) - normalized * (to_normalized * normalized).sum(axes)) / (
        n * np.sqrt(variance + 0.01)
    )

    found = Step(layer, fused=True)(images())

    np.testing.assert_allclose(found["outputs"], normalized * gamma + beta, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["to norm/gamma"], (upstream * normalized).sum(axes), rtol=1e-4)
    np.testing.assert_allclose(found["to norm/beta"], upstream.sum(axes), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["to inputs"], to_inputs, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found["norm/moving_mean"], 0.8 * mean_before + 0.2 * mean, rtol=1e-6)
    np.testing.assert_allclose(found["norm/moving_variance"], 0.8 * variance_before + 0.2 * variance, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}, {"axis": 3}]
)
def test_what_the_kernel_can_do_equals_keras(options: dict[str, Any]) -> None:
    assert_same_as_keras(lambda: normalization(**options), images(), kernels=1)


def test_a_compiled_step_equals_keras() -> None:
    assert_same_as_keras(normalization, images(), kernels=1, jit=True)


@pytest.mark.parametrize(("policy", "atol"), [("mixed_float16", 1e-3), ("mixed_bfloat16", 1e-2)])
def test_mixed_precision_keeps_its_dtypes_and_takes_statistics_in_float32(policy: str, atol: float) -> None:
    dtype = policy.removeprefix("mixed_")
    assert_same_as_keras(lambda: normalization(dtype=policy), images(dtype), kernels=1, atol=atol)


def test_one_value_per_channel_has_variance_zero() -> None:
    found = Step(normalization((1, 1, 1, 3), momentum=0.0), fused=True)(images(shape=(1, 1, 1, 3)))
    np.testing.assert_array_equal(found["norm/moving_variance"], np.zeros(3))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"axis": 1}, SHAPE),
        ({}, (8, 3)),
        ({}, (4, 6, 3)),
        ({"renorm": True}, SHAPE),
        ({"synchronized": True}, SHAPE),
        ({"dtype": "float64"}, SHAPE),
        ({"epsilon": 1e-6}, SHAPE),
    ],
)
def test_what_the_kernel_cannot_do_stays_keras(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    inputs = images(options.get("dtype", "float32"), shape)
    assert_same_as_keras(lambda: normalization(shape, **options), inputs, kernels=0, atol=0.0)


def test_inference_and_frozen_layers_use_the_averages_and_leave_them_alone() -> None:
    assert_same_as_keras(normalization, images(), kernels=0, training=False, atol=0.0)
    assert_same_as_keras(lambda: normalization(trainable=False), images(), kernels=0, atol=0.0)


def test_masked_positions_are_left_out_as_keras_does() -> None:
    mask = tf.constant(np.random.default_rng(2).random(SHAPE[:3]) < 0.5)
    layer, plain = normalization(), normalization()
    with fused_batch_norm(layer):
        found = layer(images(), training=True, mask=mask)
    np.testing.assert_array_equal(found, plain(images(), training=True, mask=mask))
    np.testing.assert_array_equal(layer.moving_variance, plain.moving_variance)


def test_a_subclass_with_a_call_of_its_own_keeps_it() -> None:
    class Doubled(layers.BatchNormalization):
        def call(self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
            return 2.0 * super().call(inputs, training=training, mask=mask)

    def build() -> keras.Layer:
        layer = Doubled(name="norm")
        layer.build(SHAPE)
        return layer

    assert_same_as_keras(build, images(), kernels=0, atol=0.0)


class Nested(keras.Model):
    """Layers in a list, in a layer and in a functional model."""

    def __init__(self) -> None:
        super().__init__(name="nested")
        inner = keras.Input(SHAPE[1:])
        self.many = [layers.BatchNormalization(name="listed")]
        self.functional = keras.Model(inner, layers.BatchNormalization(name="in_model")(inner), name="functional")
        self.sequence = keras.Sequential(
            [
                layers.Conv2D(3, 3, padding="same", use_bias=False, name="conv"),
                layers.BatchNormalization(name="in_sequence"),
            ],
            name="sequence",
        )

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        for layer in self.many:
            inputs = tf.sin(layer(inputs, training=training))
        return self.sequence(tf.sin(self.functional(inputs, training=training)), training=training)


def nested() -> keras.Model:
    model = Nested()
    model(tf.zeros(SHAPE))
    return filled(model)


def test_layers_are_found_at_any_depth() -> None:
    assert_same_as_keras(nested, images(), kernels=3)


def test_the_model_is_left_as_it_was_also_after_an_error() -> None:
    model = nested()
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    before = [dict(vars(layer)) for layer in norms]
    with fused_batch_norm(model), fused_batch_norm(model):
        assert all("call" in vars(layer) for layer in norms)
    with pytest.raises(ZeroDivisionError), fused_batch_norm(model):
        raise ZeroDivisionError
    assert [dict(vars(layer)) for layer in norms] == before
    assert Step(model, fused=False)(images()) is not None


def test_a_step_that_was_traced_inside_stays_fused_and_the_model_keeps_its_own_kernel() -> None:
    model = nested()
    fused = Step(model, fused=True)
    fused(images())
    plain = Step(model, fused=False)
    plain(images())
    assert (fused.kernels, plain.kernels) == (3, 0)


# Two devices must be declared before TensorFlow starts, so this runs in a process of its own.
TWO_REPLICAS = """
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from edgekd.distill.batch_norm import fused_batch_norm

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def local(layer, inputs, upstream):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        total = tf.reduce_sum(outputs * upstream)
    gradients = tape.gradient(total, [inputs, layer.gamma, layer.beta])
    replicas = tf.distribute.get_replica_context()
    return outputs, gradients[0], *(replicas.all_reduce("sum", gradient) for gradient in gradients[1:])


def shared(layer, given):
    with strategy.scope():
        layer.build(given["inputs"].shape)
        for variable in layer.variables:
            variable.assign(given[variable.name])

    @tf.function(autograph=False)
    def step():
        parts = [tf.split(given[name], list(given["sizes"])) for name in ("inputs", "upstream")]
        shards = [
            strategy.experimental_distribute_values_from_function(
                lambda context, part=part: part[int(context.replica_id_in_sync_group)]
            )
            for part in parts
        ]
        return [strategy.experimental_local_results(value) for value in strategy.run(local, (layer, *shards))]

    with fused_batch_norm(layer, synchronized=True):
        outputs, to_inputs, to_gamma, to_beta = step()
    return {
        "outputs": np.concatenate(outputs),
        "to_inputs": np.concatenate(to_inputs),
        "to_gamma": to_gamma[1],
        "to_beta": to_beta[1],
        "moving_mean": layer.moving_mean.numpy(),
        "moving_variance": layer.moving_variance.numpy(),
    }


for folder in map(Path, sys.argv[1:]):
    with strategy.scope():
        layer = keras.layers.BatchNormalization(axis=-1)
    np.savez(folder / "found.npz", **shared(layer, np.load(folder / "given.npz")))
"""
REPLICA_SHAPES = [(10, 5, 4, 3), (10, 3)]


def given(shape: tuple[int, ...]) -> tuple[layers.BatchNormalization, tf.Tensor, tf.Tensor]:
    """A layer, its inputs, and the gradient of its outputs."""
    inputs = images(shape=shape)
    upstream = tf.reshape(tf.cos(tf.range(tf.size(inputs), dtype="float32")), shape)
    return normalization(shape, axis=-1), inputs, upstream


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, ...], dict[str, np.ndarray]]:
    """What two replicas found for each shape; one process for all of them."""
    folders = {shape: tmp_path_factory.mktemp("replicas") for shape in REPLICA_SHAPES}
    for shape, folder in folders.items():
        layer, inputs, upstream = given(shape)
        values = {variable.name: variable.numpy() for variable in layer.variables}
        np.savez(folder / "given.npz", inputs=inputs, upstream=upstream, sizes=[7, 3], **values)
    command = [sys.executable, "-c", TWO_REPLICAS, *map(str, folders.values())]
    subprocess.run(command, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    return {shape: dict(np.load(folder / "found.npz")) for shape, folder in folders.items()}


@pytest.mark.parametrize("shape", REPLICA_SHAPES)
def test_two_replicas_compute_what_one_process_does(
    replicas: dict[tuple[int, ...], dict[str, np.ndarray]], shape: tuple[int, ...]
) -> None:
    found = replicas[shape]
    layer, inputs, upstream = given(shape)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        total = tf.reduce_sum(outputs * upstream)
    to_inputs, to_gamma, to_beta = tape.gradient(total, [inputs, layer.gamma, layer.beta])
    expected = {"outputs": outputs, "to_inputs": to_inputs, "to_gamma": to_gamma, "to_beta": to_beta}
    expected |= {"moving_mean": layer.moving_mean.value, "moving_variance": layer.moving_variance.value}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-5, err_msg=name)


def test_what_cannot_be_synchronized_is_refused_before_training() -> None:
    with (
        pytest.raises(ModelError, match=r"'norm'.*renorm"),
        fused_batch_norm(normalization(renorm=True), synchronized=True),
    ):
        pass


def test_synchronizing_one_replica_changes_nothing() -> None:
    once, again = Step(normalization(), fused=True), Step(normalization(), fused=True)
    found, expected = once(images(), synchronized=True), again(images())
    assert once.kernels == 1
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
