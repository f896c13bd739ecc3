"""A tiny dataset and network: everything that a training has (normalisation, dropout, taps), in milliseconds."""

from collections.abc import Callable

import numpy as np
import pytest

from edgekd import data
from edgekd.data.dataset import Dataset

SHAPE = (8, 8, 1)


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    return data.load("synthetic", arguments={"samples": 240, "classes": 3, "shape": [8, 8, 1]})


@pytest.fixture
def tiny_network() -> Callable[..., "keras.Model"]:  # noqa: F821
    import keras
    from keras import layers

    def build(*, seed: int = 0, width: int = 4, dropout: float = 0.2, classes: int = 3) -> keras.Model:
        keras.utils.set_random_seed(seed)
        images = keras.Input((8, 8, 1), name="image")
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name="conv1")(images)
        x = layers.BatchNormalization(momentum=0.9, name="norm1")(x)
        x = layers.ReLU(name="stage1")(x)
        x = layers.Conv2D(width, 3, strides=2, padding="same", name="conv2")(x)
        x = layers.ReLU(name="stage2")(x)
        x = layers.Flatten(name="flat")(x)
        x = layers.Dropout(dropout, name="dropout")(x)
        return keras.Model(images, layers.Dense(classes, name="logits")(x), name="tiny")

    return build


@pytest.fixture
def weights_of() -> Callable[..., list[np.ndarray]]:
    def weights(model: "keras.Model") -> list[np.ndarray]:  # noqa: F821
        return [variable.numpy().copy() for variable in model.variables]

    return weights


@pytest.fixture
def live_teacher() -> Callable[..., "LiveTeacher"]:  # noqa: F821
    """Returns a frozen Keras network as the source of all that an objective needs."""
    from edgekd.distill.learners import Student
    from edgekd.distill.teacher import LiveTeacher
    from edgekd.teachers import open_teacher

    def build(model: "keras.Model", goal: "Objective", student: "keras.Model") -> LiveTeacher:  # noqa: F821
        opened = open_teacher(model, wanted=goal.teacher_taps, input_shape=SHAPE, num_classes=model.output_shape[-1])
        (shapes,) = Student(student, goal.student_taps).shapes(SHAPE)
        return LiveTeacher(opened, goal.teacher_outputs(shapes), input_shape=SHAPE)

    return build
