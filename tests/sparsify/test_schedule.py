"""The polynomial schedule gives the paper's numbers and refuses what makes no sense."""

import pytest

from edgekd.errors import RecipeError
from edgekd.sparsify.schedule import PolynomialSchedule


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (9, 0.0),
        (10, 0.2),
        (34, 0.2),
        (35, 0.8 - 0.6 * 0.421875),  # (1 − 25/100)³ = 27/64
        (60, 0.8 - 0.6 * 0.125),
        (85, 0.8 - 0.6 * 0.015625),
        (109, 0.8 - 0.6 * 0.015625),
        (110, 0.8),
        (10_000, 0.8),
    ],
)
def test_the_sparsity_follows_equation_1_of_zhu_and_gupta(step: int, expected: float) -> None:
    schedule = PolynomialSchedule(begin_step=10, end_step=110, frequency=25, initial=0.2)
    assert schedule.sparsity(step, 0.8) == pytest.approx(expected, abs=1e-15)


def test_the_final_sparsity_is_reached_at_the_end_whatever_the_frequency() -> None:
    schedule = PolynomialSchedule(begin_step=0, end_step=10, frequency=7)
    assert schedule.sparsity(9, 0.9) == pytest.approx(0.9 - 0.9 * 0.3**3)
    assert schedule.sparsity(10, 0.9) == 0.9


def test_a_schedule_of_one_step_removes_all_at_once() -> None:
    schedule = PolynomialSchedule(begin_step=5, end_step=5)
    assert [schedule.sparsity(step, 0.5) for step in (4, 5, 6)] == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"begin_step": 20, "end_step": 10}, "ends at step 10, before it begins at step 20"),
        ({"begin_step": -1, "end_step": 10}, "begins at step -1"),
        ({"end_step": 10, "frequency": 0}, "frequency is 0"),
        ({"end_step": 10, "initial": 1.0}, r"initial sparsity is 1.0: expected a number from 0 to below 1"),
        ({"end_step": 10, "initial": float("nan")}, "initial sparsity is nan"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        PolynomialSchedule(**settings)
