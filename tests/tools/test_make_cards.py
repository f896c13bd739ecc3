"""Cards of recipes: every number is the run's, what was changed stands in the command, and nobody's text is lost."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from edgekd.records import Summary


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "make_cards.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def zoo(tmp_path, tiny_recipe):
    """A zoo of one recipe, that of the tiny run."""
    folder = tmp_path / "zoo" / "tiny"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"# A tiny student, for tests.\n{json.dumps(tiny_recipe)}\n")
    return folder.parent


def test_a_card_tells_what_was_measured_and_how_to_do_it_again(tool, zoo, finished, capsys):
    assert tool.main([str(finished.folder), "--zoo", str(zoo)]) == 0
    written = zoo / "tiny" / "card.md"
    assert capsys.readouterr().out == f"{written}\n"
    text = written.read_text()
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert "\n# tiny\n\nA tiny student, for tests.\n" in text
    assert "```sh\nedgekd run tiny\n```" in text
    for role, title in (("teacher", "Teacher"), ("student_labels", "Student on labels")):
        model = summary["models"][role]
        low, high = (100 * model["accuracy_interval"][end] for end in ("low", "high"))
        assert f"| {title} | {100 * model['accuracy']:.2f} % [{low:.1f} to {high:.1f} %] |" in text
        assert f"| {title}, weights SHA-256 | {model['weights_sha256']} |" in text
    assert len(summary["artifacts"]) == 3
    for artifact in summary["artifacts"]:
        (line,) = re.findall(rf"^\| {re.escape(artifact['name'])} \|.*$", text, flags=re.MULTILINE)
        assert f"| {100 * artifact['accuracy']:.2f} % |" in line
        assert f"{artifact['size_bytes'] / 1024:.3g} KiB" in line
    assert f"| Recipe, SHA-256 | {summary['recipe_sha256']} |" in text
    assert summary["data"]["fingerprint"] in text
    assert summary["environment"]["cpu"] in text
    assert f"tensorflow {summary['environment']['packages']['tensorflow']}" in text
    assert f"{summary['data']['test']:,} test samples" in text
    gain = summary["gains"]["student_distilled"]
    assert f"{100 * abs(gain['value']):.2f} points" in text
    assert ("within noise" in text) == (gain["low"] <= 0 <= gain["high"])
    assert "Apache-2.0" in text


def test_the_command_has_what_was_changed_and_not_where_things_lie(tool, zoo, finished_copy, tiny_recipe):
    recipe_file = finished_copy / "recipe.yaml"
    text = recipe_file.read_text()
    assert "epochs: 3" in text
    changed = text.replace("seed: 3", "seed: 5", 1).replace("folder: null", "folder: /somewhere")
    assert "/somewhere" in changed
    recipe_file.write_text(changed)
    card = tool.write_card(finished_copy, zoo).read_text()
    assert "edgekd run tiny --set 'seed=5'\n" in card
    assert "somewhere" not in card


def test_what_was_written_by_hand_below_notes_stays(tool, zoo, finished):
    card = tool.write_card(finished.folder, zoo)
    made = card.read_text()
    card.write_text(made.replace("A tiny student", "An old title") + "\n## Notes\n\nBy hand.\n")
    assert tool.write_card(finished.folder, zoo).read_text() == made + "\n## Notes\n\nBy hand.\n"


def test_a_card_of_another_hand_is_not_overwritten(tool, zoo, finished, capsys):
    card = zoo / "tiny" / "card.md"
    card.write_text("# Mine\n")
    assert tool.main([str(finished.folder), "--zoo", str(zoo)]) == 2
    assert "was not written by this tool" in capsys.readouterr().err
    assert card.read_text() == "# Mine\n"


@pytest.mark.parametrize("change", [{"name": "tiny-smoke"}, {"artifacts": ()}])
def test_a_run_of_no_recipe_a_smoke_run_and_an_unfinished_one_get_no_card(tool, zoo, finished_copy, capsys, change):
    summary = Summary.read(finished_copy / "summary.json")
    summary.model_copy(update=change).write(finished_copy / "summary.json")
    assert tool.main([str(finished_copy), "--zoo", str(zoo)]) == 2
    assert capsys.readouterr().err.startswith("error: the run in")
    assert not (zoo / "tiny" / "card.md").exists()


def test_a_folder_without_a_run_is_refused(tool, zoo, tmp_path, capsys):
    assert tool.main([str(tmp_path), "--zoo", str(zoo)]) == 2
    assert "summary" in capsys.readouterr().err
