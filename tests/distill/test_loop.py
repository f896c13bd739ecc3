"""What a whole training promises: it learns, repeats itself, goes on exactly, selects by validation, stops on NaN."""

import csv
import dataclasses
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd.data.augment import Augmentation
from edgekd.data.dataset import Dataset, Split
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.evaluate import Predictor
from edgekd.distill.logs import CsvLog, TensorBoardLog
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective, Term
from edgekd.distill.state import TrainingState
from edgekd.distill.stopping import StopRequest
from edgekd.distill.teacher import LiveTeacher
from edgekd.errors import NonFiniteError, StoppedError, StorageError
from edgekd.losses.soft_logits import soft_logits
from edgekd.recipe import Training, section

EPOCHS = 3


def train(model: keras.Model, data: Dataset, **changes: object) -> TrainingState:
    settings = {"epochs": EPOCHS, "learning_rate": 0.1, **changes.pop("settings", {})}  # type: ignore[dict-item]
    arguments = {
        "objective": Objective(),
        "training": section(Training, settings),
        "augmentation": Augmentation(shift=1, flip=True),
        "batch_size": 32,
        "seed": 5,
        **changes,
    }
    return fit(model, data, **arguments)  # type: ignore[arg-type]


def assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_learns_what_can_be_learned(tiny_network: Callable[..., keras.Model], tiny_data: Dataset) -> None:
    model = tiny_network(width=8, dropout=0.0)
    state = train(model, tiny_data, settings={"epochs": 12}, augmentation=None)
    _, accuracy = Predictor(model).loss_and_accuracy(tiny_data.test)
    assert accuracy > 0.8  # chance is 1/3
    assert len(state.curve) == 12


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, weights_of: Callable[..., list[np.ndarray]]
) -> None:
    models = [tiny_network(), tiny_network(), tiny_network()]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        train(model, tiny_data, seed=seed)
    assert_same(weights_of(models[0]), weights_of(models[1]))
    assert any((a != b).any() for a, b in zip(weights_of(models[0]), weights_of(models[2]), strict=True))


class StopAt(Callback):
    """Asks for a stop at one step, as a signal would."""

    def __init__(self, stop: StopRequest, *, epoch: int, step: int) -> None:
        self.stop, self.epoch, self.at = stop, epoch, step

    def on_step(self, state: TrainingState) -> None:
        if (state.epoch, state.step) == (self.epoch, self.at):
            self.stop.received = signal.SIGTERM


def test_a_stopped_training_goes_on_to_the_same_weights_from_any_epoch(
    tiny_network: Callable[..., keras.Model],
    tiny_data: Dataset,
    weights_of: Callable[..., list[np.ndarray]],
    tmp_path: Path,
    live_teacher: Callable[..., LiveTeacher],
) -> None:
    """Stopped early in the first epoch, at the end of the second and at the beginning of the third, by turns."""
    goal = Objective(labels_weight=0.5, terms=(Term("soft", soft_logits, 0.5),))
    straight = tiny_network()
    teacher = live_teacher(tiny_network(seed=9), goal, straight)
    expected = train(straight, tiny_data, objective=goal, teacher=teacher)

    for seed, (epoch, step) in enumerate([(0, 2), (1, 5), (2, 1)]):
        stop = StopRequest()
        checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "key", stop)
        callbacks = [StopAt(stop, epoch=epoch, step=step)]
        begun = tiny_network(seed=10 * seed)  # after the first stop its initial weights do not matter any more
        with pytest.raises(StoppedError) as stopped:
            train(begun, tiny_data, objective=goal, teacher=teacher, checkpoint=checkpoint, callbacks=callbacks)
        assert stopped.value.exit_code == 128 + signal.SIGTERM

    resumed = tiny_network(seed=77)
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "key")
    state = train(resumed, tiny_data, objective=goal, teacher=teacher, checkpoint=checkpoint)
    assert_same(weights_of(straight), weights_of(resumed))
    for one, other in zip(expected.curve, state.curve, strict=True):
        assert one.model_copy(update={"images_per_second": 0.0}) == other.model_copy(update={"images_per_second": 0.0})


def test_a_real_signal_waits_for_the_step_and_stops_after_saving(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, tmp_path: Path
) -> None:
    class Interrupt(Callback):
        def on_step(self, state: TrainingState) -> None:
            if state.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    stop = StopRequest()
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "key", stop)
    with (
        pytest.raises(StoppedError, match="SIGINT in epoch 1, after step 3") as stopped,
        stop.handling_signals(),
        stop.deferred(),
    ):
        train(tiny_network(), tiny_data, checkpoint=checkpoint, callbacks=[Interrupt()])
    assert stopped.value.exit_code == 130
    assert checkpoint.path.is_file()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_of_another_training_is_not_used(
    tiny_network: Callable[..., keras.Model],
    tiny_data: Dataset,
    weights_of: Callable[..., list[np.ndarray]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint.npz"
    train(tiny_network(), tiny_data, seed=6, checkpoint=Checkpoint(path, "other"))
    straight, model = tiny_network(), tiny_network()
    train(straight, tiny_data)
    train(model, tiny_data, checkpoint=Checkpoint(path, "key"))
    assert_same(weights_of(straight), weights_of(model))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "an entry lost", "another archive", "other shapes"])
