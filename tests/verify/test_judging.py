"""A verdict follows from a tolerance that says where it comes from; expected numbers are by hand."""

import dataclasses

import numpy as np
import pytest

from edgekd.errors import ModelError, ShapeError
from edgekd.verify.activations import Activation
from edgekd.verify.identity import Identity
from edgekd.verify.judging import Answers, Output, judge
from edgekd.verify.tolerances import Limits

BASE = np.float32([[4, 1], [1, 8], [2, 1], [1, 2]])
EPSILON = 2.0**-23


def answers(label, *outputs, arithmetic="float32"):
    return Answers(label, arithmetic, outputs)


def judged(first, second, *, kinds=("float32", "float32"), steps=(None, None), **options):
    reference = answers("reference", Output("logits", np.asarray(first), steps[0]), arithmetic=kinds[0])
    candidate = answers("candidate", Output("logits", np.asarray(second), steps[1]), arithmetic=kinds[1])
    return judge(reference, candidate, dataset="four", **options)


def off_by(amount, where=(1, 1)):
    changed = BASE.astype(np.float64)
    changed[where] += amount
    return changed.astype(np.float32)


def test_floats_may_differ_by_epsilons_of_the_largest_output():
    inside, beyond = judged(BASE, off_by(63 * EPSILON * 8)), judged(BASE, off_by(66 * EPSILON * 8))
    assert inside
    assert inside.status == "passed"
    assert inside.verdicts[0].tolerance.max_abs == 64 * EPSILON * 8
    assert "64 x epsilon of float32 x the reference's largest output 8" in inside.verdicts[0].tolerance.origin
    assert not beyond
    assert beyond.status == "failed"
    assert beyond.verdicts[0].reason.startswith("off by up to 6.294e-05; at most 6.104e-05")


def test_half_precision_has_its_own_epsilon():
    assert judged(BASE, off_by(0.4), kinds=("float32", "float16"))
    assert not judged(BASE, off_by(0.6), kinds=("float32", "float16"))  # 64 * 2**-10 * 8 = 0.5


@pytest.mark.parametrize(
    ("limits", "passed", "origin"),
    [
        ({"epsilons": 1000.0}, True, "epsilons 1000 as given"),
        ({"epsilons": 10.0}, False, "epsilons 10 as given"),
        ({"max_abs": 1e-3}, True, "max_abs as given"),
        ({"max_abs": 1e-5}, False, "max_abs as given"),
        ({"min_sqnr_db": 200.0}, False, "min_sqnr_db 200 as given"),
    ],
)
def test_what_is_asked_for_replaces_what_is_derived(limits, passed, origin):
    found = judged(BASE, off_by(50 * EPSILON * 8), limits=Limits(**limits))
    assert (found.status == "passed") is passed
    assert origin in found.verdicts[0].tolerance.origin


def integers(changed, *, step=0.5, **options):
    kinds, steps = ("integer", "integer"), (step, step)
    return judged(np.tile(BASE, (100, 1)), changed, kinds=kinds, steps=steps, **options)


def test_integers_may_differ_by_a_step_of_their_own_and_a_few_by_more():
    changed = np.tile(BASE, (100, 1)) + np.float32(0.5)
    one_step = integers(changed)
    assert one_step
    assert one_step.comparison.outputs[0].max_lsb == 1
    assert one_step.verdicts[0].mismatch == 0
    changed[:4, 0] += 0.5  # four of 800 by two steps, each in a sample of its own
    two_steps = integers(changed)
    assert two_steps.status == "failed"
    assert two_steps.verdicts[0].mismatch == 4 / 800
    assert two_steps.verdicts[0].reason == (
        "0.5 % of the values are off by more than 1 LSB (up to 2); at most 0.1 % may be"
    )
    assert integers(changed, limits=Limits(max_mismatch=0.01))
    assert integers(changed, limits=Limits(max_lsb=2.0))
    assert "candidate's output scale 0.5 (max_lsb 1 by default)" in two_steps.verdicts[0].tolerance.origin


