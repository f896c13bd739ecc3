import datetime
import json

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd.bench import history
from edgekd.bench.stats import log_interval
from edgekd.errors import StorageError
from edgekd.records import Latency, Machine, Measurement

MACHINE = Machine(system="Linux 6", architecture="aarch64", cpu="board", logical_cores=4, memory_bytes=2**30)


def entry(medians, *, hour=0, **changes):
    medians = np.asarray(medians, float)
    p50 = float(np.median(medians))
    latency = Latency(
        p50=p50, p90=p50, p95=p50, p99=None, minimum=p50, mean=p50, scaled_mad=0.0, interval=log_interval(medians)
    )
    fields = {
        "artifact": "model.tflite",
        "machine": MACHINE,
        "target": "local",
        "runtime": "ai-edge-litert 2.3.0",
        "num_threads": 1,
        "latency_ms": latency,
        "first_inference_ms": 1.0,
        "load_ms": 1.0,
        "peak_memory_bytes": 1,
        "size_bytes": 1,
        "sha256": "0" * 64,
        "processes": len(medians),
        "num_runs": 1,
        "warmup_runs": 1,
    }
    time = datetime.datetime(2026, 1, 1, hour, tzinfo=datetime.UTC)
    return history.Entry(time=time, edgekd="0.1.0", measurement=Measurement(**{**fields, **changes}))


def processes(level, count=8, seed=0):
    return level * np.exp(np.random.default_rng(seed).normal(0, 0.05, count))


def test_entries_are_appended_and_read_back(tmp_path):
    path = tmp_path / "new" / "history.jsonl"
    first, second = entry([1.0, 1.1, 1.2]), entry([1.0, 1.1, 1.3], hour=1)
    (trend,) = history.append(path, [first])
    assert (trend.entries, trend.previous, trend.ratio) == (1, None, None)
    (trend,) = history.append(path, [second])
    assert (trend.entries, trend.previous) == (2, first)
    assert history.read(path) == (first, second)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"machine": MACHINE.model_copy(update={"cpu": "another board"})},
        {"runtime": "ai-edge-litert 2.4.0"},
        {"target": "ssh://pi@board"},
        {"num_threads": 2},
        {"batch": 8},
        {"mode": "periodic", "interval_ms": 10.0},
        {"artifact": "other.tflite"},
        {"settings": {"cores": (0,), "seed": 1}},
        {"settings": {"min_block_ms": 500.0}},
    ],
)
def test_what_is_not_the_same_thing_is_never_merged(tmp_path, other):
    path = tmp_path / "history.jsonl"
    history.append(path, [entry([1.0, 1.1, 1.2])])
    (trend,) = history.append(path, [entry([2.0, 2.1, 2.2], **other)])
    assert trend.previous is None


def test_an_updated_system_is_the_same_machine():
    before = entry([1.0, 1.1, 1.2])
    assert before.series == entry([1.0], machine=MACHINE.model_copy(update={"system": "Linux 7"})).series


def test_more_processes_or_another_goal_are_the_same_series():
    settings = {"processes": 5, "precision": None, "seed": 0, "min_runs": 25}
    other = {"processes": 9, "precision": 0.02, "seed": 1, "min_runs": 25}
    assert entry([1.0], settings=settings).series == entry([1.0], settings=other).series


def test_another_file_of_the_same_name_is_the_same_series_and_said(tmp_path):
    before = entry([1.0, 1.1, 1.2])
    assert history.trend([before], entry([1.0, 1.1, 1.2], sha256="1" * 64)).changed_file
    assert history.trend([before], entry([1.0, 1.1, 1.2])).changed_file is False


def test_the_folder_that_tells_two_files_of_one_name_apart_is_no_part_of_the_series():
    """Two files in one call are old/model.tflite and new/model.tflite; each alone is model.tflite."""
    old = entry([1.0, 1.1, 1.2], artifact="old/model.tflite")
    new = entry([3.0, 3.1, 3.2], artifact="new/model.tflite", sha256="1" * 64)
    found = history.trend([old, new], entry([1.0, 1.1, 1.2]))
    assert (found.previous, found.changed_file, found.entries) == (old, False, 2)
    found = history.trend([old, new], entry([1.0, 1.1, 1.2], sha256="2" * 64))
    assert (found.previous, found.changed_file, found.entries) == (new, True, 3)


