"""The smoke of the zoo: short for every recipe, and no recipe fails unnoticed. Continuous integration runs it whole."""

import importlib.util
import re
from pathlib import Path

import pytest

from edgekd import recipe
from edgekd.errors import DataError


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "smoke_zoo.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recipe_has_a_short_form_that_keeps_its_networks_losses_and_stages(tool):
    for name in recipe.zoo():
        whole, short = recipe.load(name), tool.shortest(name)
        assert (short.data.dataset, short.data.train_limit) == ("embedded", 64)
        assert short.student.arguments == whole.student.arguments
        assert [teacher.model for teacher in short.teacher] == [teacher.model for teacher in whole.teacher]
        assert [loss.taps for loss in short.distill.losses] == [loss.taps for loss in whole.distill.losses]
        assert (short.quantize is None) == (whole.quantize is None)
        assert short.smoke


def test_a_recipe_that_fails_is_told_and_the_others_are_still_tried(tool, monkeypatch, capsys):
    def failing(chosen, *, out):
        if chosen.name == "quickstart-smoke":
            raise ValueError("Kernel shape\nmust have the same length")  # as Keras may
        raise DataError(f"nothing for {chosen.name}")

    monkeypatch.setattr(tool.pipeline, "run", failing)
    assert tool.main(["no_such_recipe", "quickstart", "tutorials/lab_cnn"]) == 1
    said = capsys.readouterr()
    first, second, third = re.findall(r"^\S+: .*?(?=, \d+ s of processor time$)", said.out, re.MULTILINE | re.DOTALL)
    assert "unknown recipe 'no_such_recipe'" in first
    assert second == "quickstart: ValueError: Kernel shape must have the same length"
    assert third == "tutorials/lab_cnn: nothing for tutorials-lab_cnn-smoke"
    assert said.err.count("Traceback") == 1
    assert "in failing" in said.err
