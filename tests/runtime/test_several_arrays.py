"""predict_arrays(): any number of inputs and outputs, integers that stand for themselves, and states."""

import numpy as np
import onnx
import pytest

from edgekd.errors import ModelError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime import open_runner, predict_arrays
from edgekd.runtime.runner import ClosingRunner


@pytest.fixture(scope="module")
def lookup(tmp_path_factory):
    """An ONNX model of a float and an integer input: rows of a table by number, plus the float; and the number."""
    value, node, types = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [
            node("Gather", ["table", "number"], ["row"]),
            node("Add", ["row", "offset"], ["sum"]),
            node("Identity", ["number"], ["same"]),
        ],
        "lookup",
        [value("offset", types.FLOAT, ["batch", 2]), value("number", types.INT32, ["batch"])],
        [value("sum", types.FLOAT, ["batch", 2]), value("same", types.INT32, ["batch"])],
        [onnx.numpy_helper.from_array(np.float32([[0, 1], [10, 11], [20, 21]]), "table")],
    )
    path = tmp_path_factory.mktemp("lookup") / "lookup.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


OFFSETS = np.float32([[0, 0], [1, 1], [2, 2]])
NUMBERS = np.int64([2, 0, 1])


def test_every_input_gets_its_array_and_every_output_comes_back(lookup):
    with open_runner(lookup, check=False) as runner:
        total, same = predict_arrays(runner, [OFFSETS, NUMBERS], batch_size=2)
    np.testing.assert_array_equal(total, [[20, 21], [1, 2], [12, 13]])
    assert same.dtype == np.int32
    np.testing.assert_array_equal(same, NUMBERS)


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ([OFFSETS], ShapeError, r"takes 2 input\(s\), received 1"),
        ([OFFSETS, NUMBERS[:2]], ShapeError, r"different numbers of samples: \[2, 3\]"),
        ([OFFSETS[:0], NUMBERS[:0]], ShapeError, "no samples for 'lookup.onnx'"),
        ([OFFSETS[:, :1], NUMBERS], ShapeError, r"takes samples of shape \[2\], received \[1\]"),
        ([OFFSETS, NUMBERS.astype(np.float32)], ModelError, "input 'number' .* is int32, .* float32: give integers"),
        ([NUMBERS.repeat(2).reshape(3, 2), NUMBERS], ModelError, "input 'offset' .* int64: give floats"),
        ([OFFSETS, NUMBERS + 2**40], ModelError, "input 'number' .* is int32, and its samples go from"),
    ],
)
def test_samples_that_do_not_fit_are_an_error(lookup, arrays, error, message):
    with open_runner(lookup, check=False) as runner, pytest.raises(error, match=message):
        predict_arrays(runner, arrays)


class Counter(ClosingRunner):
    """A runner whose output is how often it was run since it was reset."""

    name = "counter"
    stateful = True
    outputs = (TensorSpec(name="count", shape=(1,), dtype="float32"),)

    def __init__(self, batch=1):
        self.inputs = (TensorSpec(name="x", shape=(batch, 1), dtype="float32"),)
        self.count = 0

    def reset(self):
        self.count = 0

    def run(self, arrays):
        self.count += 1
        return (np.full(len(arrays[0]), self.count, np.float32),)


@pytest.mark.parametrize(("every", "expected"), [(1, [1] * 5), (2, [1, 2, 1, 2, 1]), (9, [1, 2, 3, 4, 5])])
@pytest.mark.parametrize("batch", [1, None])
def test_a_state_is_reset_before_every_so_many_samples(batch, every, expected):
    (found,) = predict_arrays(Counter(batch), [np.zeros((5, 1), np.float32)], reset_every=every)
    np.testing.assert_array_equal(found, expected)


def test_a_state_of_several_samples_at_once_is_refused():
    with pytest.raises(ModelError, match="'counter' has a state and takes 4 samples at once"):
        predict_arrays(Counter(4), [np.zeros((5, 1), np.float32)])


class Shapes(ClosingRunner):
    """A runner that returns what it is told to."""

    name = "shapes"
    inputs = (TensorSpec(name="x", shape=(1, 1), dtype="float32"),)
    outputs = (TensorSpec(name="y", shape=(None,), dtype="float32"),)

    def __init__(self, *returned):
        self.returned = iter(returned)

    def run(self, arrays):  # noqa: ARG002
        return (next(self.returned),)


def test_an_output_without_a_batch_is_taken_whole():
    (found,) = predict_arrays(Shapes(np.float32([1, 2]), np.float32([3, 4])), [np.zeros((2, 1), np.float32)])
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    (found,) = predict_arrays(Shapes(np.float32(5), np.float32(6)), [np.zeros((2, 1), np.float32)])
    np.testing.assert_array_equal(found, [5, 6])


def test_outputs_whose_shape_depends_on_the_sample_are_an_error():
    runner = Shapes(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32))
    with pytest.raises(ShapeError, match=r"'y' of 'shapes' has another shape for each sample \(\[2\], \[3\]\)"):
        predict_arrays(runner, [np.zeros((2, 1), np.float32)])
