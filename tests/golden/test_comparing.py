"""What changed between two records: which findings fail, and which causes are told."""

from typing import Any

import numpy as np
import pytest

from edgekd.golden import comparing
from edgekd.golden.causes import causes
from edgekd.golden.checking import judged_ratio
from edgekd.golden.records import Finding, Golden, Values
from edgekd.records import Interval
from edgekd.verify.tolerances import Limits


def failures(golden: Golden, now: Golden, *, growth: float = 0.01, **limits: Any) -> dict[str, Finding]:
    found = comparing.compare(golden, now, limits=Limits(expect="same", **limits), max_size_growth=growth)
    assert {each.kind for each in found} >= {"interface", "dtype", "operators", "size"}
    return {each.kind: each for each in found if each.status != "passed"}


def with_rows(golden: Golden, change: Any) -> Golden:
    (kept,) = golden.values
    rows = np.array(kept.rows, object)
    change(rows)
    return golden.model_copy(update={"values": (kept.model_copy(update={"rows": tuple(map(tuple, rows))}),)})


def test_a_record_is_itself(float_golden: Golden, int8_golden: Golden) -> None:
    assert failures(float_golden, float_golden) == {}
    assert failures(int8_golden, int8_golden) == {}


def test_floats_may_be_off_by_64_epsilons_of_the_largest_and_no_more(float_golden: Golden) -> None:
    largest = float(np.abs(np.array(float_golden.values[0].rows)).max())
    allowed = 64 * 2.0**-23 * largest

    def off_by(distance: float) -> Golden:
        def change(rows: Any) -> None:
            rows[3, 1] += distance

        return with_rows(float_golden, change)

    assert failures(float_golden, off_by(0.9 * allowed)) == {}
    (found,) = failures(float_golden, off_by(1.2 * allowed)).values()
    assert "1 of 24 values are off" in found.message
    assert "most at [3, 1]" in found.message
    assert failures(float_golden, off_by(1.2 * allowed), epsilons=100) == {}


def test_integers_may_be_off_by_one_step(int8_golden: Golden) -> None:
    def off_by(steps: int) -> Golden:
        def change(rows: Any) -> None:
            rows[2, 0] -= steps

        return with_rows(int8_golden, change)

    assert failures(int8_golden, off_by(1)) == {}
    (found,) = failures(int8_golden, off_by(2)).values()
    assert "1 of 24 values are off" in found.message
    assert "(2 LSB), most at [2, 0]" in found.message
    assert failures(int8_golden, off_by(2), max_mismatch=0.05) == {}


def of_a_sigmoid(golden: Golden, integer: int, *, step: float | None = 0.2) -> Golden:
    """Every value of p = logistic(z) is that integer, in steps of 1/256 from -128 on; those of z have another step."""
    values = Values(
        name="p",
        shape=(3,),
        every=1,
        step=1 / 256,
        activation=None if step is None else "logistic",
        activation_step=step,
        scale=1 / 256,
        zero_point=-128,
        dtype="int8",
        rows=((integer,) * 3,) * 8,
    )
    return golden.model_copy(update={"values": (values,)})


def test_outputs_of_a_sigmoid_may_be_off_by_a_step_before_it(int8_golden: Golden) -> None:
    # logistic(0) is 0.5, the integer 0; logistic(0.2) is 0.54983, 12.8 steps further.
    golden = of_a_sigmoid(int8_golden, 0)
    now = of_a_sigmoid(int8_golden, 13)
    assert failures(golden, now) == {}
    found = comparing.compare(golden, now, limits=Limits(expect="same"), max_size_growth=0.01)
    (outputs,) = [each for each in found if each.kind == "outputs"]
    assert outputs.message.startswith("output 'p': 0 of 24 values off; tolerance: one network")
    assert "or as many of the scale 0.2 before its logistic" in outputs.message
    assert "24 of 24 values are off" in failures(golden, of_a_sigmoid(int8_golden, 16))["outputs"].message
    assert "outputs" in failures(golden, of_a_sigmoid(int8_golden, 16, step=5.0)), "what the file says now"
    assert "outputs" in failures(of_a_sigmoid(int8_golden, 0, step=None), now)


@pytest.mark.parametrize(
    ("what", "value", "told"),
    [
        ("name", "other", "name of output 0 (logits) logits -> other"),
        ("shape", (1, 4), "shape of output 0 (logits) [1, 3] -> [1, 4]"),
        ("dtype", "uint8", "dtype of output 0 (logits) int8 -> uint8"),
        ("scale", 0.5, "scale of output 0 (logits)"),
        ("zero_point", 7, "zero point of output 0 (logits) 0 -> 7"),
    ],
)
def test_every_part_of_the_interface_must_stay(int8_golden: Golden, what: str, value: Any, told: str) -> None:
    (spec,) = int8_golden.outputs
    now = int8_golden.model_copy(update={"outputs": (spec.model_copy(update={what: value}),)})
    (found,) = failures(int8_golden, now, max_mismatch=1.0).values()
    assert (found.kind, told in found.message) == ("interface", True)