def test_too_few_values_to_tell_are_inconclusive():
    changed = np.tile(BASE, (100, 1))
    changed[0, 0] += 1  # one of 800 by two steps: 0.125 % are more than 0.1 %, but may well be chance
    found = integers(changed)
    assert found.status == "inconclusive"
    # Clopper and Pearson's interval of 1 in 800 is 0.0032 to 0.69 %.
    assert found.verdicts[0].mismatch_interval.low == pytest.approx(3.2e-5, rel=0.05)
    assert found.verdicts[0].mismatch_interval.high == pytest.approx(6.9e-3, rel=0.05)
    assert "With so few samples it may be 0.0031 to 0.7 % of others: give more" in found.verdicts[0].reason
    assert integers(changed, limits=Limits(only_these_samples=True)).status == "failed"
    assert integers(changed, limits=Limits(max_mismatch=0.0)).status == "failed"
    assert integers(changed, limits=Limits(max_mismatch=0.002))


def test_values_that_are_off_together_are_not_independent():
    alone, together = np.tile(BASE, (100, 1)), np.tile(BASE, (100, 1))
    alone[:8, 0] += 1
    together[:4] += 1
    assert integers(alone).status == "failed"
    assert integers(alone, together=400).status == "inconclusive", "one run of a model with a state is one sample"
    found = integers(together).verdicts[0], integers(alone).verdicts[0]
    assert found[0].mismatch == found[1].mismatch == 8 / 800
    assert found[0].mismatch_interval.low < found[1].mismatch_interval.low
    everything = np.tile(BASE, (100, 1)) + 1
    assert integers(everything, together=400).status == "failed"


def test_a_step_before_a_steep_function_may_be_many_after_it():
    rng = np.random.default_rng(0)
    numbers = np.round(rng.uniform(-4, 4, (400, 2)) / 0.2) * 0.2

    def outputs(moved):
        values = np.round(256 / (1 + np.exp(-numbers - moved))) / 256
        return Output("p", values.astype(np.float32), 1 / 256, Activation("logistic", 0.2))

    def status(moved, **options):
        first, second = (answers(name, outputs(by), arithmetic="integer") for name, by in (("a", 0), ("b", moved)))
        return judge(first, second, dataset="made up", **options)

    found = status(0.2)
    assert found
    assert found.comparison.outputs[0].max_lsb > 10
    assert found.verdicts[0].tolerance.activation_step == 0.2
    assert "or as many of the scale 0.2 before its logistic" in found.verdicts[0].tolerance.origin
    assert status(0.4).status == "failed"
    assert status(0.4, limits=Limits(max_lsb=2.0))
    first = answers("a", outputs(0), arithmetic="integer")
    loose = dataclasses.replace(outputs(0.4), activation=Activation("logistic", 2.0))
    assert judge(first, answers("b", loose, arithmetic="integer"), dataset="made up").status == "failed"


def of_weights(label, weights, values, *, scheme="int8", arithmetic="integer", step=0.5):
    output = Output("logits", np.asarray(values), step)
    return Answers(label, arithmetic, (output,), Identity(weights, "the same", scheme))


def test_files_of_other_weights_are_other_networks_that_a_ratio_does_not_prove():
    def found(weights, **options):
        first, second = of_weights("a", "one", BASE), of_weights("b", weights, off_by(1))
        return judge(first, second, dataset="four", **options)

    same, other = found("one"), found("another")
    assert same.status == "inconclusive", "one of 8 values"
    assert "one network (made from the same weights and calibration" in same.verdicts[0].tolerance.origin
    assert other.comparison.outputs[0].sqnr_db > 10
    assert other.status == "inconclusive"
    assert other.verdicts[0].tolerance.kind == "quantised"
    assert "another network (made from other weights" in other.verdicts[0].tolerance.origin
    assert "give data with labels, or say what it must be with min_sqnr_db" in other.verdicts[0].reason
    labelled = {"labels": np.array([0, 1, 0, 1]), "limits": Limits(min_agreement=0.5)}
    for options in (labelled, {"limits": Limits(min_sqnr_db=10)}, {"limits": Limits(expect="close")}):
        assert found("another", **options), options
    assert found("another", limits=Limits(expect="same")).verdicts[0].tolerance.kind == "integer"
    floats = of_weights("a", "one", BASE, arithmetic="float32", step=None)
    assert judge(floats, of_weights("b", "one", off_by(1)), dataset="four")
    assert judge(floats, of_weights("b", "another", off_by(1)), dataset="four").status == "inconclusive"
    assert judge(floats, of_weights("b", "another", off_by(8)), dataset="four").status == "failed", "too little anyway"


