"""A teacher is frozen: asking it changes nothing in it, and the same images have the same answer."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd.architectures import weights_sha256
from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.teachers import saved_model


@pytest.mark.parametrize("kind", ["keras", "tf_keras"])
def test_weights_and_batch_statistics_do_not_move(kind, network, legacy, opened, images):
    model = network if kind == "keras" else legacy
    before = weights_sha256(model)
    teacher = opened(model, wanted=["norm"])
    first = teacher.outputs(images)
    model.trainable = True
    for _ in range(3):
        again = teacher.outputs(images)
    assert weights_sha256(model) == before
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])


def test_a_network_is_compiled_once_for_each_batch_size(network, opened, images, monkeypatch):
    traced = []
    call = type(network.get_layer("conv")).call
    monkeypatch.setattr(type(network.get_layer("conv")), "call", lambda *a, **k: (traced.append(1), call(*a, **k))[1])
    teacher = opened(network)
    traced.clear()
    for size in (3, 7, 3, 7, 3):
        teacher.outputs(images[:size])
    assert len(traced) == 2


def test_a_layer_that_counts_its_calls_is_refused(network, opened):
    class Counting(keras.layers.Layer):
        def build(self, input_shape):  # noqa: ARG002
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x

    with pytest.raises(ModelError, match="changes its weights or batch statistics"):
        opened(keras.Model(network.input, Counting()(network.output)))


def test_a_saved_model_that_changes_its_variables_is_refused(tmp_path, images):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(72, 3)).astype("float32"))

        @tf.function(input_signature=[tf.TensorSpec((None, 6, 6, 2), tf.float32, name="images")])
        def __call__(self, images):
            self.kernel.assign(self.kernel * 1.000001)
            return {"logits": tf.reshape(images, (-1, 72)) @ self.kernel}

    tf.saved_model.save(Module(), tmp_path / "saved")
    with pytest.raises(ModelError, match="AssignVariableOp"):
        saved_model.open_runner(tmp_path / "saved")


def test_a_network_that_draws_random_numbers_in_inference_is_refused(network, opened):
    class AlwaysDropout(keras.layers.Layer):
        def call(self, x):
            return tf.nn.dropout(x, 0.5)

    model = keras.Model(network.input, AlwaysDropout()(network.output))
    with pytest.raises(ModelError, match=r"other outputs when it sees the same images again.*inference mode"):
        opened(model)


def test_an_interpreter_serves_several_threads(folder, opened, images):
    teacher = opened(folder / "varying.tflite")
    alone = [np.asarray(teacher.outputs(images[: 1 + at])["logits"]) for at in range(7)]
    together = [None] * 7

    def ask(at):
        together[at] = np.asarray(teacher.outputs(images[: 1 + at])["logits"])

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_of_another_shape_or_dtype_are_refused(network, opened, images):
    teacher = opened(network)
    with pytest.raises(ShapeError, match=r"opened for images \[batch, 6, 6, 2\], received \[7, 6, 6, 1\]"):
        teacher.outputs(images[..., :1])
    with pytest.raises(ShapeError, match="received"):
        teacher.outputs(images[:0])
    with pytest.raises(ModelError, match="float64, expected float32"):
        teacher.outputs(images.astype("float64"))


def test_an_output_that_is_not_finite_is_named_with_the_images_that_gave_it(network, opened, images):
    root = keras.Model(
        network.input, network.output + keras.ops.mean(keras.ops.sqrt(network.input), axis=(1, 2, 3))[:, None]
    )
    teacher = opened(root)
    bad = images.copy()
    bad[[2, 5], 0, 0, 0] = -1.0
    with pytest.raises(NonFiniteError, match=r"output 'logits'.* in 6 of 21 values, for the images at positions 2, 5 "):
        teacher.outputs(bad)


def test_weights_that_are_not_finite_are_found_when_the_teacher_is_opened(network, opened):
    weights = network.get_weights()
    weights[-1][0] = np.nan
    network.set_weights(weights)
    with pytest.raises(NonFiniteError, match="output 'logits' of teacher 'network'"):
        opened(network)
