"""Models that run in a child process: the same results, and nothing that happens there ends this process."""

import os
import signal

import numpy as np
import pytest

from edgekd import runtime
from edgekd.child_process import Limits
from edgekd.errors import ModelError, ShapeError
from edgekd.runtime import IsolatedRunner, open_runner, predict


@pytest.mark.parametrize("name", ["int8_inputs.tflite", "int8_inputs.onnx"])
def test_a_child_runs_what_this_process_would(name, files, images):
    with open_runner(files / name) as isolated, open_runner(files / name, check=False) as plain:
        assert isinstance(isolated, IsolatedRunner)
        assert not isinstance(plain, IsolatedRunner)
        assert (isolated.name, isolated.inputs, isolated.outputs) == (name, plain.inputs, plain.outputs)
        for batch in (images, images[:2]):
            np.testing.assert_array_equal(predict(isolated, batch), predict(plain, batch))
        with pytest.raises(ShapeError, match=r"takes 1 input\(s\), received 2"):
            isolated.run([images[:1]] * 2)
        isolated.close()
        with pytest.raises(ModelError, match="is closed"):
            isolated.run([images[:1]])


def test_options_reach_the_engine_in_the_child(files):
    for check in (True, False):
        with pytest.raises(ModelError, match="unknown signature 'absent'"):  # said by the engine
            open_runner(files / "static.tflite", check=check, signature="absent")
        with pytest.raises(ModelError, match="unknown option of runtime 'litert': 'no_such_option'"):
            open_runner(files / "static.tflite", check=check, no_such_option=1)
    open_runner(files / "static.tflite", xnnpack=False).close()


def test_a_crash_while_it_runs_is_an_error_here(files, images):
    with open_runner(files / "static.tflite") as runner:
        os.kill(runner._child._process.pid, signal.SIGSEGV)
        with pytest.raises(ModelError, match=r"static\.tflite' crashed its parser with SIGSEGV when it was run"):
            runner.run([images[:1]])
        with pytest.raises(ModelError, match="is closed, or crashed its process"):
            runner.run([images[:1]])


def test_a_model_that_needs_more_memory_than_a_child_may_use_is_refused(files, tmp_path):
    """Two images of 32768x32768 bytes, of a file of a kilobyte."""
    import onnx

    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.UINT8
    node, shape = onnx.helper.make_node("Identity", ["a"], ["b"]), [1 << 15, 1 << 15]
    graph = onnx.helper.make_graph([node], "g", [value("a", kind, shape)], [value("b", kind, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match=r"large\.onnx"):
        IsolatedRunner(tmp_path / "large.onnx", limits=Limits(seconds=60, memory_bytes=1 << 29))
    assert runtime.engine_of(tmp_path / "large.onnx") == "onnxruntime"
