import json

import numpy as np
import onnx
import pytest

from edgekd.bench import profiling
from edgekd.bench.profiling import _summary
from edgekd.errors import ModelError, RecipeError, StorageError
from edgekd.records import Interval
from edgekd.report import profiles


@pytest.fixture(scope="module")
def two_convolutions(tmp_path_factory):
    """One of them with nine times the work of the other."""
    generator = np.random.default_rng(0)
    kernels = [generator.normal(0, 0.1, (16, 16, size, size)).astype(np.float32) for size in (5, 1)]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "large"], ["h"], name="large", pads=[2, 2, 2, 2]),
        onnx.helper.make_node("Conv", ["h", "small"], ["y"], name="small"),
    ]
    value, kind, shape = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT, (1, 16, 48, 48)
    graph = onnx.helper.make_graph(
        nodes,
        "two",
        [value("x", kind, shape)],
        [value("y", kind, shape)],
        [onnx.numpy_helper.from_array(kernel, name) for kernel, name in zip(kernels, ("large", "small"), strict=True)],
    )
    path = tmp_path_factory.mktemp("profile") / "two.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_node_with_more_work_takes_longer(two_convolutions):
    found = profiling.profile_model(two_convolutions, processes=2, runs=10)
    convolutions = [each for each in found.operators if each.operator == "Conv"]
    assert len(convolutions) == 2
    assert convolutions[0].time_us.value > 3 * convolutions[1].time_us.value
    assert convolutions[0].share == pytest.approx(convolutions[0].time_us.value / found.whole_us.value)
    assert found.share_of_operators == pytest.approx(sum(each.share for each in found.operators))
    assert found.adds_up is True
    assert found.plain_us.value > 0
    assert found.runtime.startswith("onnxruntime ")


def test_litert_tells_xnnpacks_operators(dense_tflite):
    found = profiling.profile_model(dense_tflite, processes=1, runs=5)
    (dense,) = found.operators
    assert dense.operator.startswith("Fully Connected (NC, F32)")
    assert dense.in_delegate
    assert found.runtime.startswith("ai-edge-litert ")
    assert found.operators[0].time_us.confidence == 0.0  # one process has no interval


@pytest.mark.parametrize("name", ["dynamic_length_tflite", "dynamic_length_onnx"])
def test_open_sizes_are_those_of_the_inputs(request, tmp_path, name):
    path = request.getfixturevalue(name)
    with pytest.raises(ModelError, match=r"more than the batch may vary: give a file .*\(--inputs FILE\.npz\)"):
        profiling.profile_model(path, processes=1, runs=1)
    times = []
    for length in (1, 4000):
        np.savez(tmp_path / "inputs.npz", x=np.ones((2, length, 64), np.float32))
        found = profiling.profile_model(path, processes=1, runs=5, inputs=tmp_path / "inputs.npz")
        times.append(sum(each.time_us.value for each in found.operators))
    assert times[1] > 10 * times[0]
    with pytest.raises(ModelError, match="the model takes"):
        profiling.profile_model(path, processes=1, runs=1, inputs=tmp_path / "inputs.npz", batch=3)


def test_a_batch_is_that_of_the_profiled_inferences(eight_tflite):
    found = profiling.profile_model(eight_tflite, processes=1, runs=5, batch=20_000)
    assert found.whole_us.value > 100  # twenty million multiply-accumulates
    with pytest.raises(RecipeError, match="batch is 0"):
        profiling.profile_model(eight_tflite, batch=0)


def test_the_whole_and_its_parts_are_of_the_same_runs():
    operators = [{"name": "a"}, {"name": "b"}]
    wholes = [10.0, 1000.0, 12.0, 11.0]
    times = [[4.0, 5.0], [4.0, 990.0], [5.0, 6.0], [4.0, 6.0]]
    found = _summary.summarised("r", operators, wholes, times, plain_us=9.0)
    assert found["whole_us"] == pytest.approx(10.5)  # of the faster half: 10 and 11
    assert [each["mean_us"] for each in found["operators"]] == pytest.approx([4.0, 5.5])


@pytest.mark.parametrize(
    ("share", "lost", "operators", "adds_up"),
    [
        (1.0, 0.01, 10, True),
        (0.92, 0.10, 10, True),  # 0.92 and 0.05 that rounding takes
        (0.80, 0.10, 10, False),
        (1.15, 0.02, 10, False),
        (0.60, 0.30, 30, None),  # 30 operators in 100 microseconds: 15 % are lost on average
    ],
)
def test_a_sum_is_held_to_the_whole_less_what_rounding_takes_on_average(share, lost, operators, adds_up):
    assert profiling._adds_up(share, lost, operators) is adds_up


def test_less_than_a_microsecond_is_no_zero():
    time = Interval(value=0.25, low=0.0, high=0.5)
    timed = profiling.OperatorTime(number=0, operator="Add", place="3", in_delegate=True, time_us=time, share=0.005)
    assert profiles._time_cells(timed) == ("< 1", "", "< 2.0%")


def test_what_cannot_be_profiled_is_said(tmp_path, dense_tflite):
    with pytest.raises(StorageError, match="absent"):
        profiling.profile_model(tmp_path / "absent.tflite")
    with pytest.raises(StorageError, match=r"input file 'gone\.npz' does not exist"):
        profiling.profile_model(dense_tflite, inputs="gone.npz")
    with pytest.raises(RecipeError, match="runs is 0"):
        profiling.profile_model(dense_tflite, runs=0)
    other = tmp_path / "model.keras"
    other.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"ends in \.tflite or \.onnx"):
        profiling.profile_model(other)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_damaged_file_is_an_error(tmp_path, suffix):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(b"this is no model")
    with pytest.raises(ModelError, match="damaged"):
        profiling.profile_model(path, processes=1, runs=1)


def test_the_command_prints_and_plots(edgekd_command, two_convolutions, tmp_path):
    page = tmp_path / "profile.html"
    result = edgekd_command("bench", two_convolutions, "--profile", "--plot", page, "--processes", 1)
    assert result.status == 0, result.err
    assert "the operators add up to" in result.out
    text = page.read_text()
    assert "two.onnx" in text
    assert "http" not in text.split("<h2>")[1].split("<script", maxsplit=1)[0]
    again = edgekd_command("bench", two_convolutions, "--profile", "--processes", 1, "--json")
    (found,) = json.loads(again.out)["profiles"]
    drawn = profiles.figure(profiling.Profile.model_validate(found))["data"][0]
    assert drawn["values"][0] == pytest.approx(sum(each["time_us"]["value"] for each in found["operators"]))
    assert edgekd_command("bench", two_convolutions, "--plot", page).status == 2
    assert edgekd_command("bench", two_convolutions, "--profile", "--target", "ssh://x").status == 2
