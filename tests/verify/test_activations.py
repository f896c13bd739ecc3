"""One step before a steep function may be many after it; expected numbers are by hand."""

import numpy as np
import pytest

from edgekd.verify.activations import Activation, reach


def logistic(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


def on_grid(values, step=1 / 256):
    return np.round(values / step) * step


def test_a_step_before_a_logistic_is_reached_and_two_are_not():
    z = np.arange(-6, 6, 0.25)
    outputs = on_grid(logistic(z))
    low, high = reach(outputs, Activation("logistic", 0.25), step=1 / 256, steps=1)
    for moved, inside in ((-0.25, True), (0.25, True), (-0.5, False), (0.5, False)):
        other = on_grid(logistic(z + moved))
        steep = np.abs(z + moved / 2) < 2.5  # where half a step more is more than the rounding of both outputs
        assert ((other >= low) & (other <= high))[steep].all() == inside
    # logit(0.5 + 1/512) + 0.25 = 0.257813: 0.564099 + 1/512
    low, high = reach(np.array([0.5]), Activation("logistic", 0.25), step=1 / 256, steps=1)
    assert high[0] == pytest.approx(0.564099 + 1 / 512, abs=1e-6)
    assert low[0] == pytest.approx(1 - high[0])


def test_tanh_is_a_logistic_of_twice_the_number():
    z = np.array([-1.0, -0.2, 0.0, 0.7])
    low, high = reach(np.tanh(z), Activation("tanh", 0.1), step=1e-9, steps=2)
    np.testing.assert_allclose(low, np.tanh(z - 0.2), atol=1e-8)
    np.testing.assert_allclose(high, np.tanh(z + 0.2), atol=1e-8)


def test_a_softmax_is_moved_most_where_its_own_number_rises_and_the_others_fall():
    logits = np.array([[0.3, -1.0, 1.2]])

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    _, high = reach(softmax(logits), Activation("softmax", 0.1), step=1e-9, steps=1)
    for at in range(3):
        moved = logits - 0.1
        moved[0, at] += 0.2
        assert high[0, at] == pytest.approx(softmax(moved)[0, at], abs=1e-8)


def test_saturated_outputs_have_a_finite_reach():
    low, high = reach(np.array([0.0, 255 / 256]), Activation("logistic", 0.1), step=1 / 256, steps=1)
    assert np.isfinite([low, high]).all()
    assert low[1] < 255 / 256 <= high[1]
