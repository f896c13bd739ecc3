"""What decides the stages of a network that exists already: what is in its file."""

from pathlib import Path

from edgekd import recipe
from edgekd.pipeline import networks


def _settings(model: Path) -> dict[str, object]:
    document = {"teacher": {"model": str(model)}, "student": {"architecture": "resnet"}}
    (section,) = recipe.from_document(document).teacher
    return networks.settings(section, role="teacher")


def test_a_moved_model_trains_nothing_anew_and_a_changed_one_does(tmp_path: Path) -> None:
    for folder, content in (("first", b"a network"), ("second", b"a network"), ("third", b"another network")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "teacher.keras").write_bytes(content)
    first, second, third = (_settings(tmp_path / folder / "teacher.keras") for folder in ("first", "second", "third"))
    assert first == second
    assert first != third


def test_two_functions_of_one_module_are_two_teachers(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "my_teachers.py").write_text("def large(): ...\n\n\ndef small(): ...\n")
    monkeypatch.chdir(tmp_path)
    assert _settings(Path("my_teachers:large")) != _settings(Path("my_teachers:small"))
    assert _settings(Path("my_teachers:large")) == _settings(Path("my_teachers:large"))
