import pytest

from edgekd.records import Interval
from edgekd.report import formatting


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (formatting.percent, 0.89934, "89.93 %"),
        (formatting.percent, 1.0, "100.00 %"),
        (formatting.percent, 0.0, "0.00 %"),
        (formatting.points, 0.0035, "+0.35"),
        (formatting.points, -0.0238, "−2.38"),
        (formatting.points, -0.00001, "0.00"),
        (formatting.count, 19_834, "19,834"),
        (formatting.short_count, 999, "999"),
        (formatting.short_count, 263_680, "264 k"),
        (formatting.short_count, 999_900, "1.00 M"),
        (formatting.short_count, 12_501_632, "12.5 M"),
        (formatting.short_count, 4_089_184_256, "4.09 G"),
        (formatting.size, 512, "512 bytes"),
        (formatting.size, 98_496, "96.2 KiB"),
        (formatting.size, 4_593_144, "4.38 MiB"),
        (formatting.size, 25_769_803_776, "24.0 GiB"),
        (formatting.milliseconds, 0.000769, "0.000769"),
        (formatting.milliseconds, 0.10178, "0.102"),
        (formatting.milliseconds, 12.345, "12.3"),
        (formatting.milliseconds, 1234.5, "1,234"),
        (formatting.milliseconds, 0.0, "0"),
        (formatting.duration, 0.04, "0.0 s"),
        (formatting.duration, 59.97, "1 min 00 s"),
        (formatting.duration, 142.31, "2 min 22 s"),
        (formatting.duration, 7830.0, "2 h 10 min"),
        (formatting.number, 1.1e-7, "1.1e−07"),
        (formatting.number, 0.98765, "0.9877"),
    ],
)
def test_a_number_is_written_as_a_reader_wants_it(function, value, text):
    assert function(value) == text


@pytest.mark.parametrize(
    "function",
    [
        formatting.percent,
        formatting.points,
        formatting.count,
        formatting.short_count,
        formatting.size,
        formatting.milliseconds,
        formatting.duration,
        formatting.number,
    ],
)
def test_what_was_not_measured_is_said_in_words(function):
    assert function(None) == "not measured"


def test_intervals_are_written_with_their_unit_once():
    assert formatting.percent_interval(Interval(value=0.9, low=0.8876, high=0.911)) == "88.8 to 91.1 %"
    assert formatting.points_interval(Interval(value=0.0, low=-0.001, high=0.0008)) == "−0.10 to +0.08"
    assert formatting.milliseconds_interval(Interval(value=1.0, low=0.0972, high=1.07)) == "0.0972 to 1.07"


def test_nouns_follow_their_number():
    assert formatting.counted(1, "process", "processes") == "1 process"
    assert formatting.counted(5, "process", "processes") == "5 processes"
    assert formatting.counted(0, "file") == "0 files"


def test_names_are_listed_as_in_a_sentence():
    assert [formatting.listed(names) for names in ((), "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_shapes_say_what_is_open():
    assert formatting.shape((None, 3, 8)) == "any × 3 × 8"
    assert (formatting.shape(()), formatting.shape(None)) == ("scalar", "unknown")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (0.98333, 0.995, ("0.9833", "0.995")),
        (0.85, 0.85004, ("0.85", "0.85004")),
        (123456.0, 123460.0, ("123456", "123460")),
        (0.5, 0.5, ("0.5", "0.5")),
        (None, 0.01, ("", "0.01")),
    ],
)
def test_two_numbers_have_as_many_digits_as_tell_them_apart(one, other, expected):
    assert formatting.told_apart(one, other) == expected


def test_fractions_that_are_no_percentages_have_three_decimals_and_no_unit():
    interval = Interval(value=0.947, low=0.9012, high=1.0)
    assert [formatting.fraction(value) for value in (0.9474, 1.0, None)] == ["0.947", "1.000", "not measured"]
    assert formatting.fraction_interval(interval) == "0.901 to 1.000"
    told = [formatting.difference(value) for value in (0.0123, -0.0126, -0.0004, None)]
    assert told == ["+0.012", "−0.013", "0.000", "not measured"]
    changed = Interval(value=0.001, low=-0.0102, high=0.0004)
    assert formatting.difference_interval(changed) == "−0.010 to 0.000"


def test_without_noise_outputs_are_identical():
    assert [formatting.decibels(ratio) for ratio in (34.84, -3.02, None)] == ["34.8", "−3.0", "identical"]
