"""The tools that hold `edgekd bench` to itself and to the runtimes' own timings, in miniature."""

import importlib
import json
import sys
from pathlib import Path

import pytest

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
    monkeypatch.setattr(module, "QUICK", {"min_warmup_seconds": 0.01, "blocks": 1, "min_block_ms": 1.0})
    assert module.main() == 0  # one round is inconclusive, which is no wrong verdict
    assert "| copy | 2 | 0 | 0 | 0 | 2 |" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    assert [each["verdict"] for each in results] == ["inconclusive"] * 2


def test_a_stack_that_is_not_found_slower_fails_the_check(tool, tmp_path, monkeypatch):
    module = tool("check_latency_verdicts", "--trials", 0, "--slower-trials", 1, "--suffix", ".onnx", "--out", tmp_path)
    monkeypatch.setattr(module, "QUICK", {"min_warmup_seconds": 0.01, "blocks": 1, "min_block_ms": 1.0, "processes": 1})
    assert module.main() == 1


def test_each_tool_measures_each_network(tool, tmp_path, capsys, monkeypatch):
    module = tool("compare_latency_tools", "--rounds", 2, "--networks", 1, "--out", tmp_path)
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.01)
    assert module.main() in (0, 1)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| call")]
    assert [row[2] for row in rows] == ["litert-benchmark", "onnxruntime_test"]
    for row in rows:
        assert 0 < float(row[1]) < 100
        assert float(row[6].rstrip(" |")) == pytest.approx(1, abs=0.5)  # it is what the others are corrected by
        assert float(row[4]) == pytest.approx(float(row[1]) / float(row[3]), rel=0.9)
