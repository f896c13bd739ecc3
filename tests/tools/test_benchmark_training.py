"""The training benchmark: its arithmetic on numbers worked out by hand, and the real processes in miniature."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgekd.errors import ModelError, RecipeError
from edgekd.records import Interval

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_training", TOOLS / "benchmark_training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def process(*blocks: list[float]) -> dict[str, Any]:
    return {"blocks_ms": list(blocks), "cpu_ms": [1.0] * len(blocks)}


def test_ratios_are_taken_within_a_repetition(tool: ModuleType) -> None:
    # The second repetition met a machine of half the speed; every ratio is 2 all the same.
    measured = {
        "keras_fit": [process([20.0, 20.0], [20.0]), process([40.0]), process([22.0])],
        "labels": [process([10.0, 99.0, 10.0]), process([20.0]), process([11.0])],
    }
    (found,) = tool._ratios(measured)
    assert (found["over"], found["under"], found["ratio"]) == ("labels", "keras_fit", 0.5)
    assert (found["interval"]["low"], found["interval"]["high"]) == pytest.approx((0.5, 0.5))
    assert found["verdict"] == "met"


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least"),
    [(0.6, 0.69, "met", "missed"), (0.69, 0.71, "unclear", "unclear"), (0.71, 0.8, "missed", "met")],
)
def test_a_target_is_met_only_by_the_whole_interval(
    tool: ModuleType, low: float, high: float, at_most: str, at_least: str
) -> None:
    ratio = Interval(value=(low + high) / 2, low=low, high=high)
    assert tool.Target("a", "b", at_most=0.7).verdict(ratio) == at_most
    assert tool.Target("a", "b", at_least=0.7).verdict(ratio) == at_least


def test_throughput_is_batch_over_median_step(tool: ModuleType) -> None:
    found = tool._variant("x", [process([4.0, 5.0, 90.0])], {}, 128)
    assert (found["ms_per_step"], found["images_per_second"], found["steps"]) == (5.0, 25_600.0, 3)
    assert found["interval_ms"] is None  # of one process there is no interval


def test_unknown_ways_and_pytorch_without_a_python_are_refused(tool: ModuleType) -> None:
    with pytest.raises(RecipeError, match="unknown variants fit"):
        tool.main(["--variants", "fit"])
    with pytest.raises(RecipeError, match="--torch-python"):
        tool.main(["--variants", "torch_known"])


def test_a_process_that_dies_is_quoted(tool: ModuleType, tmp_path: Path) -> None:
    worker = tool.Worker([sys.executable, "-c", "raise SystemExit('no memory')"], tmp_path / "log", timeout_seconds=60)
    with pytest.raises(ModelError, match="no memory"):
        worker.answer()
    worker.close()


TAKING_TURNS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from training_turns import Turns
turns = Turns()
print("a library's noise")
turns.ready({"parameters": 1})
while True:
    time.sleep(0.01)
    turns.step_done()
    time.sleep(0.05)
    turns.interrupted()
"""


def test_a_turn_counts_steps_and_leaves_out_what_is_between(tool: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKING_TURNS, str(TOOLS)]
    worker = tool.Worker(command, tmp_path / "log", timeout_seconds=60)
    assert worker.answer() == {"parameters": 1}
    first, second = worker.turn(0.5), worker.turn(0.0)
    worker.close()
    assert min(first["ms"]) >= 10.0
    assert np.median(first["ms"]) < 50.0  # the pause of 50 ms is no part of a step
    assert len(second["ms"]) == 8  # a turn of slow steps has this many all the same
    assert len(first["ms"]) >= 8


def run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(TOOLS / "benchmark_training.py"), "--json", *arguments]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def test_real_processes_train_in_turns(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = "--repetitions 1 --blocks 2 --seconds 0.05 --warmup-seconds 0 --samples 32 --batch-size 8"
    report = run(*tiny.split(), "--student-width", "2", "--teacher-width", "3", "--variants", "keras_fit,cached_maps")
    fit, cached = report["variants"]["keras_fit"], report["variants"]["cached_maps"]
    # ResNet-8 with projections, worked out by hand: 3x3 stem, two 3x3 convolutions a stage, two 1x1 shortcuts, batch
    # normalisation after each of the nine, and 8 features to 10 logits.
    convolutions = 9 * (1 * 2 + 2 * 2 + 2 * 2 + 2 * 4 + 4 * 4 + 4 * 8 + 8 * 8) + 2 * 4 + 4 * 8
    assert fit["parameters"] == cached["parameters"] == convolutions + 2 * (3 * 2 + 3 * 4 + 3 * 8) + 8 * 10 + 10
    assert [len(process["blocks_ms"]) for process in cached["processes"]] == [2]
    assert cached["steps"] >= 16
    assert report["settings"]["input_shape"] == [28, 28, 1]

    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    tool.main(["--from", str(tmp_path / "report.json")])
    shown = f"{report['variants']['keras_fit']['ms_per_step']:.1f}"
    assert f"| Keras fit, labels | {shown} |" in capsys.readouterr().out


def test_the_cache_is_filled_and_read() -> None:
    (first, second) = run("--cache", "--cache-samples", "300,600", "--repetitions", "1")["runs"]
    assert (first["samples"], second["samples"]) == (300, 600)
    assert second["disk_mib"] > 600 * 2 * (10 + 49) / 2**20  # float16 logits and maps
    assert first["read_us_per_sample"] == pytest.approx(first["read_seconds"] / 300 * 1e6)
