"""The tools that hold `edgekd bench` to itself and to the runtimes' own timings, in miniature."""

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))

    def load(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return importlib.import_module(name)

    return load


def test_a_stack_has_the_work_it_says(tool, tmp_path):
    from edgekd import inspect

    stacks = tool("conv_stacks")
    stack = stacks.Stack("small", 8, 4, 3)
    path = stacks.export(stack, tmp_path, ".tflite")
    assert inspect.inspect_model(path).macs == stack.macs == 3 * 9 * 64 * 16
    before = path.stat().st_mtime_ns
    assert stacks.export(stack, tmp_path, ".tflite").stat().st_mtime_ns == before


def test_verdicts_are_counted_and_kept(tool, tmp_path, capsys, monkeypatch):
    module = tool(
        "check_latency_verdicts", "--trials", 2, "--slower-trials", 0, "--seconds", 0.1, "--suffix", ".onnx",
        "--out", tmp_path,
    )  # fmt: skip
    monkeypatch.setattr(
        module, "QUICK", {"min_warmup_seconds": 0.01, "max_warmup_seconds": 0.1, "blocks": 1, "min_block_ms": 1.0}
    )
    assert module.main() == 0  # one round is inconclusive, which is no wrong verdict
    assert "| copy | 2 | 0 | 0 | 0 | 2 |" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert [each["verdict"] for each in results] == ["inconclusive"] * 2


def test_a_stack_that_is_not_found_slower_fails_the_check(tool, tmp_path, monkeypatch):
    module = tool("check_latency_verdicts", "--trials", 0, "--slower-trials", 1, "--suffix", ".onnx", "--out", tmp_path)
    monkeypatch.setattr(
        module,
        "QUICK",
        {"min_warmup_seconds": 0.01, "max_warmup_seconds": 0.1, "blocks": 1, "min_block_ms": 1.0, "processes": 1},
    )
    assert module.main() == 1


def test_each_tool_measures_each_network(tool, tmp_path, capsys, monkeypatch):
    module = tool("compare_latency_tools", "--rounds", 2, "--networks", 1, "--out", tmp_path)
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.01)
    assert module.main() == 0  # the one network is what the others are corrected by, and is not judged
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| call")]
    assert [row[2] for row in rows] == ["litert-benchmark", "onnxruntime_test"]
    for row in rows:
        assert 0 < float(row[1]) < 100
        assert 0 < float(row[3]) < 100
        assert row[6] == "–"


def test_what_the_calls_differ_by_is_taken_off_before_times_are_compared(tool):
    module = tool("compare_latency_tools")
    generator = np.random.default_rng(0)
    # 20 µs of work; the other tool takes 5 µs for each call.
    pairs = [(0.020 * spread, 0.020 * spread + 0.005) for spread in generator.lognormal(0, 0.05, 8)]
    assert module.ratio_without_call(pairs, -0.005) == pytest.approx((1, 1, 1))
    ratios = generator.lognormal(math.log(1.02), 0.04, 8)
    expected = stats.t.interval(0.95, 7, np.log(ratios).mean(), stats.sem(np.log(ratios)))
    found = module.ratio_without_call([(ratio, 1.0) for ratio in ratios], 0.0)
    assert found[0] == pytest.approx(stats.gmean(ratios))
    assert found[1:] == pytest.approx(np.exp(expected))


@pytest.mark.parametrize(
    ("ratio", "low", "high", "verdict"),
    [
        (1.01, 0.96, 1.04, "yes"),
        (1.02, 0.93, 1.09, "by the estimate"),
        (1.07, 1.04, 1.10, "cannot tell"),
        (1.07, 1.06, 1.08, "no"),
        (0.90, 0.88, 0.94, "no"),
    ],
)
def test_a_ratio_is_judged_by_its_interval(tool, ratio, low, high, verdict):
    assert tool("compare_latency_tools").verdict(ratio, low, high) == verdict


@pytest.mark.parametrize("arguments", [("--trials", 0, "--slower-trials", 0), ("--trials", -1)])
def test_a_check_of_nothing_is_refused(tool, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        tool("check_latency_verdicts", *arguments).main()
    assert stopped.value.code == 2
    assert "expected a whole number" in (said := capsys.readouterr().err) or "nothing to try" in said
