"""What lies beside recipes of the zoo: files as they were verified, cards as their records say, nobody's text lost."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from edgekd import recipe
from edgekd.errors import RecipeError
from edgekd.golden import comparing, recording
from edgekd.golden.probe import fingerprints
from edgekd.golden.records import Golden
from edgekd.inspect import inspect_with_contents
from edgekd.records import Summary, TrainingWarning
from edgekd.runtime import open_runner, predict_arrays
from edgekd.verify.arithmetic import arithmetic_of
from edgekd.verify.samples import seeded_samples
from edgekd.verify.tolerances import Limits

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
RESULTS = sorted(path.parent for path in MODELS.rglob("results/summary.json"))
FILES = sorted(golden for folder in RESULTS for kind in ("tflite", "onnx") for golden in folder.glob(f"*.{kind}.json"))

CARD_MADE = (
    "<!-- Written by tools/make_cards.py, but for what stands below Notes: make it again instead of editing. -->\n"
)


@pytest.fixture(scope="module")
def tools():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("ship_runs"), importlib.import_module("make_cards")


@pytest.fixture(scope="module")
def ship(tools):
    return lambda *arguments: tools[0].main([str(each) for each in arguments])


def made_zoo(folder, finished):
    (folder / "tiny").mkdir(parents=True)
    settings = (finished.folder / "recipe.yaml").read_text()
    (folder / "tiny" / "recipe.yaml").write_text(f"# A tiny student, for tests.\n{settings}")
    return folder


@pytest.fixture
def zoo(tmp_path, finished):
    """A zoo of one recipe, that of the tiny run."""
    return made_zoo(tmp_path / "zoo", finished)


@pytest.fixture(scope="module")
def shipped_once(tmp_path_factory, finished, ship):
    """A zoo that the tiny run was shipped to; tests that change it take a copy."""
    zoo = made_zoo(tmp_path_factory.mktemp("shipped") / "zoo", finished)
    assert ship(finished.folder, "--zoo", zoo) == 0
    return zoo


@pytest.fixture
def shipped(shipped_once, tmp_path):
    return shutil.copytree(shipped_once, tmp_path / "shipped")


def contents(zoo):
    return {path.relative_to(zoo).as_posix(): path.read_bytes() for path in zoo.rglob("*") if path.is_file()}


def findings(path, golden, tools):
    """Holds a file of ours to its golden record, in this process: no child has to be started for each."""
    name = tools[0].RUNTIMES[path.suffix]
    found, inside = inspect_with_contents(path)
    arithmetic = arithmetic_of(path)
    with open_runner(
        path, runtime=name, check=False, **{"by_signature": True} if found.format == "tflite" else {}
    ) as runner:
        samples = seeded_samples(
            runner.inputs,
            samples=golden.run_on.samples,
            seed=golden.run_on.seed,
            ranges={each: (*limits, "as recorded") for each, limits in golden.run_on.ranges.items()},
        )
        now = recording.record(
            found,
            fingerprints(found, inside),
            arithmetic=arithmetic.kind,
            specs=runner.outputs,
            steps=arithmetic.steps,
            activations=arithmetic.activations,
            arrays=predict_arrays(runner, samples.arrays),
            run_on=recording.inputs_of(samples, seed=golden.run_on.seed),
            runtime_name=name,
            metrics={},
        )
    assert now.sha256 == golden.sha256
    return comparing.compare(golden, now, limits=Limits(expect="same"), max_size_growth=0.0)


def test_runs_are_shipped_with_files_and_cards():
    resnet8 = MODELS / "fashion_mnist" / "resnet8"
    assert resnet8 / "results" in RESULTS
    assert {path.stem for path in FILES if path.parents[1] == resnet8} == {"student-int8.tflite", "student-int8.onnx"}
    assert [results for results in RESULTS if not (results.parent / "card.md").is_file()] == []


@pytest.mark.parametrize("record", FILES, ids=lambda path: path.relative_to(MODELS).as_posix())
def test_a_file_of_the_zoo_is_what_its_golden_record_and_its_run_say(record, tools):
    path = record.parents[1] / record.stem
    verified = {each.name: each.sha256 for each in Summary.read(record.parent / "summary.json").artifacts}
    assert tools[0].storage.sha256_file(path) == verified[path.name]
    found = findings(path, Golden.read(record), tools)
    assert [each.kind for each in found if each.status != "passed"] == []
    assert "outputs" in {each.kind for each in found}


@pytest.mark.parametrize("results", RESULTS, ids=lambda path: path.parent.relative_to(MODELS).as_posix())
def test_a_card_of_the_zoo_is_what_its_record_comes_to(results, tools):
    folder = results.parent
    text = (folder / "card.md").read_text()
    assert tools[1].whole_card(folder.relative_to(MODELS).as_posix(), MODELS) == text
    names = {each.name for each in tools[1].shipped(Summary.read(results / "summary.json"))}
    assert names == {golden.stem for golden in FILES if golden.parent == results}


def test_what_is_shipped_is_the_runs_and_holds(tools, shipped, finished, capsys):
    here = contents(shipped)
    assert sorted(here) == [
        "tiny/card.md",
        "tiny/recipe.yaml",
        "tiny/results/settings.json",
        "tiny/results/student-int8.tflite.json",
        "tiny/results/summary.json",
        "tiny/student-int8.tflite",
    ]
    assert here["tiny/student-int8.tflite"] == (finished.folder / "export" / "student-int8.tflite").read_bytes()
    kept, run = Summary.read(shipped / "tiny" / "results" / "summary.json"), finished.summary
    assert (kept.models, kept.gates, kept.comparisons, kept.curves) == (
        run.models,
        run.gates,
        run.comparisons,
        run.curves,
    )
    assert [each.latency_ms for each in kept.measurements] == [each.latency_ms for each in run.measurements]
    path = shipped / "tiny" / "student-int8.tflite"
    golden = Golden.read(shipped / "tiny" / "results" / "student-int8.tflite.json")
    assert {each.status for each in findings(path, golden, tools)} == {"passed"}
    (values,) = golden.values
    other = values.model_copy(update={"rows": (tuple(each + 1.0 for each in values.rows[0]), *values.rows[1:])})
    changed = findings(path, golden.model_copy(update={"values": (other,)}), tools)
    assert [each.kind for each in changed if each.status != "passed"] == ["outputs"]


def test_a_card_tells_what_was_measured_and_how_to_do_it_again(shipped, finished):
    text = (shipped / "tiny" / "card.md").read_text()
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert "\n# tiny\n\nA tiny student, for tests.\n" in text
    assert "```sh\nedgekd run tiny\n```" in text
    for role, title in (("teacher", "Teacher"), ("student_labels", "Student on labels")):
        model = summary["models"][role]
        low, high = (100 * model["accuracy_interval"][end] for end in ("low", "high"))
        assert rf"| {title} | {100 * model['accuracy']:.2f} % \[{low:.1f} to {high:.1f} %\] |" in text
        assert f"| {title}, weights SHA-256 | {model['weights_sha256']} |" in text
    assert len(summary["artifacts"]) == 3
    samples, z = summary["data"]["test"], 1.959964
    for artifact in summary["artifacts"]:
        (line,) = re.findall(rf"^\| {re.escape(artifact['name'])} \|.*$", text, flags=re.MULTILINE)
        value = artifact["accuracy"]
        centre = (value + z**2 / (2 * samples)) / (1 + z**2 / samples)  # Wilson's interval
        reach = z / (1 + z**2 / samples) * (value * (1 - value) / samples + z**2 / (4 * samples**2)) ** 0.5
        expected = rf"{100 * value:.2f} % \[{100 * (centre - reach):.1f} to {100 * (centre + reach):.1f} %\]"
        assert f"| {expected} |" in line
        assert f"{artifact['size_bytes'] / 1024:.3g} KiB" in line
    int8 = summary["artifacts"][1]
    assert f"| [student-int8.tflite](student-int8.tflite) | {int8['size_bytes']:,} bytes | {int8['sha256']} |" in text
    assert "python tools/ship_runs.py --check tiny" in text
    assert f"| Recipe, SHA-256 | {summary['recipe_sha256']} |" in text
    assert summary["data"]["fingerprint"] in text
    assert summary["environment"]["cpu"] in text
    assert f"tensorflow {summary['environment']['packages']['tensorflow']}" in text
    assert f"{summary['data']['test']:,} test samples" in text
    gain = summary["gains"]["student_distilled"]
    assert f"{100 * abs(gain['value']):.2f} points" in text
    assert ("within noise" in text) == (gain["low"] <= 0 <= gain["high"])
    assert "Apache-2.0" in text
    assert re.search(r"\| time \| (\d+ min )?[\d.]+ s \(teacher (\d+ min )?[\d.]+ s, student on labels ", text)


def test_a_card_says_where_its_numbers_are_of_other_data_than_the_recipe_is_for(tools):
    told = {}
    for name in tools[1].with_records(tools[1].ZOO):
        folder = tools[1].folder_of(name, tools[1].ZOO)
        ours = recipe.load(str(folder / "recipe.yaml")).data.dataset
        theirs = json.loads((folder / "results" / "settings.json").read_text())["data"]["dataset"]
        text = (folder / "card.md").read_text()
        assert (f"The recipe is for `{ours}`; **what follows is of `{theirs}`**" in text) == (ours != theirs)
        told[ours != theirs] = name
    assert told.keys() == {True, False}


def test_a_card_warns_where_its_run_went_wrong(tools):
    folder = tools[1].folder_of("tutorials/lab_cnn", tools[1].ZOO)
    gain = json.loads((folder / "results" / "summary.json").read_text())["gains"]["student_distilled"]
    assert gain["high"] < 0
    warnings = re.findall(r"^- \*\*Warning\.\*\* (.*)$", (folder / "card.md").read_text(), flags=re.MULTILINE)
    assert len(warnings) == 1
    assert f"−{abs(100 * gain['value']):.2f} points" in warnings[0]
    assert "**Warning.**" not in (tools[1].folder_of("fashion_mnist/resnet8", tools[1].ZOO) / "card.md").read_text()


def test_a_cards_warning_shows_the_names_of_classes_as_they_are(tools):
    name = "tutorials/lab_cnn"
    summary = Summary.read(tools[1].folder_of(name, tools[1].ZOO) / "results" / "summary.json")
    warning = TrainingWarning(kind="one_class", network="teacher", seen="It names 'a*b*|<c>'.", advice="Try [d](e).")
    (told,) = tools[1]._warnings(summary.model_copy(update={"training_warnings": (warning,)}), name)
    assert told == "- **Warning.** It names 'a\\*b\\*\\|&lt;c&gt;'. Try \\[d\\](e)."


def test_another_run_replaces_all_of_an_earlier_one_and_says_what_was_changed(ship, shipped, finished, finished_copy):
    before = contents(shipped)
    settings = finished_copy / "recipe.yaml"
    text = settings.read_text().replace("seed: 3", "seed: 5", 1).replace("folder: null", "folder: /somewhere")
    assert "/somewhere" in text
    settings.write_text(text)
    here = finished.summary.environment.model_copy(update={"platform": "Linux-1.2.3-somewhere-x", "machine": "x"})
    renamed(finished_copy, environment=here, earlier_environments={"teacher": here})
    folder = shipped / "tiny"
    for name in ("student-int8.onnx", "results/student-int8.onnx.json", "results/notes.json"):
        (folder / name).write_text("of an earlier run")
    assert ship(finished_copy, "--zoo", shipped) == 0
    now = contents(shipped)
    assert now.keys() == before.keys() | {"tiny/results/notes.json"}
    assert "edgekd run tiny --set seed=5\n" in now["tiny/card.md"].decode()
    told = "".join(text.decode() for name, text in now.items() if name.endswith((".md", ".json")))
    assert "somewhere" not in told
    assert told.count("Linux-1.2.3-x") == 4
    assert ship(finished.folder, "--zoo", shipped) == 0
    (folder / "results" / "notes.json").unlink()
    assert contents(shipped) == before


ZOO_RECIPE = """
data: {dataset: synthetic}
teacher: {architecture: resnet, epochs: 2}
student: {architecture: resnet, width: 8}
distill: {losses: [{loss: soft_logits}]}
"""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], ""),
        (["seed=5", "student.weight_decay=1.0e-3"], "seed=5 --set student.weight_decay=0.001"),
        (["data={dataset: 'npz:my data.npz'}"], "npz:my data.npz"),
        (["student={architecture: lab_cnn}"], "'student={"),
        (["distill.losses=[{loss: soft_logits, temperature: {schedule: linear, from: 1, to: 4, end_epoch: 2}}]"], "[{"),
        (["data={dataset: 'idx:mine', class_names: ['null', '1e-3', \"it's: # odd\", '']}"], "it"),
        (["distill.cache={views: 2, folder: /somewhere, fill: false}"], "'distill.cache={views: 2, dtype: float16}'"),
    ],
    ids=["nothing", "numbers", "spaces", "another network", "a schedule", "odd texts", "places"],
)
def test_the_command_of_a_card_gives_the_settings_of_its_run(tools, tmp_path, settings, told):
    path = tmp_path / "recipe.yaml"
    path.write_text(ZOO_RECIPE)
    run = recipe.load(str(path), overrides=settings)
    command = tools[1].command(run, path, name="mine")
    assert told in command
    (_, _, name, *options) = shlex.split(command)
    assert (name, set(options[::2])) == ("mine", {"--set"} if settings else set())
    again = recipe.load(str(path), overrides=options[1::2])
    assert again.experiment_sha256 == run.experiment_sha256
    assert (again.seed, again.verify, again.bench) == (run.seed, run.verify, run.bench)
    assert "somewhere" not in command


def test_a_command_that_would_not_repeat_its_run_is_refused(tools, tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    path.write_text(ZOO_RECIPE)
    run = recipe.load(str(path), overrides=["student.epochs=3"])
    monkeypatch.setattr(tools[1], "_in_yaml", lambda value: str(value + 1))
    with pytest.raises(RecipeError, match=r"no command repeats the run of mine: .* gives another student\.epochs"):
        tools[1].command(run, path, name="mine")
    path.write_text(ZOO_RECIPE.replace("{architecture: resnet, epochs: 2}", "[{architecture: resnet, epochs: 2}]"))
    monkeypatch.undo()
    with pytest.raises(RecipeError, match=r"no command repeats the run of mine: .* is refused"):
        tools[1].command(recipe.load(str(path), overrides=["teacher.0.epochs=3"]), path, name="mine")


def test_a_command_that_would_lead_to_another_teacher_is_refused(tools, tmp_path, finished):
    path = tmp_path / "recipe.yaml"
    path.write_text(ZOO_RECIPE.replace("{architecture: resnet, epochs: 2}", "{model: mine.keras}"))
    networks = finished.folder / "teacher" / "model.keras", finished.folder / "student_labels" / "model.keras"

    def require(teacher, *, saved, **more):
        shutil.copy(saved, tmp_path / "mine.keras")
        run = recipe.load(str(path), overrides=[f"teacher={teacher}", *more.values()])
        tools[1].require_models(finished.summary, run, recipe.load(str(path)), name="mine")

    require("{model: /elsewhere/mine.keras}", saved=networks[0])
    require("{architecture: lab_cnn}", saved=networks[1])
    for teacher, said in (
        ("{model: other.keras}", "which the recipe does not name"),
        ("{model: mine.tflite}", "no record tells which weights"),
    ):
        with pytest.raises(RecipeError, match=f"no command repeats the run of mine: its teacher is .* {said}"):
            require(teacher, saved=networks[1])
    with pytest.raises(RecipeError, match=r"its student is '.*mine\.keras', and no record tells which weights"):
        require("{architecture: lab_cnn}", saved=networks[0], student="student={model: mine.keras}")


def test_a_file_that_is_too_large_or_failed_a_gate_is_left_out_in_words(tools, ship, zoo, finished_copy, monkeypatch):
    monkeypatch.setattr(tools[1], "MAX_BYTES", 1000)
    assert ship(finished_copy, "--zoo", zoo) == 0
    card = (zoo / "tiny" / "card.md").read_text()
    assert re.search(
        r"student-int8\.tflite does not lie here: it has [\d,]+ bytes, and files here have at most 1,000\.", card
    )
    assert "--check" not in card
    monkeypatch.undo()
    summary = Summary.read(finished_copy / "summary.json")
    gates = [each.model_copy(update={"passed": each.subject != "student-int8.tflite"}) for each in summary.gates]
    summary.model_copy(update={"gates": tuple(gates)}).write(finished_copy / "summary.json")
    assert ship(finished_copy, "--zoo", zoo) == 0
    assert "student-int8.tflite does not lie here: a gate failed." in (zoo / "tiny" / "card.md").read_text()
    assert not list(zoo.rglob("*.tflite*"))


def test_what_is_not_what_it_was_fails_the_check(ship, shipped, capsys):
    folder = shipped / "tiny"
    assert ship("--check", "--zoo", shipped) == 0
    assert capsys.readouterr().out == "tiny: as it was\n"
    card, model, record = (
        folder / name for name in ("card.md", "student-int8.tflite", "results/student-int8.tflite.json")
    )
    golden = Golden.read(record)
    golden.model_copy(update={"operators": {**golden.operators, "SOFTMAX": 1}}).write(record)
    card.write_text(card.read_text().replace("| Student on labels | ", "| Student on labels | 1", 1))
    assert ship("--check", "tiny", "--zoo", shipped) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert "card.md: is not what its record comes to" in first
    assert "SOFTMAX 1 -> 0" in "".join(others)
    model.write_bytes(model.read_bytes() + b"\0")
    assert ship("--check", "tiny", "--zoo", shipped) == 1
    assert "student-int8.tflite: is not the run's file" in capsys.readouterr().out
    record.unlink()
    assert ship("--check", "tiny", "--zoo", shipped) == 2
    assert "golden record" in capsys.readouterr().err


def test_what_was_written_by_hand_below_notes_stays(tools, shipped, capsys):
    card = shipped / "tiny" / "card.md"
    made = card.read_text()
    card.write_text(made.replace("A tiny student", "An old title") + "\n## Notes\n\nBy hand.\n")
    assert tools[1].main(["--zoo", str(shipped)]) == 0
    assert capsys.readouterr().out == f"{card}\n"
    assert card.read_text() == made + "\n## Notes\n\nBy hand.\n"
    assert tools[1].main(["tinny", "--zoo", str(shipped)]) == 2
    assert "unknown recipe 'tinny'" in capsys.readouterr().err


def renamed(folder, **change):
    path = folder / "summary.json"
    Summary.read(path).model_copy(update=change).write(path)


def noted(zoo, text):
    (zoo / "tiny" / "card.md").write_text(f"{CARD_MADE}\n## Notes\n{text}\n")


def taught_by_another(run, zoo):
    shutil.copy(run / "student_labels" / "model.keras", zoo / "tiny" / "teacher.keras")
    settings = recipe.load(str(run / "recipe.yaml")).model_dump(mode="json")
    for folder, model in ((run, "/elsewhere/teacher.keras"), (zoo / "tiny", "teacher.keras")):
        text = json.dumps(settings | {"teacher": {"model": model}})
        (folder / "recipe.yaml").write_text(f"# A tiny student.\n{text}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run, _: renamed(run, name="tiny-smoke"), "is no recipe of"),
        (lambda run, _: renamed(run, artifacts=()), "has no verified files"),
        (lambda run, _: renamed(run, models={}), "taught no student"),
        (lambda run, _: renamed(run, taught="by /no/such/folder"), "name places of a machine"),
        (lambda _, zoo: noted(zoo, "See ~/notes."), "would name places of a machine"),
        (taught_by_another, "has other weights than that had"),
        (lambda run, _: (run / "export" / "student-int8.tflite").write_bytes(b"other"), "was changed since"),
        (lambda run, _: (run / "summary.json").unlink(), "summary"),
        (lambda _, zoo: (zoo / "tiny" / "card.md").write_text("# Mine\n"), "was not written by this tool"),
    ],
    ids=["smoke", "unfinished", "no student", "places", "notes", "another teacher", "changed", "missing", "other hand"],
)
def test_what_cannot_be_shipped_is_refused_before_anything_is_written(
    ship, zoo, finished_copy, capsys, change, message
):
    change(finished_copy, zoo)
    before = contents(zoo)
    assert ship(finished_copy, "--zoo", zoo) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert contents(zoo) == before
