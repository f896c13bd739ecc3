import pytest

from edgekd.bench.plan import make_plan
from edgekd.errors import RecipeError, StorageError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": 0}, "batch is 0: expected a whole number of at least 1"),
        ({"cores": []}, r"cores is \[\]: expected different core numbers"),
        ({"cores": [0, 0]}, r"cores is \[0, 0\]"),
        ({"cores": [-1]}, r"cores is \[-1\]"),
        ({"delegate": "gpu"}, "delegate is 'gpu': expected 'xnnpack' or 'none'"),
        ({"interval_ms": 0.0}, "interval_ms is 0.0: expected a number above 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"minutes": 1.0, "interval_ms": 10.0}, "exclude each other"),
        ({"minutes": 0.0001}, "min_block_ms=50 is longer than minutes=0.0001"),
        ({"interval_ms": 10_000.0}, "a block of 25 runs every 10000 ms takes longer than timeout_seconds=120"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(RecipeError, match=words):
        make_plan(**settings)


def test_an_input_file_must_exist(tmp_path):
    with pytest.raises(StorageError, match=r"input file .*x\.npz"):
        make_plan(inputs=str(tmp_path / "x.npz"))


def test_the_mode_follows_from_the_settings():
    assert make_plan().mode == "back_to_back"
    assert make_plan(interval_ms=1.0).mode == "periodic"
    assert make_plan(minutes=1.0).mode == "sustained"
    assert make_plan(minutes=1.0, processes=7).processes == 1


@pytest.mark.parametrize(("minutes", "most"), [(1.0, 1000), (60.0, 555), (1440.0, 25)])
def test_a_sustained_measurement_keeps_two_million_samples_at_most(minutes, most):
    plan = make_plan(minutes=minutes)
    assert plan.min_block_ms == 1000
    assert plan.job()["most_runs"] == most
    assert make_plan(minutes=minutes, min_block_ms=500.0).min_block_ms == 500
    assert (make_plan().job()["most_runs"], make_plan().min_block_ms) == (None, 50)
    with pytest.raises(RecipeError, match="minutes is 2000: at most 1440 are measured"):
        make_plan(minutes=2000.0)
