import time

import numpy as np
import pytest

from edgekd import bench, inspect
from edgekd.bench import roofline
from edgekd.bench.roofline import Peak
from edgekd.errors import DataError
from edgekd.records import Interval
from tests.bench.shortest import SHORTEST

pytestmark = pytest.mark.usefixtures("kept_children")


@pytest.fixture(scope="module")
def measured(dense_tflite, int8_tflite, tmp_path_factory):
    return bench.measure([dense_tflite, int8_tflite], raw_folder=tmp_path_factory.mktemp("roof") / "raw", **SHORTEST)


def peaks(float32, int8):
    return [
        Peak(kind=kind, gmacs_per_second=Interval(value=value, low=value, high=value))
        for kind, value in (("float32", float32), ("int8", int8))
    ]


def at(measurement, p50_ms):
    latency = measurement.latency_ms.model_copy(update={"p50": p50_ms})
    return measurement.model_copy(update={"latency_ms": latency})


def test_the_limit_is_the_lower_of_arithmetic_and_memory(measured, dense_tflite):
    # 64 x 16 multiply-accumulates; 1024 + 16 constants and 64 + 16 activations of 4 bytes, these twice.
    inspection = inspect.inspect_model(dense_tflite)
    intensity = 1024 / (4 * 1040 + 2 * 4 * 80)
    one = at(measured[0], 0.001)  # 1.024 GMAC/s
    found = roofline.point(one, inspection, peaks(10.0, 99.0), 5.0)
    assert found.macs_per_byte == pytest.approx(intensity)
    assert found.gmacs_per_second == pytest.approx(1.024)
    assert found.bound == "memory"
    assert found.limit_gmacs_per_second == pytest.approx(5 * intensity)
    assert found.share == pytest.approx(1.024 / (5 * intensity))
    fast_memory = roofline.point(one, inspection, peaks(10.0, 99.0), 500.0)
    assert (fast_memory.bound, fast_memory.limit_gmacs_per_second) == ("arithmetic", 10.0)
    assert fast_memory.share == pytest.approx(0.1024)


def test_integers_are_held_to_the_peak_of_integers(measured, int8_tflite):
    found = roofline.point(measured[1], inspect.inspect_model(int8_tflite), peaks(10.0, 99.0), 1e9)
    assert (found.kind, found.limit_gmacs_per_second) == ("int8", 99.0)


def test_the_machine_is_measured(measured, dense_tflite, int8_tflite):
    found = roofline.measure(measured, [dense_tflite, int8_tflite], num_threads=1, **SHORTEST)
    assert [each.kind for each in found.peaks] == ["float32", "int8"]
    assert all(each.gmacs_per_second.value > 0.1 for each in found.peaks)
    assert found.bandwidth_gb_per_second == found.bandwidth_interval.value > 0.1
    assert [each.artifact for each in found.points] == ["dense.tflite", "int8.tflite"]
    with pytest.raises(DataError, match="one number of threads"):
        roofline.measure(measured, [dense_tflite], num_threads=2, **SHORTEST)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_bandwidth_is_that_of_all_threads_together(monkeypatch, threads):
    """Each copy takes 10 ms here, or a little more, and reads and writes its bytes."""
    copied = []

    def slow_copy(target, source):
        copied.append(source.nbytes)
        assert target.nbytes == source.nbytes
        time.sleep(0.01)

    monkeypatch.setattr(np, "copyto", slow_copy)
    found = roofline.measure_bandwidth(threads)
    assert len(copied) == threads * 17
    expected = 2 * threads * copied[0] / 0.01 / 1e9
    assert 0.2 * expected < found.low <= found.value <= found.high <= expected


def test_the_command_prints_the_limits(edgekd_command, dense_tflite):
    quick = [part for name, value in SHORTEST.items() if name != "processes" for part in ("--set", f"{name}={value}")]
    result = edgekd_command("bench", dense_tflite, *quick, "--processes", 1, "--roofline")
    assert result.status == 0, result.err
    assert "this machine with 1 thread: GMAC/s" in result.out
    assert edgekd_command("bench", dense_tflite, "--roofline", "--batch", 2).status == 2
