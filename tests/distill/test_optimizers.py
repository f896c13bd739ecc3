"""Learning rates against the formulas in numpy; weight decay and clipping against one step by hand."""

import math

import keras
import numpy as np
import pytest

from edgekd.distill import optimizers
from edgekd.recipe import Training, section


def rates(steps_per_epoch: int = 10, **settings: object) -> np.ndarray:
    training = section(Training, {"learning_rate": 0.2, **settings})
    schedule = optimizers.Schedule(training, steps_per_epoch=steps_per_epoch)
    return np.array([float(schedule(step)) for step in range(training.epochs * steps_per_epoch + 1)])


def test_cosine_falls_from_the_rate_to_zero_over_all_steps() -> None:
    expected = [0.1 * (1 + math.cos(math.pi * step / 30)) for step in range(31)]
    np.testing.assert_allclose(rates(epochs=3, schedule="cosine"), expected, atol=1e-7)


def test_warm_up_rises_linearly_and_the_cosine_spans_the_rest() -> None:
    warm = [0.2 * (step + 1) / 5 for step in range(5)]
    cosine = [0.1 * (1 + math.cos(math.pi * (step - 5) / 25)) for step in range(5, 31)]
    np.testing.assert_allclose(rates(epochs=3, warmup_epochs=0.5), warm + cosine, atol=1e-7)


def test_step_schedule_drops_by_the_factor_at_each_boundary() -> None:
    received = rates(epochs=4, schedule="step", step_epochs=[1, 3], step_factor=0.5)
    np.testing.assert_allclose(received, [0.2] * 10 + [0.1] * 20 + [0.05] * 11, rtol=1e-6)


def test_constant_schedule_stays() -> None:
    np.testing.assert_allclose(rates(epochs=2, schedule="constant"), 0.2, rtol=1e-6)


@pytest.fixture
def variables() -> list[keras.Variable]:
    return [keras.Variable(np.full((2, 2), 3.0, np.float32)), keras.Variable(np.full(2, 3.0, np.float32))]


def one_step(variables: list[keras.Variable], gradient: float, **settings: object) -> list[np.ndarray]:
    training = section(Training, {"epochs": 1, "schedule": "constant", "momentum": 0.0, "nesterov": False, **settings})
    optimizer = optimizers.build(training, variables, steps_per_epoch=1)
    optimizer.apply([np.full(v.shape, gradient, np.float32) for v in variables], variables)
    return [v.numpy() for v in variables]


def test_weight_decay_is_decoupled_and_spares_vectors(variables: list[keras.Variable]) -> None:
    matrix, vector = one_step(variables, 0.0, learning_rate=0.5, weight_decay=0.1)
    np.testing.assert_allclose(matrix, 3.0 * (1 - 0.5 * 0.1), rtol=1e-6)
    np.testing.assert_allclose(vector, 3.0, rtol=0)


def test_clipping_bounds_the_norm_over_all_gradients(variables: list[keras.Variable]) -> None:
    # Six gradients of 2 have the norm sqrt(24); clipped to 1 each becomes 2 / sqrt(24).
    matrix, _ = one_step(variables, 2.0, learning_rate=1.0, weight_decay=0.0, clip_norm=1.0)
    np.testing.assert_allclose(matrix, 3.0 - 2.0 / math.sqrt(24.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", keras.optimizers.SGD), ("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)],
)
def test_each_optimizer_is_the_one_that_is_named(name: str, kind: type, variables: list[keras.Variable]) -> None:
    training = section(Training, {"optimizer": name})
    optimizer = optimizers.build(training, variables, steps_per_epoch=1)
    assert type(optimizer) is kind
