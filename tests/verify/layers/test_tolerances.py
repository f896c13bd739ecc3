"""Derived limits against what rounding does in numpy."""

import numpy as np
import pytest

from edgekd.verify.layers.tolerances import ROUNDING_MULTIPLE, WEIGHTS_MULTIPLE, Product, local_limit, rounding_rms

EPS = float(np.finfo(np.float32).eps)


def test_rounding_to_a_step_has_the_root_mean_square_that_is_taken():
    values = np.random.default_rng(0).uniform(-3, 3, 200_000)
    rounded = np.rint(values / 0.05) * 0.05
    assert rounding_rms(0.05) == pytest.approx(np.sqrt(np.mean((rounded - values) ** 2)), rel=0.01)
    assert rounding_rms(1.0) == pytest.approx(0.2887, abs=1e-4)


def test_a_healthy_output_is_far_from_its_limit():
    assert local_limit(steps=[0.05], magnitude=0.0, eps=EPS) == pytest.approx(ROUNDING_MULTIPLE * rounding_rms(0.05))


def test_rounded_weights_make_the_error_that_is_taken():
    rng = np.random.default_rng(0)
    inputs, kernel = rng.uniform(-1, 1, (64, 50)), rng.uniform(-1, 1, (2000, 50))
    steps = np.abs(kernel).max(axis=1) / 127
    rounded = np.rint(kernel / steps[:, None]) * steps[:, None]
    error = np.sqrt(np.mean((inputs @ (rounded - kernel).T) ** 2))
    product = Product(np.linalg.norm(kernel, axis=1), steps, 50, np.mean(inputs**2))
    limit = local_limit(steps=[], products=[product], magnitude=0.0, eps=EPS)
    assert limit.shape == (2000,)
    assert np.mean(limit) / WEIGHTS_MULTIPLE == pytest.approx(error, rel=0.02)


def test_inputs_rounded_on_the_way_make_the_error_that_is_taken():
    rng = np.random.default_rng(0)
    inputs, kernel = rng.uniform(-1, 1, (500, 50)), rng.uniform(-1, 1, (40, 50))
    step = 1 / 127
    error = np.sqrt(np.mean(((np.rint(inputs / step) * step - inputs) @ kernel.T) ** 2))
    product = Product(np.linalg.norm(kernel, axis=1), np.zeros(40), 50, np.mean(inputs**2), input_step=step)
    limit = local_limit(steps=[], products=[product], magnitude=0.0, eps=EPS)
    assert np.mean(limit) / WEIGHTS_MULTIPLE == pytest.approx(error, rel=0.05)


def test_floats_may_differ_by_multiples_of_epsilon_of_the_largest_value():
    assert local_limit(steps=[], magnitude=3.0, eps=EPS) == pytest.approx(64 * 2**-23 * 3)
    assert local_limit(steps=[], magnitude=3.0, eps=EPS, halves=2, constants=0.5) == pytest.approx(
        64 * 2**-23 * 3 + 2 * 2**-10 * 3 + 0.5
    )
