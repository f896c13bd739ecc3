"""A comparison says how far apart two models are, and is never empty."""

import numpy as np
import pytest

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime import open_runner
from edgekd.runtime.runner import ClosingRunner
from edgekd.verify.comparison import compare
from edgekd.verify.gates import accuracy_gates

IMAGES = np.eye(3, dtype=np.float32)
NAMES = ("student", "student.onnx")


def test_a_comparison_of_known_models(linear):
    # Rows are samples: the reference predicts 0, 1, 1, the candidate 0, 1, 0; the labels are 0, 1, 1.
    reference = linear("reference.onnx", [[2, 0], [0, 2], [0, 1]])
    candidate = linear("candidate.onnx", [[2, 0], [0, 2], [1, 0]])
    with open_runner(reference, check=False) as first, open_runner(candidate, check=False) as second:
        record = compare(first, second, IMAGES, np.array([0, 1, 1]), names=NAMES, dataset="three", batch_size=2)
    assert (record.reference, record.candidate, record.samples, record.dataset) == (*NAMES, 3, "three")
    assert (record.reference_accuracy, record.candidate_accuracy) == (1, pytest.approx(2 / 3))
    assert record.accuracy_drop.value == pytest.approx(1 / 3)
    assert record.agreement.value == pytest.approx(2 / 3)
    (output,) = record.outputs
    assert (output.output, output.elements, output.max_abs) == ("logits", 6, 1)
    assert output.relative_l2 == pytest.approx(np.sqrt(2) / 3)
    assert output.cosine == pytest.approx(8 / 9)
    assert output.sqnr_db == pytest.approx(20 * np.log10(3 / np.sqrt(2)))
    assert output.max_lsb is None


def test_a_model_equals_its_own_outputs(linear):
    weights = np.float32([[2, 0], [0, 2], [0, 1]])
    with open_runner(linear("model.onnx", weights), check=False) as runner:
        record = compare(weights, runner, IMAGES, names=NAMES, dataset="three")
    assert record.agreement.value == 1
    assert record.outputs[0].sqnr_db is None
    assert (record.reference_accuracy, record.accuracy_drop) == (None, None)


class Eighths(ClosingRunner):
    """A runner whose output is quantised in steps of 1/8."""

    name = "eighths"
    inputs = (TensorSpec(name="image", shape=(None, 3), dtype="float32"),)
    outputs = (TensorSpec(name="logits", shape=(None, 2), dtype="int8", scale=0.125, zero_point=0),)

    def run(self, arrays):  # noqa: ARG002
        return (np.int8([[16, 0], [0, 16], [0, 7]]),)


def test_errors_of_an_integer_output_are_counted_in_its_own_steps():
    record = compare(np.float32([[2, 0], [0, 2], [0, 1]]), Eighths(), IMAGES, names=NAMES, dataset="three")
    assert record.outputs[0].max_lsb == 1


def test_a_model_that_gives_only_zeros_is_compared_and_fails_its_gates(linear):
    with open_runner(linear("dead.onnx", np.zeros((3, 2))), check=False) as runner:
        weights = np.float32([[0, 2], [0, 2], [0, 1]])
        record = compare(weights, runner, IMAGES, np.array([1, 1, 1]), names=NAMES, dataset="three")
    assert record.outputs[0].cosine is None
    assert record.outputs[0].relative_l2 == 1
    gates = accuracy_gates(NAMES[1:], [record], max_accuracy_drop=0.01, min_agreement=0.98)
    assert not any(gate.passed for gate in gates)


def test_no_samples_are_an_error(linear):
    with open_runner(linear("model.onnx", np.ones((3, 2))), check=False) as runner:
        with pytest.raises(ShapeError, match="no samples to compare 'student' and"):
            compare(np.zeros((0, 2)), runner, IMAGES[:0], names=NAMES, dataset="none")
        with pytest.raises(ShapeError, match="2 outputs for 3 samples"):
            compare(np.zeros((2, 2)), runner, IMAGES, names=NAMES, dataset="three")


def test_nan_outputs_are_an_error(linear):
    with (
        open_runner(linear("model.onnx", np.full((3, 2), np.nan)), check=False) as runner,
        pytest.raises(NonFiniteError, match="outputs of the candidate"),
    ):
        compare(np.ones((3, 2)), runner, IMAGES, names=NAMES, dataset="three")


def test_labels_without_classes_are_an_error(linear):
    with (
        open_runner(linear("model.onnx", np.ones((3, 1))), check=False) as runner,
        pytest.raises(ShapeError, match=r"labels need outputs of shape \[samples, classes\], received \[3, 1\]"),
    ):
        compare(np.ones((3, 1)), runner, IMAGES, np.array([0, 0, 0]), names=NAMES, dataset="three")
