"""The command line as a user meets it: what it prints, its exit status, and one clear line for each mistake."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import ruamel.yaml
from click.testing import CliRunner

from edgekd import api, architectures, cli, recipe, registry, storage
from edgekd.errors import EdgekdError
from edgekd.pipeline import RunResult
from edgekd.pipeline.folder import StageRecord
from edgekd.records import Summary

Command = Callable[..., Any]
VERBS = registry.discover("edgekd.cli")


@pytest.fixture
def recipe_file(tiny_recipe: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    with path.open("w") as file:
        ruamel.yaml.YAML(typ="safe", pure=True).dump(tiny_recipe, file)
    return path


def one_line(err: str) -> str:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("edgekd: ")
    assert "Traceback" not in err
    return lines[0]


def test_the_verbs_are_the_documented_ones() -> None:
    assert set(VERBS) >= {"run", "train", "distill", "export", "verify", "bench", "report", "list", "doctor", "data"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_explains_itself(verb: str) -> None:
    command = registry.load("edgekd.cli", verb).command
    commands = [command, *getattr(command, "commands", {}).values()]
    for each in commands:
        assert each.help
        for parameter in each.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, parameter.name
            else:  # an argument is explained in the text
                assert parameter.make_metavar(click.Context(each)).strip("[].") in each.help
    assert CliRunner().invoke(cli.edgekd, [verb, "--help"]).exit_code == 0


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['edgekd', '--help']\nfrom edgekd import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pydantic', 'scipy', 'rich', 'plotly', 'onnx'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_run_of_a_finished_run_says_nothing_to_do(
    edgekd_command: Command, finished_copy: Path, recipe_file: Path
) -> None:
    result = edgekd_command("run", recipe_file, "--out", finished_copy)
    assert result.status == 0
    assert "nothing to do" in result.out
    assert "Distilled student" in result.out
    assert str(finished_copy / "report.html") in result.out


def test_json_is_the_only_thing_on_standard_output(
    edgekd_command: Command, finished_copy: Path, recipe_file: Path
) -> None:
    result = edgekd_command("run", recipe_file, "--out", finished_copy, "--json")
    assert result.status == 0
    assert Summary.model_validate_json(result.out) == Summary.read(finished_copy / "summary.json")


def test_a_failed_gate_is_named_and_ends_with_status_1(
    edgekd_command: Command, finished_copy: Path, recipe_file: Path
) -> None:
    # The file is swapped for one of the opposite opinion, and the records say that it is the right one.
    file = finished_copy / "export" / "student-float32.tflite"
    right = storage.sha256_file(file)
    opposite = architectures.load_model(finished_copy / "student_distilled" / "model.keras")
    logits = opposite.get_layer("logits")
    logits.set_weights([-weights for weights in logits.get_weights()])
    api.export_model(opposite, file)
    record, marker = file.parent / "record.json", file.parent / "stage.json"
    record.write_text(record.read_text().replace(right, storage.sha256_file(file)))
    stage = StageRecord.read(marker)
    stage.model_copy(update={"files": {name: storage.sha256_file(file.parent / name) for name in stage.files}}).write(
        marker
    )
    (finished_copy / "verify" / "stage.json").unlink()
    result = edgekd_command("run", recipe_file, "--out", finished_copy)
    assert result.status == 1
    assert "gate failed: student-float32.tflite: agreement is" in result.out


def test_a_training_that_went_wrong_is_warned_of_beside_gates_that_held(
    edgekd_command: Command, finished_copy: Path, recipe_file: Path
) -> None:
    record, marker = finished_copy / "verify" / "record.json", finished_copy / "verify" / "stage.json"
    before = storage.sha256_file(record)
    document = json.loads(record.read_text())
    document["gains"] = {"student_distilled": {"value": -0.5, "low": -0.6, "high": -0.4}}
    record.write_text(json.dumps(document))
    marker.write_text(marker.read_text().replace(before, storage.sha256_file(record)))
    result = edgekd_command("run", recipe_file, "--out", finished_copy)
    assert result.status == 0, result.err
    held = len(document["gates"])
    proven = "the files match the networks they were made from, within the recipe's limits"
    assert f"{held} of {held} gates held: {proven}" in result.out
    assert "warning: Distilled student: " in result.out
    assert "−50.00 points [−60.00 to −40.00] on the same test samples." in result.out
    assert "Give the teaching terms smaller weights" in result.out
    # 288 images train in batches of 32.
    assert "It was trained for 3 epochs of 9 steps, 27 in all, which is few." in result.out
    noted = Summary.read(finished_copy / "summary.json").training_warnings
    assert noted is not None
    assert "worse_than_labels" in {each.kind for each in noted}


def test_print_shows_every_default_and_writes_nothing(
    edgekd_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgekd_command("run", "quickstart", "--print", "--set", "student.epochs=5", "--seed", 9)
    printed = ruamel.yaml.YAML(typ="safe", pure=True).load(result.out)
    assert printed["student"]["epochs"] == 5
    assert printed["seed"] == 9
    assert printed["teacher"]["momentum"] == 0.9  # not in the file: a default
    assert printed["teacher"]["shortcut"] == "projection"  # a default of the architecture's own
    assert not list(tmp_path.iterdir())
    (tmp_path / "again.yaml").write_text(result.out)
    again = edgekd_command("run", tmp_path / "again.yaml", "--print")
    assert again.out == result.out


def test_smoke_and_seed_live_in_folders_of_their_own() -> None:
    from edgekd.cli import _recipes

    plain = recipe.load("quickstart")
    assert _recipes.folder(plain, None, None) == Path("runs/quickstart")
    assert _recipes.folder(plain, None, 4) == Path("runs/quickstart-seed4")
    assert _recipes.folder(recipe.smoke(plain), None, None) == Path("runs/quickstart-smoke")
    assert _recipes.folder(plain, Path("elsewhere"), 4) == Path("elsewhere")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runn"], "unknown command 'runn'. Did you mean 'run'?"),
        (["run", "quickstrat"], "unknown recipe 'quickstrat'. Did you mean 'quickstart'?"),
        (["run", "absent.yaml"], "'absent.yaml' does not exist"),
        (["run", "quickstart", "--set", "student.epoch=3"], "Did you mean 'epochs'?"),
        (["run", "quickstart", "--set", "studnt.epochs=3"], "Did you mean 'student'?"),
        (["run", "quickstart", "--set", "student.epochs=many"], "student.epochs"),
        (["run", "quickstart", "--set", "student.architecture=resnett"], "Did you mean 'resnet'?"),
        (["run", "quickstart", "--set", "nonsense"], "is not of the form a.b=value"),
        (["run", "quickstart", "--set", "data.dataset=embeded"], "Did you mean 'embedded'?"),
        (["run", "quickstart", "--set", "data.dataset=npz:absent.npz"], "absent.npz"),
        (["run", "quickstart", "--set", "data.dataset=idx:/nowhere"], "/nowhere"),
        (["run", "quickstart", "--out", "/proc/nowhere"], "choose another"),
        (["run", "x" * 300], "the name is too long"),
        (["run", "quickstart", "--out", "x" * 300], "the name is too long"),
        (["report", "nowhere"], "nowhere"),
        (["verify", "absent.tflite", "absent.onnx", "--data", "synthetic"], "absent.tflite"),
        (["bench", "absent.tflite"], "absent.tflite"),
        (["bench", __file__], "test_commands.py"),
        (["export", "absent.keras"], "absent.keras"),
        (["export", "quickstart.keras", "--format", "tflit"], "Did you mean 'tflite'?"),
        (["data", "show", "tfds:fashion_mnst"], "fashion_mnist"),
        (["data", "show", "image_folder:/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    edgekd_command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgekd_command(*arguments)
    assert result.status == 2
    assert result.out == ""
    assert expected in one_line(result.err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["train"], ["distill", "--teacher", "x.keras"], ["train", "quickstart", "--architecture", "resnet"],
     ["bench"], ["list", "nothing"], ["bench", "x.tflite", "--threads", "one"]],
)  # fmt: skip
def test_wrong_usage_is_explained_with_status_2(edgekd_command: Command, arguments: list[str]) -> None:
    result = edgekd_command(*arguments)
    assert result.status == 2
    assert result.out == ""
    assert "Error: " in result.err


def test_an_unknown_choice_suggests_the_nearest(edgekd_command: Command) -> None:
    result = edgekd_command("list", "losess")
    assert result.status == 2
    assert "unknown choice 'losess'. Did you mean 'losses'? Known: adapters, architectures" in result.err


@pytest.mark.parametrize("verb", ["verify", "inspect", "bench", "export"])
def test_a_damaged_file_is_said_in_words_for_people(
    edgekd_command: Command, finished: RunResult, tmp_path: Path, verb: str
) -> None:
    student = finished.folder / "student_distilled" / "model.keras"
    files = [finished.folder / "export" / f"student-float32.{suffix}" for suffix in ("tflite", "onnx")]
    if verb == "export":
        files = [student]
    for file in files:
        content = file.read_bytes()
        damaged = tmp_path / file.name
        # An archive is broken in its middle, since one that is cut short is told before Keras sees it.
        middle = len(content) // 2
        damaged.write_bytes(content[:middle] + (b"\xff" * 40 + content[middle + 40 :] if verb == "export" else b""))
        result = edgekd_command(verb, damaged, *([damaged] if verb == "verify" else []))
        assert result.status == 2
        line = one_line(result.err)
        assert line.endswith("again.")
        assert re.search(r"\w(Error|Exception)\b|<class|unpack_from|[{\[]|\\\\x|CRC|INVALID", line) is None, line


def test_debug_shows_the_traceback(edgekd_command: Command) -> None:
    result = edgekd_command("run", "quickstrat", "--debug")
    assert result.status == 2
    assert result.err.startswith("Traceback")
    assert "RecipeError: unknown recipe" in result.err


def test_an_unforeseen_error_has_another_status_than_a_gate_that_failed(
    edgekd_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr("edgekd.registry.load", broken)
    result = edgekd_command("list", "losses")
    assert result.status == 70
    assert result.err.startswith("Traceback")
    assert "ZeroDivisionError: nobody thought of it" in result.err
    assert result.err.splitlines()[-1].startswith("edgekd: this is a mistake in edgekd, not in your input")


@pytest.mark.parametrize(
    "kind",
    ["losses", "adapters", "architectures", "datasets", "schemes", "calibrations", "formats", "targets", "recipes"],
)
def test_list_shows_what_is_installed(edgekd_command: Command, kind: str) -> None:
    listed = json.loads(edgekd_command("list", kind, "--json").out)
    assert listed
    text = edgekd_command("list", kind).out
    for name, row in listed.items():
        assert row["summary"]
        assert name in text
    folder = {
        "adapters": "distill/adapters",
        "datasets": "data/sources",
        "schemes": "quantize/schemes",
        "calibrations": "quantize/ranges",
        "formats": "export",
    }
    if kind != "recipes":
        package = Path(registry.__file__).parent
        folders = (
            ("bench/targets", "bench/estimates", "bench/parities") if kind == "targets" else (folder.get(kind, kind),)
        )
        shown = {name.replace("-", "_") for name in listed} if kind == "targets" else set(listed)
        assert shown == {path.stem for each in folders for path in (package / each).glob("[a-z]*.py")}


def test_list_targets_says_what_is_missing_here(edgekd_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.bench.availability.find_spec", lambda name: None if name == "ethosu" else object())
    monkeypatch.setattr("shutil.which", lambda _: None)
    listed = json.loads(edgekd_command("list", "targets", "--json").out)
    assert {name for name, row in listed.items() if row["missing"]} == {"ssh", "ethos-u", "qemu-aarch64"}
    assert listed["ethos-u"]["missing"] == ["the module ethosu (pip install 'edgekd[microcontroller]')"]
    assert listed["ethos-u"]["kind"] == "reckons; nothing is measured"
    printed = edgekd_command("list", "targets").out
    assert max(len(line) for line in printed.splitlines() if line.startswith(" ")) <= 120
    text = " ".join(printed.split())
    assert "usable here: no: it needs the program ssh (OpenSSH's client, Debian: openssh-client)" in text
    assert "--set python=python3, config, identity, blocks=4, min_runs=25, min_block_ms=50.0" in text
    assert "processes=" not in text  # an option of its own, with a default of its own
    assert "usable here: yes" in text


def test_doctor_tells_versions_and_noise(edgekd_command: Command) -> None:
    result = edgekd_command("doctor", "--json")
    assert result.status == 0
    found = json.loads(result.out)
    assert found["missing"] == []
    assert found["packages"]["numpy"] == np.__version__
    assert found["noise"]["scatter"] >= 0
    assert "logical cores" in edgekd_command("doctor").out


def test_train_and_distill_and_export_work_without_a_recipe(
    edgekd_command: Command, finished: RunResult, tmp_path: Path
) -> None:
    data = ["--dataset", "synthetic", "--set", "data.samples=300", "--set", "data.classes=3",
            "--set", "data.shape=[16, 16, 1]", "--set", "data.batch_size=64"]  # fmt: skip
    trained = edgekd_command(
        "train", *data, "--architecture", "lab_cnn", "--epochs", 1, "--out", tmp_path / "t", "--json"
    )
    assert trained.status == 0, trained.err
    summary = Summary.model_validate_json(trained.out)
    assert set(summary.models) == {"teacher"}
    teacher = tmp_path / "t" / "teacher" / "model.keras"
    again = edgekd_command("train", *data, "--architecture", "lab_cnn", "--epochs", 1, "--out", tmp_path / "t")
    expected = f"{100 * summary.models['teacher'].validation_accuracy:.2f} %"
    assert f"teacher: validation accuracy {expected}, epoch 1, saved as {teacher}" in again.out
    student = ["--architecture", "lab_cnn", "--set", "student.filters=[4]"]
    distilled = edgekd_command(
        "distill", *data, "--teacher", teacher, *student, "--epochs", 1, "--out", tmp_path / "d", "--json"
    )
    assert distilled.status == 0, distilled.err
    assert set(Summary.model_validate_json(distilled.out).models) == {"teacher", "student_labels", "student_distilled"}
    model = tmp_path / "d" / "student_distilled" / "model.keras"
    both = ["--format", "tflite", "--format", "onnx", "--out", tmp_path / "files"]
    exported = edgekd_command("export", model, *both, "--json")
    assert exported.status == 0, exported.err
    artifacts = json.loads(exported.out)["artifacts"]  # one document, however many files
    assert [artifact["format"] for artifact in artifacts] == ["tflite", "onnx"]
    files = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert files == ["model-float32.onnx", "model-float32.tflite"]


def test_verify_passes_and_fails_by_its_gates(
    edgekd_command: Command, finished: RunResult, tiny_recipe: dict[str, Any]
) -> None:
    folder = finished.folder
    options = [f"--set={key}={json.dumps(tiny_recipe['data'][key])}" for key in ("samples", "classes", "shape")]
    options += ["--data", "synthetic"]
    student = folder / "student_distilled" / "model.keras"
    float_file = folder / "export" / "student-float32.tflite"
    passed = edgekd_command("verify", student, float_file, folder / "export" / "student-float32.onnx", *options)
    assert passed.status == 0, passed.err
    assert "passed" in passed.out
    # Another network is not the one that was trained.
    noise = [*options, "--set=learnable=false"]
    failed = edgekd_command("verify", folder / "teacher" / "model.keras", float_file, *noise)
    assert failed.status == 1
    assert "failed: student-float32.tflite: logits: off by up to" in failed.out
    document = json.loads(edgekd_command("verify", student, float_file, *options, "--json").out)
    assert document["schema_version"] == 1
    assert document["comparisons"][0]["agreement"]["value"] == 1.0


def test_verify_tells_files_of_one_name_apart(
    edgekd_command: Command, finished: RunResult, tiny_recipe: dict[str, Any], tmp_path: Path
) -> None:
    options = [f"--set={key}={json.dumps(tiny_recipe['data'][key])}" for key in ("samples", "classes", "shape")]
    file = finished.folder / "export" / "student-float32.tflite"
    other = Path(shutil.copy(file, tmp_path))
    result = edgekd_command("verify", file, file, other, "--data", "synthetic", *options, "--json")
    assert result.status == 0, result.err
    assert [gate["subject"] for gate in json.loads(result.out)["gates"]] == [str(file)] * 2 + [str(other)] * 2


def test_the_gates_of_an_earlier_run_do_not_fail_a_verb_that_stops_before_them(
    edgekd_command: Command, finished_copy: Path, recipe_file: Path
) -> None:
    record, marker = finished_copy / "verify" / "record.json", finished_copy / "verify" / "stage.json"
    before = storage.sha256_file(record)
    record.write_text(record.read_text().replace('"passed": true', '"passed": false'))
    marker.write_text(marker.read_text().replace(before, storage.sha256_file(record)))
    assert edgekd_command("run", recipe_file, "--out", finished_copy).status == 1
    trained = edgekd_command("train", recipe_file, "--out", finished_copy)
    assert trained.status == 0
    assert "gate failed" not in trained.out


def test_bench_prints_percentiles(edgekd_command: Command, finished: RunResult, tmp_path: Path) -> None:
    model = finished.folder / "export" / "student-int8.tflite"
    quick = ("--processes", 1, "--set", "min_warmup_seconds=0.01", "--set", "max_warmup_seconds=0.1")
    result = edgekd_command("bench", model, *quick, "--json", "--out", tmp_path / "raw")
    assert result.status == 0, result.err
    (measurement,) = json.loads(result.out)["measurements"]
    assert measurement["latency_ms"]["p50"] > 0
    assert list((tmp_path / "raw").iterdir())


def test_report_is_written_anew(edgekd_command: Command, finished_copy: Path, tmp_path: Path) -> None:
    result = edgekd_command("report", finished_copy, "--out", tmp_path / "page")
    assert result.status == 0
    assert (tmp_path / "page" / "report.html").read_bytes() == (finished_copy / "report.html").read_bytes()


def test_a_report_of_several_runs_belongs_to_none_of_them(
    edgekd_command: Command, finished_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    summary = Summary.read(finished_copy / "summary.json")
    summary.model_copy(update={"name": "other", "seed": 8}).write(other / "summary.json")
    formats = [f"--format={name}" for name in ("html", "markdown", "json")]
    result = edgekd_command("report", finished_copy, other / "summary.json", *formats, "--json")
    assert result.status == 0, result.err
    told = json.loads(result.out)
    assert [run["label"] for run in told["runs"]] == ["tiny", "other"]
    assert told["runs"][0]["summary"] == json.loads((finished_copy / "summary.json").read_text())
    assert set(told["runs"][0]["confusion"]) == {*summary.models, *(each.name for each in summary.artifacts)}
    assert told["runs"][1]["confusion"] == {}
    assert "not beside the summary" in told["runs"][1]["no_predictions"]
    folder = tmp_path / "runs" / "report"
    assert json.loads((folder / "report.json").read_text()) == told
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert sorted(path.name for path in other.iterdir()) == ["summary.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'RUN...'"),
        (["a", "--format", "pdf"], "pdf"),
        (["a", "b"], "run 'a' does not exist: give a run's folder, or its summary.json"),
        (["."], "'.' holds no finished run (it has no summary.json): give a run's folder"),
    ],
)
def test_report_says_what_it_needs(
    edgekd_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = edgekd_command("report", *arguments)
    assert result.status == 2
    assert message in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.fashion_mnist
def test_data_import_prints_one_document(
    edgekd_command: Command, prepared_fashion_mnist: Path, fashion_mnist_files: Path
) -> None:
    arguments = ["fashion_mnist", "--from", fashion_mnist_files, "--data-dir", prepared_fashion_mnist]
    result = edgekd_command("data", "import", *arguments, "--json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["dataset"] == "tfds:fashion_mnist"


def test_data_show_describes_the_embedded_dataset(edgekd_command: Command) -> None:
    shown = json.loads(edgekd_command("data", "show", "embedded", "--json").out)
    assert (shown["train"], shown["validation"], shown["test"]) == (12_000, 2_000, 2_000)
    assert "12000 training" in edgekd_command("data", "show", "embedded").out


def test_an_ensemble_runs_on_the_command_line_and_says_what_is_kept_and_what_is_not(
    edgekd_command: Command, tmp_path: Path
) -> None:
    network = {"architecture": "lab_cnn", "filters": [4], "epochs": 1}
    document = {
        "name": "ensemble",
        "data": {"dataset": "synthetic", "samples": 120, "classes": 3, "shape": [8, 8, 1], "batch_size": 16},
        "teacher": [network, network],
        "student": network,
        "distill": {"losses": [{"loss": "soft_logits"}]},
        "export": [],
    }
    with (tmp_path / "ensemble.yaml").open("w") as file:
        ruamel.yaml.YAML(typ="safe", pure=True).dump(document, file)
    command = ("run", tmp_path / "ensemble.yaml", "--out", tmp_path / "run")
    first = edgekd_command(*command)
    assert first.status == 0, first.err
    assert "Teacher 2 (lab_cnn)" in first.out
    about = "synthetic: 86 training, 10 validation, 24 test samples of 8 x 8 x 1, 3 classes"
    assert first.err.splitlines()[:2] == [about, f"7 stages, in {tmp_path / 'run'}"]
    assert "other settings" not in first.err
    again = edgekd_command(*command)
    assert again.err.splitlines()[1] == f"7 stages, 0 to do, in {tmp_path / 'run'}"
    assert "teacher 2: done already" in again.err
    changed = edgekd_command(*command, "--set", "distill.labels_weight=0.5")
    assert "teacher 2: done already" in changed.err
    told = f"{tmp_path / 'run'} holds results of other settings or other data: student, taught, export"
    assert told in changed.err
    assert "will be done again, and replaced. To keep them, stop now and give another folder with --out." in changed.err
    assert "student, taught: doing it again, because its settings, or what it reads, have changed" in changed.err
    assert "Taught" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda student, data: api.distill_model(student, student, data, losses="soft_logits"), "list of mappings"),
        (lambda student, data: api.distill_model(student, student, data), "shares variables with the student"),
        (lambda student, data: api.distill_self(student, data, exits="relu1"), "list of taps"),
        (lambda student, data: api.distill_self(student, data, exits=[]), "list of taps"),
        (lambda student, data: api.train_model(student, (data.train.images, data.train.labels)), "edgekd.load_data"),
    ],
)
def test_what_python_callers_mistake_is_said_in_words(call: Callable[..., object], message: str) -> None:
    data = api.load_data("synthetic", samples=60, classes=3, shape=[8, 8, 1])
    student = api.create_model("lab_cnn", data, filters=[4])
    with pytest.raises(EdgekdError, match=message):
        call(student, data)
