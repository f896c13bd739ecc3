"""Warnings of several measurements, each told once."""

import pytest

from edgekd.report import caveats

LOAD = "The machine's load was {} with 2 logical cores: other programs compete for them."
OUTLIERS = "{} of {} runs are outliers of their block; they are kept in every number."
GROUPS = "Two groups, around {} ms ({}% of them): no single number describes this model here."
SPREAD = "Process medians spread by {}% of their median (limit 10%)."


@pytest.fixture
def three(summary):
    """The first three files on one thread, without warnings."""
    return [each.model_copy(update={"warnings": ()}) for each in summary.measurements[:6:2]]


def warned(measurements, *warnings):
    return [each.model_copy(update={"warnings": given}) for each, given in zip(measurements, warnings, strict=True)]


def told(measurements):
    return [(each.of, each.text, each.each) for each in caveats.remarks(measurements)]


def test_what_is_said_of_all_is_said_once_and_what_differs_is_listed(three):
    names = [each.artifact for each in three]
    measured = warned(
        three,
        (OUTLIERS.format(919, "1,393"), LOAD.format(2.3)),
        (SPREAD.format(13.4), OUTLIERS.format(95, 517), LOAD.format(2.3)),
        (OUTLIERS.format(101, "1,393"), LOAD.format(2.3)),
    )
    assert told(measured) == [
        (
            "All 3 files",
            "95–919 of 517–1,393 runs are outliers of their block; they are kept in every number.",
            (f"{names[0]}: 919 of 1,393", f"{names[1]}: 95 of 517", f"{names[2]}: 101 of 1,393"),
        ),
        ("All 3 files", LOAD.format(2.3), ()),
        (names[1], SPREAD.format(13.4), ()),
    ]


def test_of_some_files_either_their_names_or_their_numbers_are_told(three):
    names = [each.artifact for each in three]
    alike = warned(three, (SPREAD.format(12),), (SPREAD.format(12),), ())
    assert told(alike) == [(f"{names[0]} and {names[1]}", SPREAD.format(12), ())]
    differing = warned(three, (GROUPS.format(0.102, 40),), (), (GROUPS.format(0.2, 9),))
    text = "Two groups, around 0.102–0.2 ms (9–40% of them): no single number describes this model here."
    each = (f"{names[0]}: 0.102 ms (40%)", f"{names[2]}: 0.2 ms (9%)")
    assert told(differing) == [("2 of 3 files", text, each)]


def test_the_load_of_the_machine_is_no_number_of_a_file(three):
    measured = warned(three, (LOAD.format(9.5),), (LOAD.format(10.5),), (LOAD.format(9.5),))
    text = "The machine's load was 9.5–10.5 with 2 logical cores: other programs compete for them."
    assert told(measured) == [("All 3 files", text, ())]


def test_measurements_of_one_file_are_told_apart_and_none_is_lost(summary):
    one, two = (
        each.model_copy(update={"warnings": (SPREAD.format(number), SPREAD.format(99))})
        for each, number in zip(summary.measurements[:2], (11, 12), strict=True)
    )
    first, second = caveats.remarks([one, two])
    assert first.of == second.of == "All 2 measurements"
    assert first.each == ("student-float32.tflite (1 thread): 11%", "student-float32.tflite (2 threads): 12%")
    assert (second.text, second.each) == (SPREAD.format(99), ())
    (alone,) = caveats.remarks([one.model_copy(update={"warnings": (SPREAD.format(11),)})])
    assert (alone.of, alone.text, alone.each) == (one.artifact, SPREAD.format(11), ())
    assert caveats.remarks([]) == ()
