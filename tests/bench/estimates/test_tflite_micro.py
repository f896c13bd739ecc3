"""TFLM and LiteRT themselves, on a dense layer."""

import numpy as np
import pytest

from edgekd.bench.estimates import tflite_micro
from edgekd.errors import ModelError, RecipeError

pytestmark = pytest.mark.usefixtures("kept_children")


def test_arena_and_outputs_of_an_int8_file(int8_tflite):
    found = tflite_micro.estimate(int8_tflite, samples=2)
    assert found.arena_bytes % 16 == 0
    assert 64 + 16 < found.arena_bytes < 4096
    assert found.output_lsb == 0  # one accumulation in integers: the same in every kernel
    assert found.differing_outputs == 0.0
    assert found.output_max_abs is None
    assert found.latency_ms is None
    assert found.macs == 64 * 16


def test_differences_are_counted_in_steps_and_shares(monkeypatch, int8_tflite):
    opened = tflite_micro.runtime.open_runner

    class Off:
        """LiteRT's runner, whose first output is two steps further and second one less."""

        def __init__(self, path, **options):
            self._runner = opened(path, **options)

        def __enter__(self):
            return self

        def __exit__(self, *details):
            self._runner.close()

        def __getattr__(self, name):
            return getattr(self._runner, name)

        def run(self, arrays):
            (found,) = self._runner.run(arrays)
            changed = np.clip(found, -120, 120)
            changed = changed.copy()
            changed[0, 0] += 2
            changed[0, 1] -= 1
            return (changed,)

    def open_runner(path, *, runtime):
        if runtime == "litert_builtin":
            return Off(path, runtime=runtime)
        runner = opened(path, runtime=runtime)
        run = runner.run
        runner.run = lambda arrays: tuple(np.clip(each, -120, 120) for each in run(arrays))
        return runner

    monkeypatch.setattr(tflite_micro.runtime, "open_runner", open_runner)
    monkeypatch.setattr(tflite_micro.microcontroller, "arena_bytes", lambda _: 16)  # found in another test
    found = tflite_micro.estimate(int8_tflite, samples=2)
    assert found.output_lsb == 2
    assert found.differing_outputs == 2 / 16


def test_float_outputs_differ_in_their_own_unit(monkeypatch, dense_tflite):
    monkeypatch.setattr(tflite_micro.microcontroller, "arena_bytes", lambda _: 16)
    found = tflite_micro.estimate(dense_tflite, samples=1)
    assert found.output_lsb is None
    assert 0 <= found.output_max_abs < 1e-4


def test_no_samples_compare_nothing(int8_tflite):
    with pytest.raises(RecipeError, match="samples is 0: expected at least 1"):
        tflite_micro.estimate(int8_tflite, samples=0)


def test_an_operator_that_tflm_lacks_is_named(monkeypatch, int8_tflite):
    monkeypatch.setattr(tflite_micro.microcontroller, "lacking", sorted)
    with pytest.raises(ModelError, match=r"no kernel for FULLY_CONNECTED: rebuild 'int8\.tflite'"):
        tflite_micro.estimate(int8_tflite)
