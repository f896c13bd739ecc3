"""The walk through the guides: no command is left out or fails unnoticed."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import test_docs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def tool(script: Any) -> ModuleType:
    loaded: ModuleType = script("walk_guides")
    return loaded


def test_no_command_of_a_guide_is_left_out_and_no_rule_is_for_nothing(tool: ModuleType) -> None:
    assert {*tool.GUIDES, *test_docs._WITH_FILES} == {*test_docs.GUIDES, "README"}
    found = tool.commands(tool.GUIDES)
    assert len(found) > 60
    assert tool.rules_without_use(found) == []
    assert all(each.reason for each in found if each.typed is None)
    assert sum(each.typed is not None for each in found) > 50


@pytest.mark.parametrize("rules", ["NOT_HERE", "SHORTER", "TELLING", "JUDGES"])
def test_a_rule_of_any_kind_that_fits_nothing_is_noticed(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, rules: str
) -> None:
    before = getattr(tool, rules)
    more = {**before, "no such command": "-"} if isinstance(before, dict) else (*before, "no such command")
    monkeypatch.setattr(tool, rules, more)
    assert tool.rules_without_use(tool.commands(tool.GUIDES)) == ["no such command"]


def test_what_takes_long_is_run_in_short(tool: ModuleType) -> None:
    typed = {each.told: each.typed for each in tool.commands(tool.GUIDES)}
    assert typed["run quickstart"] == "run quickstart --smoke"
    assert typed["bench model.tflite --minutes 10"] == "bench model.tflite --minutes 0.1"
    assert typed["run fashion_mnist/resnet8 --print"] == "run fashion_mnist/resnet8 --print"
    (training,) = (typed[told] for told in typed if told.startswith("train "))
    assert training.count("--epochs 1 ") == 2
    whole = [told for told in typed if told.startswith(("quantize runs/quickstart/", "run quickstart --print"))]
    assert len(whole) > 2
    assert [typed[told] for told in whole] == whole


def test_what_goes_to_a_file_is_found_there(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [])
    assert tool.called(["list", "recipes", ">", "recipes.txt"]) == (0, "")
    assert "quickstart" in (tmp_path / "recipes.txt").read_text(encoding="utf-8")


def test_a_command_that_fails_is_told_and_the_others_are_still_tried(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def failing(arguments: list[str]) -> tuple[int, str]:
        tried.append(arguments)
        return (2, "this is why") if arguments == ["inspect", "model.tflite"] else (0, "")

    monkeypatch.setattr(tool, "called", failing)
    monkeypatch.setattr(tool, "prepare", lambda: None)
    assert tool.main(["inspect"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["inspect: edgekd inspect model.tflite  ended with 2", "this is why"]
    assert lines[-1].endswith(" commands, 0 not run here, 1 failed")
    assert len(tried) == len(tool.commands(["inspect"])) > 4
    assert tool.main(["report"]) == 0