def test_entries_that_differ_in_their_settings_are_counted_and_said_in_what():
    warm = {"min_warmup_seconds": 0.5, "seed": 0}
    before = [
        entry([1.0], settings=warm),
        entry([1.0], settings=warm, num_threads=2),
        entry([1.0], artifact="other.tflite", batch=2),
    ]
    found = history.trend(before, entry([1.0], settings={"min_warmup_seconds": 0.1, "seed": 1}))
    assert (found.previous, found.other_entries) == (None, 2)
    assert found.differing == ("min_warmup_seconds", "num_threads")
    assert history.trend(before, entry([1.0], settings=warm)).differing == ("num_threads",)


@pytest.mark.parametrize("length", [5, 40, 300])
def test_a_last_line_that_was_cut_off_is_set_aside(tmp_path, length):
    path = tmp_path / "history.jsonl"
    first, second = entry([1.0, 1.1, 1.2]), entry([1.0, 1.1, 1.3], hour=1)
    torn = first.model_dump_json()[:length]
    path.write_text(first.model_dump_json() + "\n" + torn)
    assert history.read(path) == (first,)
    (trend,) = history.append(path, [second])
    assert trend.previous == first
    assert history.read(path) == (first, second)
    assert history.torn_path(path).read_text() == torn + "\n"
    assert history.torn_end(path) == b""


@pytest.mark.parametrize("content", ["my notes", '{"schema_version":2}', '{"other": '])
def test_what_is_no_cut_off_entry_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "history.jsonl"
    path.write_text(content)
    with pytest.raises(StorageError, match="is no entry of a history"):
        history.append(path, [entry([1.0, 1.1, 1.2])])
    assert path.read_text() == content


def test_an_entry_without_an_end_of_its_line_is_an_entry(tmp_path):
    path = tmp_path / "history.jsonl"
    first, second = entry([1.0, 1.1, 1.2]), entry([1.0, 1.1, 1.3], hour=1)
    path.write_text(first.model_dump_json())
    history.append(path, [second])
    assert history.read(path) == (first, second)


def test_the_ratio_is_welchs_on_logarithms():
    old, new = processes(1.0, 9, seed=1), processes(1.2, 6, seed=2)
    found = history.trend([entry(old)], entry(new)).ratio
    result = scipy_stats.ttest_ind(np.log(new), np.log(old), equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx(np.exp(np.log(new).mean() - np.log(old).mean()), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((np.exp(result.low), np.exp(result.high)), rel=1e-9)


def test_too_few_processes_have_no_ratio():
    assert history.trend([entry([1.0, 1.1])], entry([1.0, 1.1, 1.2])).ratio is None


def test_a_trend_is_the_change_over_all_entries():
    levels = np.linspace(1.0, 1.5, 10)
    entries = [entry([level] * 3) for level in levels]
    assert history.trend(entries[:-1], entries[-1]).change == pytest.approx(0.5 / np.median(levels))
    assert history.trend(entries[:3], entries[3]).change is None


@pytest.mark.parametrize("content", ["not json\n", "{}\n", '{"schema_version": 2}\n'])
def test_a_file_that_is_no_history_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "history.jsonl"
    good = entry([1.0, 1.1, 1.2]).model_dump_json() + "\n"
    path.write_text(good + content)
    with pytest.raises(StorageError, match=r"line 2 of '.*history\.jsonl' is no entry of a history"):
        history.append(path, [entry([1.0, 1.1, 1.2])])
    assert path.read_text() == good + content
    assert json.loads(good)["schema_version"] == 1


def test_a_folder_in_the_place_of_a_history_is_a_clear_error(tmp_path):
    with pytest.raises(StorageError, match="history"):
        history.append(tmp_path, [entry([1.0, 1.1, 1.2])])
