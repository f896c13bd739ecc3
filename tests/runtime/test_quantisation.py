"""The public helpers between real numbers and integers, against ONNX Runtime and numbers by hand."""

import numpy as np
import onnx
import onnxruntime
import pytest

from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.runtime import dequantise_array, quantise_array

KERNEL = np.random.default_rng(0).uniform(-2, 2, (3, 3, 2, 5)).astype(np.float32)
SCALES = np.float32([0.01, 0.02, 0.005, 0.3, 0.25])
ZEROS = np.int8([0, -3, 7, 127, -128])


def by_onnx_runtime(real, scales, zeros, axis):
    """Returns what ONNX Runtime's QuantizeLinear and DequantizeLinear make of an array."""
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    constants = [
        onnx.numpy_helper.from_array(np.asarray(each), name) for name, each in (("scale", scales), ("zero", zeros))
    ]
    graph = onnx.helper.make_graph(
        [
            node("QuantizeLinear", ["real", "scale", "zero"], ["raw"], axis=axis),
            node("DequantizeLinear", ["raw", "scale", "zero"], ["back"], axis=axis),
        ],
        "both",
        [value("real", onnx.TensorProto.FLOAT, real.shape)],
        [value("raw", onnx.TensorProto.INT8, real.shape), value("back", onnx.TensorProto.FLOAT, real.shape)],
        constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["raw", "back"], {"real": real})


def test_per_channel_it_is_what_onnx_runtime_does():
    raw, back = by_onnx_runtime(KERNEL, SCALES, ZEROS, 3)
    ours = quantise_array(KERNEL, scale=SCALES, zero_point=ZEROS, axis=3)
    np.testing.assert_array_equal(ours, raw)
    np.testing.assert_array_equal(dequantise_array(ours, scale=SCALES, zero_point=ZEROS, axis=-1), back)


def test_per_tensor_it_is_what_onnx_runtime_does_also_at_ties_and_beyond_the_range():
    real = np.float32([-0.75, -0.25, 0.25, 0.75, 1.25, 1e30, -1e30])
    raw, back = by_onnx_runtime(real, np.float32(0.5), np.int8(-3), 0)
    ours = quantise_array(real, scale=0.5, zero_point=-3)
    np.testing.assert_array_equal(ours, raw)
    np.testing.assert_array_equal(dequantise_array(ours, scale=0.5, zero_point=-3), back)


def test_wide_integers_are_not_cut_short():
    # 2**25 / 0.5 = 2**26, which float32 holds exactly.
    assert quantise_array([2.0**25], scale=0.5, dtype="int32") == 2**26
    assert dequantise_array(np.int32([2**26]), scale=0.5) == 2.0**25
    assert quantise_array([1e30], scale=0.5, dtype="int32") == 2**31 - 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scale": SCALES}, ShapeError, "5 scales and 1 zero points: say along which axis"),
        ({"scale": SCALES, "axis": 0}, ShapeError, r"3 channels along axis 0 of \[3, 3, 2, 5\], but 5 scales"),
        ({"scale": SCALES, "axis": 4}, ShapeError, "has no axis 4"),
        ({"scale": SCALES, "axis": 3, "zero_point": [1, 2]}, ShapeError, "2 zero points"),
        ({"scale": 0.0}, ModelError, "not positive and finite"),
        ({"scale": np.nan}, ModelError, "not positive and finite"),
        ({"scale": 1.0, "dtype": "float32"}, ModelError, "expected an integer type"),
    ],
)
def test_parameters_that_do_not_fit_are_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        quantise_array(KERNEL, **arguments)


def test_what_cannot_be_converted_is_an_error():
    with pytest.raises(NonFiniteError, match="the kernel contain NaN"):
        quantise_array([np.nan], scale=1.0, name="the kernel")
    with pytest.raises(ModelError, match="holds float32: only integers"):
        dequantise_array(np.float32([1]), scale=1.0)
