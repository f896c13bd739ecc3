"""A gate passes on a measured number only."""

import pytest

from edgekd.errors import ShapeError
from edgekd.records import Comparison, Interval, OutputError, Reconstruction
from edgekd.verify.gates import (
    accuracy_gates,
    all_but_one_at_most,
    one_at_least,
    reconstruction_gates,
    same_network_gates,
)


def comparison(candidate, *, drop=None, agreement=None):
    return Comparison(
        reference="student",
        candidate=candidate,
        samples=100,
        dataset="test",
        accuracy_drop=None if drop is None else Interval(value=drop, low=-1, high=1),
        agreement=None if agreement is None else Interval(value=agreement, low=0, high=1),
        outputs=(),
    )


def judged(subjects, comparisons):
    gates = accuracy_gates(subjects, comparisons, max_accuracy_drop=0.01, min_agreement=0.98)
    return {(gate.subject, gate.name): (gate.passed, gate.observed) for gate in gates}


def test_limits_themselves_pass_and_anything_beyond_fails():
    found = judged(
        ["good", "bad"], [comparison("good", drop=0.01, agreement=0.98), comparison("bad", drop=0.011, agreement=0.979)]
    )
    assert found == {
        ("good", "accuracy_drop"): (True, 0.01),
        ("good", "agreement"): (True, 0.98),
        ("bad", "accuracy_drop"): (False, 0.011),
        ("bad", "agreement"): (False, 0.979),
    }


def test_a_file_without_a_comparison_fails():
    found = judged(["good", "forgotten"], [comparison("good", drop=0.0, agreement=1.0)])
    assert found["forgotten", "accuracy_drop"] == found["forgotten", "agreement"] == (False, None)


def test_a_comparison_without_the_number_fails():
    assert judged(["unlabelled"], [comparison("unlabelled", agreement=1.0)]) == {
        ("unlabelled", "accuracy_drop"): (False, None),
        ("unlabelled", "agreement"): (True, 1.0),
    }


def test_no_files_at_all_is_not_a_pass():
    assert set(judged([], []).values()) == {(False, None)}


def test_two_comparisons_of_one_file_are_an_error():
    with pytest.raises(ShapeError, match="'good' was compared twice"):
        judged(["good"], [comparison("good"), comparison("good")])


def measured(*, beyond, agreement):
    error = OutputError(
        output="logits",
        elements=10,
        max_abs=1.0,
        relative_l2=0.1,
        cosine=1.0,
        sqnr_db=20.0,
        beyond_one_lsb=beyond,
    )
    return comparison("int8.tflite", agreement=agreement).model_copy(update={"outputs": (error,)})


@pytest.mark.parametrize(
    ("beyond", "agreement", "passed"),
    [
        (0.001, 0.995, [True, True]),
        (0.0011, 0.995, [False, True]),
        (0.0, 0.99, [True, False]),
        (None, None, [False, False]),
    ],
)
def test_an_int8_file_must_be_the_network_that_it_was_made_from(beyond, agreement, passed):
    gates = same_network_gates(
        measured(beyond=beyond, agreement=agreement), max_beyond_one_lsb=0.001, min_agreement=0.995
    )
    assert [gate.name for gate in gates] == ["beyond_one_lsb", "agreement_with_int8_student"]
    assert [gate.passed for gate in gates] == passed


def test_outputs_that_are_floats_have_no_steps_to_be_judged_by():
    (gate,) = same_network_gates(measured(beyond=None, agreement=1.0), max_beyond_one_lsb=None, min_agreement=0.995)
    assert gate.name == "agreement_with_int8_student"
    assert gate.passed


def test_a_network_that_was_trained_further_is_judged_by_its_accuracy_alone():
    (gate,) = accuracy_gates(
        ["int8"], [comparison("int8", drop=0.0, agreement=0.2)], max_accuracy_drop=0.01, min_agreement=None
    )
    assert gate.name == "accuracy_drop"
    assert gate.passed


@pytest.mark.parametrize(
    ("fraction", "samples", "expected"),
    [(0.005, 60, 1 / 60), (0.005, 200, 0.005), (0.02, 60, 0.02), (0.0, 60, 0.0), (0.005, 1, 0.005), (0.005, 0, 0.005)],
)
def test_no_limit_is_finer_than_a_sample_but_the_one_that_lets_none_differ(fraction, samples, expected):
    assert one_at_least(fraction, samples) == expected
    assert all_but_one_at_most(1 - fraction, samples) == pytest.approx(1 - expected, abs=1e-15)


