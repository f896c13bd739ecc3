"""Training networks that give back their inputs: what is minimised, measured and selected by."""

import keras
import numpy as np
import pytest

from edgekd import schedules
from edgekd.data.dataset import Dataset, Split
from edgekd.distill import fitting
from edgekd.distill.evaluate import Predictor
from edgekd.distill.learners import Student
from edgekd.distill.lesson import Lesson, Targets
from edgekd.distill.logs import CsvLog, TensorBoardLog
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.distill.step import TrainStep
from edgekd.errors import ShapeError
from edgekd.recipe import Training, section

VALUES = 6


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    samples = (rng.normal(size=(160, 2)) @ rng.normal(size=(2, VALUES))).astype(np.float32)
    splits = [Split(part, np.zeros(len(part), np.int64)) for part in np.split(samples, [96, 128])]
    return Dataset("windows", *splits, class_names=("normal", "anomalous"), task="reconstruction")


def network(units: int = 3, values: int = VALUES) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((VALUES,))
    hidden = keras.layers.Dense(units, name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(values, name="reconstruction")(hidden))


def training(**changes: object) -> Training:
    return section(Training, {"epochs": 4, "optimizer": "adam", "learning_rate": 0.02, **changes})


def test_the_loss_is_the_mean_squared_error_to_the_inputs_and_no_label_is_looked_at(data: Dataset) -> None:
    model = network()
    samples = data.train.images[:8]
    expected = np.mean((model.predict(samples, verbose=0).astype(np.float64) - samples) ** 2)
    objective = Objective(labels_weight=0.25).on(data)
    lesson = Lesson(Student(model), objective, input_shape=data.input_shape)
    for labels in (np.zeros(8, np.int64), np.full(8, -1)):
        terms, _ = lesson.terms(samples, Targets(labels), None, training=False)
        assert {name: float(value) for name, value in terms.items()} == pytest.approx({"inputs": 0.25 * expected})
    assert Predictor(model, batch_size=5).mean_squared_error(data.validation) == pytest.approx(
        np.mean((model.predict(data.validation.images, verbose=0).astype(np.float64) - data.validation.images) ** 2)
    )


def test_its_weight_can_follow_a_schedule(data: Dataset) -> None:
    weight = schedules.parse({"schedule": "linear", "from": 1.0, "to": 0.0, "end_epoch": 2})
    objective = Objective(labels_weight=weight).on(data)
    assert list(objective.schedules()) == ["inputs.weight"]
    state = fit(network(), data, objective=objective, training=training(epochs=3), batch_size=32, seed=0)
    assert state.curve[0].loss > 0
    assert state.curve[2].loss == state.curve[2].terms["inputs"] == 0.0


def test_a_step_measures_no_accuracy_and_a_curve_has_none(data: Dataset, tmp_path) -> None:
    model = network()
    callbacks = [CsvLog(tmp_path / "curve.csv"), TensorBoardLog(tmp_path / "board")]
    state = fit(model, data, objective=Objective(), training=training(), batch_size=32, seed=0, callbacks=callbacks)
    assert [(row.accuracy, row.validation_accuracy) for row in state.curve] == [(None, None)] * 4
    assert state.curve[-1].validation_loss < state.curve[0].validation_loss
    header, first, *_ = (tmp_path / "curve.csv").read_text().splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["accuracy"] == ""
    lesson = Lesson(Student(model), Objective().on(data), input_shape=data.input_shape)
    assert TrainStep(lesson, keras.optimizers.SGD()).names == ("loss", "inputs")


def test_the_epoch_with_the_least_validation_loss_is_kept_and_stopping_waits_for_it(data: Dataset) -> None:
    model = network()
    # So high a rate makes the loss grow again.
    state = fit(
        model,
        data,
        objective=Objective(),
        training=training(epochs=12, learning_rate=0.7, schedule="constant", early_stopping=2),
        batch_size=32,
        seed=1,
    )
    losses = [row.validation_loss for row in state.curve]
    best = int(np.argmin(losses))
    assert state.best_epoch == best + 1
    assert len(losses) == best + 3 < 12  # two epochs later
    assert Predictor(model).mean_squared_error(data.validation) == pytest.approx(losses[best], rel=1e-5)


@pytest.mark.parametrize(("units", "fits"), [(VALUES, True), (VALUES + 1, False), (2, False)])
def test_a_network_must_give_back_what_it_gets(data: Dataset, units: int, fits: bool) -> None:
    model = network(values=units)
    if fits:
        fitting.check(model, data, role="student")
        return
    with pytest.raises(ShapeError, match=rf"student's output has shape \({units},\).* task is reconstruction.*\(6,\)"):
        fitting.check(model, data, role="student")