def test_another_scheme_is_another_rounding_of_the_same_weights():
    found = judge(of_weights("a", "one", BASE), of_weights("b", "one", off_by(1), scheme="int8x4"), dataset="four")
    assert found
    assert "quantised otherwise (made from the same weights as int8 and int8x4" in found.verdicts[0].tolerance.origin


def test_integers_against_floats_are_judged_by_their_noise_not_by_closeness():
    # The noise has half the reference's norm: 6.02 dB. A fifth of it: 13.98 dB.
    assert judged(BASE, BASE * np.float32(1.2), kinds=("float32", "integer"), steps=(None, 0.1))
    found = judged(BASE, BASE * np.float32(1.5), kinds=("float32", "integer"), steps=(None, 0.1))
    assert not found
    assert found.verdicts[0].reason == "SQNR 6.0 dB; at least 10 dB must be"
    assert "quantised on one side" in found.verdicts[0].tolerance.origin


def test_integers_of_other_scales_are_other_integers():
    found = judged(BASE, off_by(1.0), kinds=("integer", "integer"), steps=(0.1, 0.2))
    assert found
    assert found.verdicts[0].tolerance.kind == "quantised"
    assert "with another scale" in found.verdicts[0].tolerance.origin


def test_labels_judge_what_was_quantised_by_accuracy_and_agreement():
    labels = np.array([0, 1, 0, 1])
    swapped = off_by(-8, (1, 1))  # sample 1 becomes class 0
    found = judged(BASE, swapped, kinds=("float32", "integer"), steps=(None, 0.1), labels=labels)
    assert [(gate.name, gate.passed, gate.observed) for gate in found.gates] == [
        ("accuracy_drop", False, 0.25),
        ("agreement", False, 0.75),
    ]
    assert found.verdicts[0].status == "passed"
    assert found.verdicts[0].tolerance.min_sqnr_db is None
    assert found.status == "failed"
    lenient = Limits(max_accuracy_drop=0.25, min_agreement=0.75)
    assert judged(BASE, swapped, kinds=("float32", "integer"), steps=(None, 0.1), labels=labels, limits=lenient)


def test_agreement_is_asked_for_without_labels_only_by_the_user():
    swapped = off_by(-7.5, (1, 1))
    close = Limits(expect="close", min_sqnr_db=0.0)
    assert judged(BASE, swapped, limits=close).gates == ()
    asked = judged(BASE, swapped, limits=Limits(expect="close", min_sqnr_db=0.0, min_agreement=0.8))
    assert [(gate.name, gate.passed) for gate in asked.gates] == [("agreement", False)]


def test_by_intervals_a_limit_inside_is_inconclusive():
    labels = np.array([0, 1] * 20)
    outputs = np.tile(BASE[:2], (20, 1))
    options = {"kinds": ("float32", "integer"), "steps": (None, 0.1), "labels": labels}
    same = judged(outputs, outputs, limits=Limits(by_interval=True), **options)
    # All 40 agree: Wilson's interval begins at 40 / (40 + 1.96**2) = 0.912, below 0.98.
    assert [(gate.name, gate.passed, gate.inconclusive) for gate in same.gates] == [
        ("accuracy_drop", False, True),
        ("agreement", False, True),
    ]
    assert same.status == "inconclusive"
    sure = Limits(by_interval=True, max_accuracy_drop=0.1, min_agreement=0.9)
    assert judged(outputs, outputs, limits=sure, **options)
    wrong = judged(outputs, outputs[:, ::-1].copy(), limits=Limits(by_interval=True), **options)
    assert wrong.status == "failed"
    assert not any(gate.inconclusive for gate in wrong.gates)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_always_a_failure(side, bad):
    pair = [BASE, BASE.copy()]
    pair[side] = off_by(0)
    pair[side][0, 0] = bad
    found = judged(*pair, limits=Limits(expect="close", max_abs=1e9))
    assert found.status == "failed"
    assert found.verdicts[0].reason == f"1 of 8 values of '{['reference', 'candidate'][side]}' are NaN or infinite"
    assert found.comparison.outputs == ()


def test_a_reference_of_zeros_decides_nothing():
    zeros = np.zeros_like(BASE)
    found = judged(zeros, zeros)
    assert found.status == "inconclusive"
    assert "every value of 'reference' is zero" in found.verdicts[0].reason


