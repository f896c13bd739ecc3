"""Trains the scenarios of test_distribution.py in a process of its own, and saves what came out.

Usage: distributed_process.py FOLDER (alone | INDEX PORT PORT)
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_GRPC_REUSE_PORT": "true"}  # the test holds the workers' ports

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from edgekd import data
from edgekd.data.augment import Augmentation
from edgekd.data.dataset import UNLABELLED, Dataset
from edgekd.distill import objective
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.distribution import Replicas
from edgekd.distill.learners import Student
from edgekd.distill.loop import fit
from edgekd.distill.teacher import LiveTeacher
from edgekd.errors import ModelError
from edgekd.quantize.aware.rounding import FakeQuantize
from edgekd.recipe import Distill, Network
from edgekd.recipe import section as recipe_section
from edgekd.teachers import open_teacher

SHAPE = (8, 8, 1)
# The least value lies in the first half of the batch, the largest in the second.
EXTREMES = np.array([[-6.0, 0.1, 0.2, 0.3], [0.4, 1.0, -0.5, 0.6], [5.0, 0.2, -0.3, 1.5], [9.0, -1.0, 0.7, 0.8]], "f4")
LOGITS = {"loss": "soft_logits", "weight": 0.9}
TERMS = [
    LOGITS,
    {"loss": "attention_transfer", "weight": 10.0, "taps": [["stage2", "stage2"]]},
    {"loss": "fitnet_hint", "weight": 1.0, "taps": [["stage1", "stage2"]]},
]
RATE = {"architecture": "resnet", "learning_rate": 0.05, "epochs": 2}
SCENARIOS: dict[str, dict[str, Any]] = {
    "taught": {"losses": TERMS, "training": RATE | {"clip_norm": 0.5}, "mixup": 0.2},
    "partly_labelled": {
        "losses": [LOGITS],
        "labels_weight": 1.0,
        "training": RATE | {"accumulation_steps": 2},
        "unlabelled": True,
    },
}


def network(seed: int, width: int = 4) -> keras.Model:
    keras.utils.set_random_seed(seed)
    images = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_regularizer="l2", name="conv1")(images)
    x = layers.BatchNormalization(momentum=0.9, name="norm1")(x)
    x = layers.ReLU(name="stage1")(x)
    x = layers.Conv2D(width, 3, strides=2, padding="same", name="conv2")(x)
    x = layers.ReLU(name="stage2")(x)
    x = layers.BatchNormalization(momentum=0.9, name="norm2")(layers.Flatten(name="flat")(x))
    return keras.Model(images, layers.Dense(3, name="logits")(x), name="tiny")


def dataset(*, unlabelled: bool) -> Dataset:
    found = data.load("synthetic", arguments={"samples": 240, "classes": 3, "shape": list(SHAPE)})
    if unlabelled:  # a third, spread unevenly over the two halves of a batch
        hidden = np.random.default_rng(0).random(len(found.train)) < 1 / 3
        train = found.train.__class__(found.train.images, np.where(hidden, UNLABELLED, found.train.labels))
        found = Dataset(**(vars(found) | {"train": train}))
    return found


class Watched(Callback):
    def __init__(self) -> None:
        self.steps = 0

    def on_step(self, state: Any) -> None:  # noqa: ARG002
        self.steps += 1


def train(name: str, strategy: Any, folder: Path) -> None:
    scenario = SCENARIOS[name]
    samples = dataset(unlabelled=scenario.get("unlabelled", False))
    student, teacher = network(1), network(2, width=6)
    section = recipe_section(Distill, {key: scenario[key] for key in ("losses", "labels_weight") if key in scenario})
    goal = objective.from_recipe(section, label_smoothing=0.0)
    (shapes,) = Student(student, goal.student_taps).shapes(SHAPE)
    opened = open_teacher(teacher, wanted=goal.teacher_taps, input_shape=SHAPE, num_classes=3)
    before = [variable.numpy() for variable in teacher.variables]
    watched = Watched()
    state = fit(
        student,
        samples,
        objective=goal,
        training=recipe_section(Network, scenario["training"]),
        teacher=LiveTeacher(opened, goal.teacher_outputs(shapes), input_shape=SHAPE),
        augmentation=Augmentation(shift=1, flip=True),
        mixup=scenario.get("mixup", 0.0),
        batch_size=32,
        seed=3,
        checkpoint=Checkpoint(folder / f"{name}.checkpoint.npz", name),
        callbacks=[watched],
        strategy=strategy,
    )
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, teacher.variables, strict=True))
    curve = [[row.loss, row.accuracy, *row.terms.values(), row.validation_loss] for row in state.curve]
    arrays = {f"weights/{variable.path}": variable.numpy() for variable in student.variables}
    np.savez(folder / f"{name}.npz", curve=curve, steps=watched.steps, **arrays)


def dropout_gradient(strategy: Any) -> np.ndarray:
    """Returns by how much each of 64 features of one-sample shares is dropped: 0 or 2 for one mask, averaged."""
    model = keras.Sequential([keras.Input((64,)), layers.Dropout(0.5, seed=1)])
    weights = keras.Variable(np.ones(64, np.float32))
    replicas = Replicas(strategy)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(samples: Any) -> Any:
        def loss(samples: Any) -> Any:
            value = tf.reduce_sum(model(samples * weights, training=True))
            return value, value

        return replicas.gradients(loss, [weights], [model], samples)[0][0]

    return step(tf.ones((2, 64)) if strategy else tf.ones((1, 64))).numpy()


def ranges(strategy: Any) -> dict[str, np.ndarray]:
    """Returns the ranges that one training step on a batch of extremes leaves, and gradients of learned ones."""
    layers_ = [FakeQuantize(ranges=how, momentum=0.75, name=how) for how in ("moving_average", "learned")]
    model = keras.Sequential([keras.Input((4,)), *layers_])
    learned = [layers_[1].minimum, layers_[1].maximum]
    replicas = Replicas(strategy)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(samples: Any) -> Any:
        def loss(samples: Any) -> Any:
            value = tf.reduce_mean(tf.square(model(samples, training=True)))
            return value, value

        return replicas.gradients(loss, learned, [model], samples)[0]

    gradients = step(tf.constant(EXTREMES))
    bounds = [layers_[0].minimum.numpy(), layers_[0].maximum.numpy()]
    return {"bounds": np.array(bounds), "gradients": np.array([each.numpy() for each in gradients])}


def different_start(strategy: Any, index: int) -> str:
    try:
        Replicas(strategy).require_same_start(network(index).variables, (0, 0))
    except ModelError as error:
        return str(error)
    return ""


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2] == "alone":
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
        runs = {"alone": None, "mirrored": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])}
        found = {name: dropout_gradient(strategy) for name, strategy in runs.items()}
        np.savez(folder / "dropout.npz", **found)
        for name, strategy in runs.items():
            np.savez(folder / f"ranges_{name}.npz", **ranges(strategy))
    else:
        index, *ports = map(int, sys.argv[2:])
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        (folder / f"different_start_{index}.txt").write_text(different_start(strategy, index))
        runs = {f"worker_{index}": strategy}
    for run, strategy in runs.items():
        (folder / run).mkdir()
        for name in ["taught"] if run == "mirrored" else SCENARIOS:
            train(name, strategy, folder / run)


main()
