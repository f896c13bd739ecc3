import math
import subprocess
import sys

import pytest

from edgekd.errors import RecipeError
from edgekd.schedules import Schedule, parse

WARM_UP = {"schedule": "linear", "from": 0, "to": 2, "start_epoch": 2, "end_epoch": 6}
DECAY = {"schedule": "cosine", "from": 3, "to": 1, "end_epoch": 4}
STEPS = {"schedule": "piecewise", "points": [[0, 4], [2.5, 1], [3, 0.5]]}


def at(document, epochs, steps_per_epoch=10):
    return [parse(document).value(round(epoch * steps_per_epoch), steps_per_epoch) for epoch in epochs]


def test_a_number_never_changes():
    assert at(4, [0, 1, 1000]) == [4.0, 4.0, 4.0]
    assert at({"schedule": "constant", "value": 0.3}, [0, 7]) == [0.3, 0.3]
    assert isinstance(parse(4).value(0, 1), float)


def test_a_linear_one_holds_rises_evenly_and_holds():
    assert at(WARM_UP, [0, 1.9, 2, 3, 4, 5.5, 6, 100]) == pytest.approx([0, 0, 0, 0.5, 1, 1.75, 2, 2])
    assert at(WARM_UP, [6, 50]) == [2.0, 2.0]  # exactly, not to rounding


def test_a_cosine_one_follows_half_a_wave():
    # 3 + (1 - 3)(1 - cos πf)/2 at f = 0, 1/4, 1/2, 3/4, 1: cos 45° = √2/2.
    expected = [3, 2 + math.sqrt(0.5), 2, 2 - math.sqrt(0.5), 1]
    assert at(DECAY, [0, 1, 2, 3, 4]) == pytest.approx(expected)
    assert at(DECAY, [4, 9]) == [1.0, 1.0]


def test_a_piecewise_one_holds_each_value_until_the_next_point():
    assert at(STEPS, [0, 2.4, 2.5, 2.9, 3, 80]) == [4, 4, 1, 1, 0.5, 0.5]


def test_a_piecewise_one_can_be_linear_between_its_points():
    document = {"schedule": "piecewise", "points": [[0, 0], [2, 1], [4, 1], [5, 0.5]], "interpolate": True}
    assert at(document, [0, 0.5, 1, 2, 3, 4.5, 5, 9]) == pytest.approx([0, 0.25, 0.5, 1, 1, 0.75, 0.5, 0.5])


