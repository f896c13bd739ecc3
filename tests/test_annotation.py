"""Types as a plug-in's source writes them, against values as YAML gives them."""

import pytest

from edgekd import annotation

FITTING = [
    (3, "int"),
    (3, "float"),
    (10**400, "float"),  # a whole number that no float can hold is still a number
    (0.5, "float"),
    (True, "bool"),
    ("a", "str"),
    (None, "None"),
    (None, "int | None"),
    (3, "int | Sequence[int] | None"),
    ([3, 4], "int | Sequence[int] | None"),
    ([], "Sequence[str]"),
    ((3, 4), "tuple[int, int]"),
    ([3, 4], "tuple[int, int]"),
    ([1, 2, 3], "tuple[int, ...]"),
    ([[1, 2]], "list[tuple[int, int]]"),
    (object(), "Own"),  # a type of the plug-in's own is its own matter
    ({"a": 1}, "Mapping[str, int]"),
]

NOT_FITTING = [
    (True, "int"),
    (True, "float"),
    (1, "bool"),
    ("no", "bool"),
    (1.0, "int"),
    (float("nan"), "float"),
    (float("inf"), "float"),
    ("0.5", "float"),
    (None, "int"),
    (3, "str"),
    ("abc", "Sequence[str]"),
    ([1, "a"], "Sequence[int]"),
    ([1], "tuple[int, int]"),
    ([1, 2, 3], "tuple[int, int]"),
    ([1, 2.5], "tuple[int, ...]"),
    (2.5, "int | Sequence[int] | None"),
]


@pytest.mark.parametrize(("value", "written"), FITTING)
def test_a_value_of_the_type_fits(value, written):
    assert annotation.fits(value, written)


@pytest.mark.parametrize(("value", "written"), NOT_FITTING)
def test_a_value_of_another_type_does_not_fit(value, written):
    assert not annotation.fits(value, written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("bool", "true or false"),
        ("int | None", "a whole number or null"),
        ("Sequence[str]", "a list (a string)"),
        ("tuple[int, int]", "a list (a whole number, a whole number)"),
        ("tuple[float, ...]", "a list (a finite number, and so on)"),
        ("Own", "Own"),
    ],
)
def test_messages_name_a_type_in_the_users_words(written, words):
    assert annotation.in_words(written) == words
