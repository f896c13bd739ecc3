"""A tiny tf_keras network, and what its tests do with it: train it for a few steps, convert it, run the file."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd.quantize.legacy import inference_function


@pytest.fixture(scope="session")
def images():
    generator = np.random.default_rng(0)
    brightness = np.linspace(0.0, 4.0, 32, dtype=np.float32)
    return generator.random((32, 7, 7, 2), dtype=np.float32) * generator.permutation(brightness)[:, None, None, None]


@pytest.fixture(scope="session")
def small():
    """A network of what tfmot quantises: conv, batch norm, ReLU, a residual sum, pooling, a dense layer.

    Not a mean over positions, whose int8 kernel rounds the zero point apart and may be a step off.
    """
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((7, 7, 2), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.Flatten(name="flat")(layers.MaxPooling2D(3, name="pool")(x))
    return tf_keras.Model(image, layers.Dense(3, name="logits")(x), name="small")


@pytest.fixture(scope="session")
def labels(images):
    return images.mean(axis=(1, 2, 3)).argsort().argsort() % 3


@pytest.fixture(scope="session")
def fit(images, labels):
    """Trains a network for an epoch of eight steps as users do, and returns it."""

    def run(model, callbacks=()):
        model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(images, labels, batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model

    return run


@pytest.fixture(scope="session")
def train(images, labels):
    """Trains a network for three steps of gradient descent, without the cost of tracing it, and returns it."""
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def run(model):
        for _ in range(3):
            with tf.GradientTape() as tape:
                value = loss(labels, model(images, training=True))
            gradients = tape.gradient(value, model.trainable_weights)
            for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
                if gradient is not None:
                    weight.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        return model

    return run


@pytest.fixture(scope="session")
def assert_same_steps(images):
    """Asserts that an int8 file gives a fake-quantised network's outputs, within a step of the output's scale."""

    def check(file, model):
        steps, scale, zero = file.run(images)
        expected = np.clip(np.round(np.asarray(model(images, training=False)) / scale) + zero, -128, 127)
        assert np.max(np.abs(steps - expected)) <= 1
        assert np.mean(steps != expected) <= 0.05
        assert np.ptp(expected) > 30

    return check


@dataclasses.dataclass(frozen=True)
class File:
    """A TFLite file, opened."""

    operators: list[str]
    dtypes: set[Any]
    kernels: list[np.ndarray]
    run: Any


@pytest.fixture(scope="session")
def int8_file():
    """Returns a function that converts a fake-quantised network by TensorFlow's own converter and opens the file."""

    def convert(model):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([inference_function(model)])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")  # they are in the graph
            return opened(converter.convert())

    return convert


def opened(content):
    # Without delegates, whose nodes would hide the operators.
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(array):
        """Returns the outputs of the samples in quantisation steps, and the scale and zero point of the output."""
        scale, zero = source["quantization"]
        outputs = []
        for sample in np.clip(np.round(array / scale) + zero, -128, 127).astype(np.int8):
            interpreter.set_tensor(source["index"], sample[None])
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(target["index"])[0].astype(int))
        return np.array(outputs), *target["quantization"]

    operators = interpreter._get_ops_details()
    return File(
        operators=[operator["op_name"] for operator in operators],
        dtypes={tensor["dtype"] for tensor in interpreter.get_tensor_details()},
        kernels=[
            interpreter.get_tensor(operator["inputs"][1])
            for operator in operators
            if operator["op_name"] in {"CONV_2D", "FULLY_CONNECTED"}
        ],
        run=run,
    )
