import numpy as np
import pytest

from edgekd.bench import self_test
from edgekd.bench.samples import RawSamples
from edgekd.errors import RecipeError
from tests.bench.shortest import SHORTEST
from tests.bench.test_comparing import measured

QUICK = SHORTEST | {"processes": 3}


def raw(models):
    common = {"sha256": "0" * 64, "target": "local", "num_threads": 1, "settings": {}}
    return [RawSamples(artifact=f"copy_{i}", processes=tuple(each), **common) for i, each in enumerate(models)]


def test_the_spread_is_that_which_the_copies_were_made_with():
    found = self_test.judge(raw(measured(*[1.0] * 4, rounds=200, within=0.03)), model="m", runtime="r")
    assert found.spread_of_ratios == pytest.approx(np.sqrt(2) * 0.03, rel=0.1)
    assert found.spread_of_processes == pytest.approx(np.hypot(0.08, 0.03), rel=0.15)
    assert found.verdicts == ("equivalent",) * 3
    assert (found.copies, found.rounds) == (4, 200)


def test_rounds_are_as_many_as_a_simulation_needs():
    """With so many rounds a model that is 10 % slower is called slower about four times in five."""
    found = self_test.judge(raw(measured(*[1.0] * 4, rounds=100, within=0.06)), model="m", runtime="r")
    rounds = found.rounds_needed["10%"]
    from edgekd.bench import comparing

    generator = np.random.default_rng(0)
    slower = sum(
        comparing.judge([np.log(1.1) + generator.normal(0, found.spread_of_ratios, rounds)])[0].verdict == "slower"
        for _ in range(400)
    )
    assert slower / 400 == pytest.approx(0.8, abs=0.07)
    assert found.rounds_needed["2%"] is None, "less than the floor is never called slower"
    assert found.rounds_needed["5%"] > rounds


def test_two_rounds_tell_nothing():
    found = self_test.judge(raw(measured(1.0, 1.0, rounds=2)), model="m", runtime="r")
    assert found.detectable is None
    assert found.verdicts == ("inconclusive",)


def test_real_copies_are_measured_in_the_same_rounds_with_the_files_beside_them(outside_onnx):
    steps = []
    found = self_test.run(outside_onnx, copies=2, on_progress=lambda *step: steps.append(step), **QUICK)
    assert (found.model, found.target, found.rounds, found.copies) == ("outside.onnx", "local", 3, 2)
    assert found.runtime.startswith("onnxruntime")
    assert len(steps) == 3 * 2 * 2
    assert found.p50_ms > 0


def test_one_copy_is_refused(dense_tflite):
    with pytest.raises(RecipeError, match="copies is 1"):
        self_test.run(dense_tflite, copies=1)