def test_a_damaged_checkpoint_is_named_and_kept(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "checkpoint.npz"
    train(tiny_network(), tiny_data, settings={"epochs": 1}, checkpoint=Checkpoint(path, "key"))
    content = bytearray(path.read_bytes())
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "flipped":
        place = content.index(b"model/00000.npy") + 200  # inside the first array's values
        content[place] ^= 0xFF
    else:
        if damage == "an entry lost":  # as a flipped byte in the archive's directory does, without a word
            del arrays[max(name for name in arrays if name.startswith("best/"))]
        elif damage == "another archive":
            arrays = {"images": np.zeros(3)}
        else:
            arrays["model/00000"] = np.zeros(7, np.float32)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = bytearray(buffer.getvalue())
    path.write_bytes(bytes(content))
    with pytest.raises(StorageError, match=r"checkpoint.npz.*damaged.*delete"):
        train(tiny_network(), tiny_data, checkpoint=Checkpoint(path, "key"))
    assert path.read_bytes() == bytes(content)


def test_the_best_epoch_by_validation_is_kept(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, weights_of: Callable[..., list[np.ndarray]]
) -> None:
    model = tiny_network()
    # A constant high rate makes validation accuracy jump about, so that the best epoch is often not the last.
    state = train(model, tiny_data, settings={"epochs": 8, "learning_rate": 0.8, "schedule": "constant"})
    accuracies = [row.validation_accuracy for row in state.curve]
    assert state.best_epoch == 1 + int(np.argmax(accuracies))
    assert_same(weights_of(model), state.best_weights)
    _, accuracy = Predictor(model).loss_and_accuracy(tiny_data.validation)
    assert accuracy == max(accuracies)


def test_early_stopping_ends_when_validation_stalls(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset
) -> None:
    # With a rate this small nothing changes, so the first epoch stays the best.
    state = train(tiny_network(), tiny_data, settings={"epochs": 9, "learning_rate": 1e-12, "early_stopping": 2})
    assert len(state.curve) == 3
    assert state.best_epoch == 1


def test_a_non_finite_loss_stops_with_step_term_and_samples_and_keeps_the_checkpoint(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, tmp_path: Path
) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "key")
    train(tiny_network(), tiny_data, settings={"epochs": 1}, checkpoint=checkpoint)
    saved = checkpoint.path.read_bytes()
    with pytest.raises(NonFiniteError, match=r"epoch 2, step \d+ \(loss, labels; batch of samples \d+, "):
        train(
            tiny_network(),
            tiny_data,
            settings={"epochs": 3, "learning_rate": 1e30, "schedule": "constant"},
            checkpoint=checkpoint,
        )
    assert checkpoint.path.read_bytes() == saved


def test_the_test_split_is_not_read(tiny_network: Callable[..., keras.Model], tiny_data: Dataset) -> None:
    class Unreadable(Split):
        def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002
            raise AssertionError("training read the test split")

    guarded = dataclasses.replace(tiny_data, test=Unreadable(tiny_data.test.images, tiny_data.test.labels))
    train(tiny_network(), guarded, settings={"epochs": 1})


def test_csv_and_tensorboard_hold_the_learning_curve(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = [CsvLog(tmp_path / "curve.csv"), TensorBoardLog(tmp_path / "tensorboard")]
    state = train(tiny_network(), tiny_data, callbacks=logs)
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["term/labels"]) for row in rows] == [row.terms["labels"] for row in state.curve]
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    logged = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("validation_accuracy")]
    np.testing.assert_allclose(logged, [row.validation_accuracy for row in state.curve], rtol=1e-6)


def test_predictor_matches_keras_and_numpy(tiny_network: Callable[..., keras.Model], tiny_data: Dataset) -> None:
    model = tiny_network()
    images, labels = tiny_data.test.read(np.arange(len(tiny_data.test)))
    expected = model.predict(images, verbose=0)
    received = Predictor(model, batch_size=7).logits(tiny_data.test)
    np.testing.assert_allclose(received, expected, atol=1e-5)
    loss, accuracy = Predictor(model).loss_and_accuracy(tiny_data.test)
    probabilities = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(probabilities[np.arange(len(labels)), labels]).mean(), rel=1e-4)
    assert accuracy == (expected.argmax(axis=1) == labels).mean()
