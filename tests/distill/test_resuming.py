"""Every kind of training goes on, after a stop in the middle of an epoch, to the bits of one that was never stopped."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgekd import recipe
from edgekd.data.augment import Augmentation
from edgekd.data.dataset import Dataset
from edgekd.distill import objective
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.learners import Exits, Learners, Peers, Student
from edgekd.distill.loop import fit
from edgekd.distill.state import TrainingState
from edgekd.distill.stopping import StopRequest
from edgekd.distill.teacher import LiveTeacher
from edgekd.errors import StoppedError

Build = Callable[..., keras.Model]

ADAPTED = {
    "labels_weight": {"schedule": "cosine", "from": 1.0, "to": 0.1, "end_epoch": 3},
    "losses": [
        {"loss": "soft_logits", "temperature": {"schedule": "linear", "from": 8.0, "to": 2.0, "end_epoch": 3}},
        {"loss": "vid", "weight": 0.1, "taps": [["stage1", "stage1"]]},
        {"loss": "ofd", "weight": 1e-3, "taps": [["stage2", "stage2"]]},
    ],
}
KINDS: dict[str, dict[str, Any]] = {
    "adapters, schedules, mixup, accumulation, early stopping": {
        "distill": ADAPTED,
        "training": {"accumulation_steps": 3, "early_stopping": 2, "optimizer": "adamw", "learning_rate": 0.01},
        "mixup": 0.3,
    },
    "float16 with its loss scale": {"distill": ADAPTED, "training": {"precision": "mixed_float16"}},
    "peers": {"distill": {"way": "online", "peers": [{"architecture": "lab_cnn"}]}},
    "exits": {"distill": {"way": "self", "exits": ["stage1"]}},
}


class StopAt(Callback):
    """Asks for a stop at one step, as a signal would."""

    def __init__(self, stop: StopRequest, *, epoch: int, step: int) -> None:
        self.stop, self.at = stop, (epoch, step)

    def on_step(self, state: TrainingState) -> None:
        if (state.epoch, state.step) == self.at:
            self.stop.received = signal.SIGTERM


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_of_every_kind_goes_on_to_the_same_bits(
    tmp_path: Path,
    tiny_network: Build,
    tiny_data: Dataset,
    live_teacher: Callable[..., LiveTeacher],
    kind: str,
) -> None:
    settings = KINDS[kind]
    section = recipe.section(recipe.Distill, settings["distill"])
    goal = objective.from_recipe(section, label_smoothing=0.1)
    teacher = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network()) if section.way == "offline" else None

    def learners(seed: int) -> Learners:
        model = tiny_network(seed=seed)
        if section.way == "online":
            return Peers([model, tiny_network(seed=seed + 100, width=6)])
        if section.way == "self":
            return Exits(model, section.exits, input_shape=(8, 8, 1), seed=seed)
        return Student(model, goal.student_taps)

    def train(taught: Learners, **further: Any) -> TrainingState:
        return fit(
            taught,
            tiny_data,
            objective=goal,
            training=recipe.section(recipe.Training, {"epochs": 3, **settings.get("training", {})}),
            teacher=teacher,
            augmentation=Augmentation(shift=1),
            mixup=settings.get("mixup", 0.0),
            batch_size=32,
            seed=5,
            **further,
        )

    straight = learners(0)
    expected = train(straight)
    stop = StopRequest()
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(StoppedError):
        train(learners(0), checkpoint=Checkpoint(path, "key", stop), callbacks=[StopAt(stop, epoch=1, step=2)])
    resumed = learners(77)  # its initial weights, and its adapters', must not matter any more
    state = train(resumed, checkpoint=Checkpoint(path, "key"))
    for one, other in zip(straight.models, resumed.models, strict=True):
        for mine, theirs in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    for row, again in zip(expected.curve, state.curve, strict=True):
        assert row.model_copy(update={"images_per_second": 0}) == again.model_copy(update={"images_per_second": 0})


def test_peers_end_with_the_weights_of_the_first_ones_best_epoch(tiny_network: Build, tiny_data: Dataset) -> None:
    after: list[list[np.ndarray]] = []

    class Snapshots(Callback):
        def on_epoch(self, state: TrainingState) -> None:  # noqa: ARG002
            after.append([variable.numpy().copy() for model in models for variable in model.variables])

    models = [tiny_network(seed=seed, width=8) for seed in range(2)]
    goal = objective.from_recipe(
        recipe.section(recipe.Distill, {"way": "online", "peers": [{"architecture": "lab_cnn"}]}), label_smoothing=0.0
    )
    training = recipe.section(recipe.Training, {"epochs": 6, "learning_rate": 0.8, "schedule": "constant"})
    state = fit(
        Peers(models), tiny_data, objective=goal, training=training, batch_size=32, seed=0, callbacks=[Snapshots()]
    )
    accuracies = [row.validation_accuracy for row in state.curve]
    best = int(np.argmax(accuracies))
    for variable, value in zip([v for model in models for v in model.variables], after[best], strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