def test_the_order_and_number_of_inputs_must_stay(int8_golden: Golden) -> None:
    (spec,) = int8_golden.inputs
    two = int8_golden.model_copy(update={"inputs": (spec, spec.model_copy(update={"name": "mask"}))})
    swapped = two.model_copy(update={"inputs": two.inputs[::-1]})
    assert "order of inputs window, mask -> mask, window" in failures(two, swapped)["interface"].message
    assert "1 input(s) (window) -> 2 (window, mask)" in failures(int8_golden, two)["interface"].message


def test_operators_size_and_data(float_golden: Golden) -> None:
    now = float_golden.model_copy(
        update={"operators": {"FULLY_CONNECTED": 1, "RESHAPE": 1}, "size_bytes": 2000, "sha256": "other"}
    )
    found = failures(float_golden, now)
    assert found["operators"].message == "FULLY_CONNECTED 2 -> 1; RESHAPE 0 -> 1"
    assert "1,344 -> 2,000 bytes (+48.8 %)" in found["size"].message
    assert "size" not in failures(float_golden, now, growth=0.5)
    assert causes(float_golden, now) == (
        "operators added: 1 RESHAPE",
        "operators removed: 1 FULLY_CONNECTED",
    )
    other = float_golden.run_on.model_copy(update={"sha256": "0"})
    assert set(failures(float_golden, float_golden.model_copy(update={"run_on": other}))) == {"data"}


def test_constants_may_neither_come_nor_go(float_golden: Golden) -> None:
    none = float_golden.model_copy(update={"constants": ()})
    gone, new = failures(float_golden, none)["constants"], failures(none, float_golden)["constants"]
    first, second = (each.name for each in float_golden.constants)
    assert gone.message.startswith(f"{first} of FULLY_CONNECTED [16, 8] was removed; {second} of")
    assert new.message.startswith(f"{first} of FULLY_CONNECTED [16, 8] was added; {second} of")
    now = none.model_copy(update={"sha256": "other"})
    assert causes(float_golden, now)[0] == f"weights {first} of FULLY_CONNECTED were removed"


def test_metrics_may_fall_by_one_sample(float_golden: Golden) -> None:
    def with_accuracy(value: float) -> Golden:
        return float_golden.model_copy(update={"metrics": {"samples": 200.0, "accuracy": value}})

    assert failures(with_accuracy(0.9), with_accuracy(0.895)) == {}
    assert "0.9000 -> 0.8900" in failures(with_accuracy(0.9), with_accuracy(0.89))["metrics"].message
    assert "was not measured now" in failures(with_accuracy(0.9), float_golden)["metrics"].message


def test_zeros_everywhere_decide_nothing(float_golden: Golden) -> None:
    def change(rows: Any) -> None:
        rows[:] = 0.0

    zeros = with_rows(float_golden, change)
    assert failures(zeros, zeros)["outputs"].status == "inconclusive"


def test_scales_and_weights_and_surroundings_are_causes(int8_golden: Golden) -> None:
    hidden = int8_golden.activations[1].model_copy(update={"scale": 0.5, "zero_point": 3})
    kernel = int8_golden.constants[0].model_copy(update={"sha256": "0", "norm": 7.0})
    now = int8_golden.model_copy(
        update={
            "sha256": "other",
            "activations": (int8_golden.activations[0], hidden, int8_golden.activations[2]),
            "constants": (kernel, int8_golden.constants[1]),
        }
    )
    scale, weights = causes(int8_golden, now)
    assert scale == f"scale of hidden {int8_golden.activations[1].scale:.6g} -> 0.5, zero point -128 -> 3"
    assert weights.startswith("weights kernel1 of FULLY_CONNECTED: other numbers, norm")
    rounded = hidden.model_copy(update={"scale": int8_golden.activations[1].scale * (1 + 1e-7), "zero_point": -128})
    four_bits = kernel.model_copy(update={"dtype": "int4", "scales_sha256": "1"})
    narrower = now.model_copy(
        update={
            "activations": (int8_golden.activations[0], rounded, int8_golden.activations[2]),
            "constants": (int8_golden.constants[1].model_copy(update={"sha256": "1"}), four_bits),
        }
    )
    first, second = causes(int8_golden, narrower)
    assert first.startswith("weights kernel1 of FULLY_CONNECTED: int8 -> int4; other numbers; other scales")
    assert "other numbers, norm" in second
    older = int8_golden.model_copy(update={"environment": {**int8_golden.environment, "ai-edge-litert": "2.0.0"}})
    (cause,) = causes(older, int8_golden)
    assert cause.startswith("the file's bytes are as they were: ai-edge-litert 2.0.0 -> ")


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [(0.9, 1.1, "passed"), (1.0, 1.3, "inconclusive"), (1.15, 1.4, "inconclusive"), (1.3, 1.5, "failed")],
)
def test_a_ratio_passes_only_where_its_whole_interval_does(low: float, high: float, status: str) -> None:
    ratio = Interval(value=(low + high) / 2, low=low, high=high)
    assert judged_ratio(ratio, 1.2) == status
    assert judged_ratio(None, 1.2) == "inconclusive"