def test_the_value_moves_with_the_step_within_an_epoch():
    schedule = parse({"schedule": "linear", "from": 0, "to": 1, "end_epoch": 1})
    assert [schedule.value(step, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("document", [WARM_UP, DECAY, STEPS, 2])
def test_the_value_is_the_same_however_many_steps_an_epoch_has(document):
    for epoch in (0, 1, 2.5, 3, 6):
        assert at(document, [epoch], 10) == pytest.approx(at(document, [epoch], 1000))


@pytest.mark.parametrize(
    ("document", "low", "high"),
    [(2, 2, 2), (WARM_UP, 0, 2), (DECAY, 1, 3), (STEPS, 0.5, 4), ({**WARM_UP, "from": -1, "to": -3}, -3, -1)],
)
def test_the_extremes_are_those_of_all_steps(document, low, high):
    schedule = parse(document)
    values = [schedule.value(step, 10) for step in range(100)]
    assert (schedule.min_value(), schedule.max_value()) == (min(values), max(values)) == (low, high)


def test_only_what_is_zero_at_every_step_is_zero():
    assert parse(0).is_zero()
    assert parse({**DECAY, "from": 0, "to": 0.0}).is_zero()
    for document in (1e-9, WARM_UP, {**DECAY, "to": 0}, {**STEPS, "points": [[0, 0], [1, -1]]}):
        assert not parse(document).is_zero()


def test_only_what_changes_is_not_constant():
    assert parse(3).is_constant()
    assert parse({**STEPS, "points": [[0, 2], [1, 2]]}).is_constant()
    assert not parse(WARM_UP).is_constant()


def test_equal_documents_give_equal_schedules():
    assert parse(WARM_UP) == parse(dict(WARM_UP)) != parse(DECAY)
    assert parse(1) == Schedule.constant(1.0)
    assert hash(parse(STEPS)) == hash(parse(STEPS))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**WARM_UP, "end_epoch": 1}, r"ends at epoch 1 and starts at epoch 2: expected an end after the start"),
        ({**DECAY, "end_epoch": 0}, r"ends at epoch 0 and starts at epoch 0"),
        ({**WARM_UP, "start_epoch": -1}, r"starts at epoch -1: expected 0 or more"),
        ({**STEPS, "points": [[0, 1], [3, 2], [3, 1]]}, r"go from epoch 3 to epoch 3: expected rising epochs"),
        ({**STEPS, "points": [[0, 1], [5, 2], [4, 1]]}, r"go from epoch 5 to epoch 4"),
        ({**STEPS, "points": [[2, 1], [4, 1]]}, r"first point .* is at epoch 2: expected epoch 0"),
        ({**STEPS, "points": []}, r"has no points"),
        ({**STEPS, "points": [[0, 1, 2]]}, r"points is \[\[0, 1, 2\]\]: expected pairs of epoch and value"),
        ({**STEPS, "points": "01"}, r"points is '01'"),
        ({**STEPS, "points": [[0, "1"]]}, r"the schedule's value is '1': expected a number"),
        ({**STEPS, "interpolate": 1}, r"interpolate is 1: expected true or false"),
        ({**WARM_UP, "to": float("nan")}, r"the schedule's to is nan: expected a finite number"),
        ({**WARM_UP, "end_epoch": float("inf")}, r"the schedule's end_epoch is inf"),
        ({**WARM_UP, "from": True}, r"the schedule's from is True: expected a number"),
        ({**WARM_UP, "from": None}, r"the schedule's from is None"),
        ({**WARM_UP, "end": 3}, r"unknown key of schedule 'linear' 'end'\. Did you mean 'end_epoch'\?"),
        ({"schedule": "linear", "from": 0}, r"lacks to and end_epoch: expected such as \{schedule: linear"),
        ({"schedule": "liner", "from": 0}, r"unknown schedule 'liner'\. Did you mean 'linear'\?"),
        ({"schedule": ["linear"]}, r"unknown schedule \['linear'\]"),
        ({"from": 0, "to": 1}, r"does not say which schedule it is: expected such as \{schedule: linear"),
        ({}, r"does not say which schedule"),
        (float("inf"), r"value is inf: expected a finite number"),
        ("linear", r"value is 'linear': expected a number"),
        (True, r"value is True"),
        (None, r"value is None"),
        ([0, 1], r"value is \[0, 1\]"),
    ],
)
def test_documents_that_state_no_schedule_are_refused(document, message):
    with pytest.raises(RecipeError, match=message):
        parse(document)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linea", ((0, 1),)), r"unknown schedule 'linea'\. Did you mean 'linear'\?"),
        (("linear", ((0, 1),)), r"schedule 'linear' has 1 points"),
        (("constant", ()), r"schedule 'constant' has 0 points"),
        (("constant", ((0, math.nan),)), r"value is nan"),
        (("cosine", ((0, 1), (2, 0)), True), r"interpolate is set for schedule 'cosine'"),
    ],
)
def test_schedules_made_in_code_are_checked_too(arguments, message):
    with pytest.raises(RecipeError, match=message):
        Schedule(*arguments)


@pytest.mark.parametrize("document", [-0.1, {**WARM_UP, "from": -0.1}, {**STEPS, "points": [[0, 1], [2, -0.1]]}])
def test_a_weight_may_not_become_negative(document):
    assert parse(document).min_value() == -0.1
    with pytest.raises(RecipeError, match=r"goes down to -0\.1: expected 0 or more at any time"):
        parse(document, sign="non_negative")


@pytest.mark.parametrize("document", [0, {**DECAY, "to": 0}])
def test_a_temperature_may_not_become_zero(document):
    parse(document, sign="non_negative")
    with pytest.raises(RecipeError, match=r"goes down to 0: expected a value above 0"):
        parse(document, sign="positive")


def test_schedules_need_no_tensorflow():
    code = "import sys, edgekd.schedules; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("document", "epochs", "largest"),
    [
        ({"schedule": "piecewise", "points": [[0, 0], [50, 1]]}, 1, 0.0),
        ({"schedule": "piecewise", "points": [[0, 0], [50, 1]]}, 51, 1.0),
        ({"schedule": "piecewise", "points": [[0, 0], [50, 1]]}, 50, 0.0),
        ({"schedule": "linear", "from": 0, "to": 1, "end_epoch": 10}, 5, 0.5),
        ({"schedule": "linear", "from": 1, "to": 0, "end_epoch": 10}, 5, 1.0),
        (0.3, 1, 0.3),
    ],
)
def test_the_largest_value_before_an_epoch(document, epochs, largest):
    assert parse(document).max_value(before_epoch=epochs) == pytest.approx(largest, abs=1e-5)