def test_agreement_of_all_but_one_holds_where_fewer_may_differ_than_there_are():
    (gate,) = accuracy_gates(
        ["a"],
        [comparison("a", agreement=59 / 60)],
        max_accuracy_drop=None,
        min_agreement=all_but_one_at_most(0.995, 60),
    )
    assert (gate.name, gate.passed) == ("agreement", True)


def test_a_file_is_held_to_an_accuracy_of_its_own_where_one_is_asked_for():
    right = {"good": 0.9, "bad": 0.89, "unlabelled": None}
    found = accuracy_gates(
        [*right, "forgotten"],
        [comparison(name).model_copy(update={"candidate_accuracy": value}) for name, value in right.items()],
        max_accuracy_drop=1.0,
        min_agreement=None,
        min_accuracy=0.9,
    )
    gates = {gate.subject: gate for gate in found if gate.name == "accuracy"}
    assert {name: gate.passed for name, gate in gates.items()} == {
        "good": True,
        "bad": False,
        "unlabelled": False,
        "forgotten": False,
    }
    assert (gates["good"].samples, gates["unlabelled"].samples) == (100, None)


def reconstructed(*, ratio=30.0, before=0.9, auc=0.9, pairs=(50, 50)):
    """Returns the names of the gates of a file that gives back its input, with what they say."""
    error = OutputError(output="out", elements=9, max_abs=0, relative_l2=0, cosine=1, sqnr_db=ratio)
    found = Comparison(
        reference="student",
        candidate="file",
        samples=100,
        dataset="test",
        outputs=(error,),
    )
    reference, quality = (
        Reconstruction(
            mse=0.1,
            auc=None if each is None else Interval(value=each, low=0, high=1),
            normal=pairs[0],
            anomalous=pairs[1],
        )
        for each in (before, auc)
    )
    limits = {"min_sqnr_db": 25.0, "max_auc_drop": 0.01, "min_auc": 0.85}
    judged = reconstruction_gates(found, quality, reference=reference, **limits)
    return {gate.name: (gate.passed, gate.observed and pytest.approx(gate.observed)) for gate in judged}


def test_what_gives_back_its_input_is_judged_by_its_ratio_and_its_area():
    assert reconstructed(ratio=25.0, before=0.86, auc=0.85) == {
        "sqnr_db": (True, 25.0),
        "auc_drop": (True, 0.01),
        "auc": (True, 0.85),
    }
    beyond = {"sqnr_db": (False, 24.9), "auc_drop": (False, 0.011), "auc": (False, 0.849)}
    assert reconstructed(ratio=24.9, before=0.86, auc=0.849) == beyond


def test_equal_outputs_pass_any_ratio():
    assert reconstructed(ratio=None)["sqnr_db"] == (True, None)


def test_without_anomalies_no_drop_is_judged_and_an_area_that_was_asked_for_fails():
    assert reconstructed(before=None, auc=None) == {"sqnr_db": (True, 30.0), "auc": (False, None)}


def test_a_drop_is_judged_of_few_groups_too_and_no_finer_than_one_pair():
    assert reconstructed(before=1.0, auc=24 / 25, pairs=(5, 5))["auc_drop"] == (True, 1 / 25)
    assert reconstructed(before=1.0, auc=23 / 25, pairs=(5, 5))["auc_drop"] == (False, 2 / 25)
    assert reconstructed(before=1.0, auc=0.5, pairs=(1, 2))["auc_drop"] == (True, 0.5)
    assert reconstructed(before=1.0, auc=0.0, pairs=(1, 2))["auc_drop"] == (False, 1.0)


def test_gates_without_a_limit_are_left_out():
    quality = Reconstruction(mse=0.1, auc=Interval(value=1, low=1, high=1), normal=1, anomalous=1)
    limits = {"min_sqnr_db": None, "max_auc_drop": None, "min_auc": None}
    assert reconstruction_gates(comparison("file"), quality, reference=quality, **limits) == ()


def test_of_what_classifies_nothing_only_the_steps_are_judged():
    (gate,) = same_network_gates(measured(beyond=0.0, agreement=None), max_beyond_one_lsb=0.001, min_agreement=None)
    assert (gate.name, gate.passed) == ("beyond_one_lsb", True)
