"""What a user names as package.module:function."""

import sys

import pytest

from edgekd import importing
from edgekd.errors import ModelError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nets:build", True), ("a.b.c:f", True), ("resnet", False), ("a/b:c", False), ("a:b:c", False), ("1a:b", False)],
)
def test_a_name_is_a_module_a_colon_and_a_function(text, expected):
    assert importing.is_name(text) is expected


def test_what_is_named_is_loaded():
    import math

    assert importing.load("math:sqrt", role="teacher") is math.sqrt


def test_a_missing_function_is_told_with_those_that_exist(tmp_path, monkeypatch):
    (tmp_path / "edgekd_test_nets.py").write_text("def build(): ...\ndef _hidden(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ModelError, match=r"teacher 'edgekd_test_nets:bild'.*no function 'bild'. Its functions: build\."
    ):
        importing.load("edgekd_test_nets:bild", role="teacher")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_the_reason(tmp_path, monkeypatch, source, words):
    (tmp_path / "edgekd_test_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=rf"importing 'edgekd_test_broken' failed.*{words}"):
        importing.load("edgekd_test_broken:build", role="architecture")


def test_a_missing_module_is_told_with_where_it_was_looked_for():
    with pytest.raises(ModelError, match=r"there is no module 'edgekd_test_absent'.*run edgekd from the folder"):
        importing.load("edgekd_test_absent.nets:build", role="architecture")


def test_a_folder_is_importable_within_the_block_only(tmp_path):
    (tmp_path / "edgekd_test_inside.py").write_text("def f(): ...\n")
    before = list(sys.path)
    with importing.importable(str(tmp_path)):
        importing.load("edgekd_test_inside:f", role="teacher")
        assert sys.path[0] == str(tmp_path)
    assert sys.path == before


def test_an_equal_entry_that_others_have_made_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = list(sys.path)
    with importing.importable(str(tmp_path)):
        sys.path.append("added inside")
    assert sys.path == [*before, "added inside"]
