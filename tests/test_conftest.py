"""What the tests' own `conftest.py` and its plugin say is so."""

from pathlib import Path

import pytest

from edgekd.errors import ModelError
from tests.kept_children import Waiting

MODEL = Path(__file__).parent / "pytest_plugin" / "example" / "models" / "classifier-float32.tflite"


def test_the_files_that_begin_first_are_there(longest_files):
    assert longest_files
    assert [path for path in longest_files if not path.is_file()] == []


def test_a_child_goes_on_until_its_environment_changes_or_it_fails(tmp_path, monkeypatch):
    waiting = Waiting()

    def lent():
        return waiting("edgekd.inspect.probe")

    def ask(child, path):
        return child.ask({"what": "inspection", "path": str(path)}, path=path, doing="read")

    first = lent()
    answer = ask(first, MODEL)
    first.close()
    assert not first.is_alive
    again = lent()
    assert again._child is first._child
    assert ask(again, MODEL) == answer
    again.close()
    with monkeypatch.context() as patch:
        patch.setenv("EDGEKD_CHILD_SECONDS", "60")
        other = lent()
        assert other._child is not first._child
        other.close()
    failing = lent()
    assert failing._child is first._child
    (tmp_path / "text.tflite").write_text("no model")
    with pytest.raises(ModelError, match="text"):
        ask(failing, tmp_path / "text.tflite")
    failing.close()
    assert first._child.has_ended
    waiting.close()
    assert other._child.has_ended