def test_a_dead_candidate_fails():
    found = judged(BASE, np.zeros_like(BASE), kinds=("float32", "integer"), steps=(None, 0.1))
    assert found.status == "failed"
    assert found.comparison.outputs[0].cosine is None


def test_integers_that_stand_for_themselves_must_be_equal():
    classes = np.array([1, 2, 3, 4])
    assert judged(classes, classes.astype(np.int32))
    changed = judged(classes, np.array([1, 2, 3, 5]))
    assert changed.verdicts[0].reason == "25 % of the values differ; at most 0 % may"
    assert judged(classes, np.array([1, 2, 3, 5]), limits=Limits(max_mismatch=0.25))
    assert "one is int64 and the other float32" in judged(classes, classes.astype(np.float32)).verdicts[0].reason


def test_expecting_the_same_holds_integers_to_floats_and_close_lets_floats_differ():
    assert not judged(BASE, off_by(0.1), kinds=("float32", "integer"), limits=Limits(expect="same"))
    assert judged(BASE, off_by(0.1), limits=Limits(expect="close"))


def several(label, *named, arithmetic="float32"):
    return answers(label, *(Output(name, values) for name, values in named), arithmetic=arithmetic)


def test_outputs_are_paired_by_name_where_names_are_the_same():
    first = several("a", ("x", BASE), ("y", BASE * 2))
    found = judge(first, several("b", ("y", BASE * 2), ("x", BASE)), dataset="four")
    assert found
    assert found.outputs_by == "by name"
    assert [(each.output, each.candidate_output) for each in found.verdicts] == [("x", "x"), ("y", "y")]


def test_else_they_are_paired_by_position_or_as_given():
    first = several("a", ("x", BASE), ("y", BASE * 2))
    second = several("b", ("Identity", BASE * 2), ("Identity_1", BASE))
    wrong = judge(first, second, dataset="four")
    assert wrong.outputs_by == "by position"
    assert not wrong
    right = judge(first, second, dataset="four", paired={"x": "Identity_1", "y": "Identity"})
    assert right.outputs_by == "as given"
    assert right


def test_outputs_that_cannot_be_paired_are_an_error():
    first = several("a", ("x", BASE), ("y", BASE * 2))
    with pytest.raises(ShapeError, match=r"'a' has 2 output\(s\) \(x, y\) and 'b' has 1 \(x\)"):
        judge(first, several("b", ("x", BASE)), dataset="four")
    with pytest.raises(ShapeError, match=r"'y' of 'a' has shape \[4, 2\] and 'q' of 'b' \[4, 1\]"):
        judge(first, several("b", ("p", BASE), ("q", BASE[:, :1])), dataset="four")
    with pytest.raises(ModelError, match="unknown output of 'b': 'z'"):
        judge(first, several("b", ("p", BASE), ("q", BASE)), dataset="four", paired={"x": "p", "y": "z"})
    with pytest.raises(ModelError, match="pair all outputs of 'a' or none: y"):
        judge(first, several("b", ("p", BASE), ("q", BASE)), dataset="four", paired={"x": "p"})


def test_labels_need_to_know_which_output_gives_classes():
    first = several("a", ("x", BASE), ("y", BASE[:, ::-1].copy()))
    labels = np.array([0, 1, 0, 1])
    with pytest.raises(ShapeError, match=r"labels need one output .* 'a' has x \[4, 2\], y \[4, 2\]"):
        judge(first, first, dataset="four", labels=labels)
    assert judge(first, first, dataset="four", labels=labels, classes="x").comparison.reference_accuracy == 1
    assert judge(first, first, dataset="four", labels=labels, classes="y").comparison.reference_accuracy == 0
    with pytest.raises(ShapeError, match="unknown output of 'a': 'z'"):
        judge(first, first, dataset="four", classes="z")


def test_one_bad_output_of_several_fails_the_pair():
    first = several("a", ("x", BASE), ("y", BASE))
    found = judge(first, several("b", ("x", BASE), ("y", off_by(1))), dataset="four")
    assert [verdict.status for verdict in found.verdicts] == ["passed", "failed"]
    assert found.status == "failed"


def test_no_samples_are_an_error():
    with pytest.raises(ShapeError, match="'logits' of 'reference' is empty"):
        judged(BASE[:0], BASE[:0])
