"""The comparison of methods: what it trains, what it says, and that it goes on where it was stopped."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import stats

from edgekd import api

TOOLS = Path(__file__).parents[2] / "tools"
GIVEN = "models/fashion_mnist/teacher.keras"

TINY = """
common:
  data: {dataset: embedded, batch_size: 64, augment: {flip: true}}
  teacher: {architecture: lab_cnn, filters: [8, 8], epochs: 3, optimizer: adam, learning_rate: 0.01}
  student: {architecture: lab_cnn, filters: [4], epochs: 3, optimizer: adam, learning_rate: 0.01}
methods:
  - name: labels_only
    title: labels only
    note: the baseline
    teachers: 0
    stage: student_labels
    distill: {way: born_again}
  - {name: taught, title: taught, note: by logits, distill: {losses: [{loss: soft_logits, temperature: 4.0}]}}
"""


@pytest.fixture(scope="module")
def tool(script):
    return script("compare_methods")


@pytest.fixture(scope="module")
def method_table(tool):
    return sys.modules["method_table"]


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.keras")}


@pytest.fixture(scope="module")
def sweep(tool, tmp_path_factory):
    """A sweep of two methods and two seeds that was begun with one seed; its folder and the first seed's networks."""
    out = tmp_path_factory.mktemp("sweep")
    (out / "methods.yaml").write_text(TINY)
    common = ["--out", str(out / "runs"), "--methods-file", str(out / "methods.yaml")]
    arguments = [*common, "--epochs", "1", "--train-limit", "256", "--seeds"]
    assert tool.main([*arguments, "0"]) == 0
    first = files_of(out / "runs")
    assert tool.main([*arguments, "0", "1"]) == 0
    return out, first, [*arguments, "0", "1"]


def table_of(out):
    return json.loads((out / "runs" / "methods.json").read_text())


@pytest.fixture(scope="module")
def accuracies(sweep):
    """Test accuracies by method and seed, of the saved networks, counted here."""
    data = api.load_data("embedded")
    images, labels = data.test.read(np.arange(len(data.test)))

    def accuracy(path):
        logits = keras.models.load_model(path).predict(images, verbose=0)
        return np.mean(logits.argmax(axis=1) == labels)

    stages = {"labels_only": "student_labels", "taught": "student_distilled"}
    return {
        name: [accuracy(sweep[0] / "runs" / f"seed_{seed}" / name / stage / "model.keras") for seed in (0, 1)]
        for name, stage in stages.items()
    }


def test_the_tables_numbers_are_those_of_the_saved_networks_on_the_test_split(sweep, accuracies):
    labels, taught = table_of(sweep[0])["rows"]
    differences = np.subtract(accuracies["taught"], accuracies["labels_only"])
    for row, key, values in (
        (labels, "accuracy", accuracies["labels_only"]),
        (taught, "accuracy", accuracies["taught"]),
        (taught, "difference", differences),
    ):
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert row[key]["value"] == pytest.approx(np.mean(values), abs=1e-12)
        assert row[key]["low"] == pytest.approx(expected.low, abs=1e-9)
        assert row[key]["high"] == pytest.approx(expected.high, abs=1e-9)
    assert labels["difference"] is None
    assert [each["accuracy"] for each in taught["trained"]] == pytest.approx(accuracies["taught"], abs=1e-12)


def test_the_page_shows_the_same_numbers_in_percent(sweep, accuracies):
    page = (sweep[0] / "runs" / "methods.md").read_text()
    assert re.search(r"^- Data, fingerprint `[0-9a-f]{64}`\.$", page, flags=re.MULTILINE)
    mean = 100 * np.mean(accuracies["taught"])
    half = 100 * stats.sem(accuracies["taught"]) * stats.t.ppf(0.975, 1)
    gain = 100 * np.mean(np.subtract(accuracies["taught"], accuracies["labels_only"]))
    row = re.search(r"\| taught \| (\S+) ± (\S+) \| (\S+) ± \S+ \|(?: \d+ \|)? 90 \|", page)  # 4·9 + 4 + 4·10 + 10
    assert row is not None
    assert [float(number) for number in row.groups()] == pytest.approx([mean, half, gain], abs=0.006)
    assert str(sweep[0] / "runs") not in page
    (here,) = table_of(sweep[0])["environments"]
    assert re.fullmatch(rf"[A-Za-z]+-\d+(\.\d+){{0,2}}-{here['machine']}(-with-[a-z]+[\d.]+)?", here["platform"])


def test_teachers_are_not_the_student_seeds_networks_and_differ_by_seed(sweep):
    networks = [keras.models.load_model(path) for path in (sweep[0] / "runs").glob("seed_*/teachers/teacher/*.keras")]
    assert len(networks) == 2
    assert not np.array_equal(networks[0].get_weights()[0], networks[1].get_weights()[0])
    assert all(network.count_params() > 500 for network in networks)


def test_a_sweep_that_goes_on_trains_only_what_is_missing(sweep):
    out, first, _ = sweep
    now = files_of(out / "runs")
    assert len(first) == 4  # teacher, its copy in the run that it teaches, and two students
    assert len(now) == 8
    assert {path: now[path] for path in first} == first


def test_a_finished_sweep_writes_only_its_table_again(sweep, tool, capsys):
    out, _, arguments = sweep
    before, table = files_of(out / "runs"), table_of(out)
    (out / "runs" / "methods.json").unlink()
    assert tool.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == table == table_of(out)
    assert files_of(out / "runs") == before


def test_what_leaves_out_zero_is_named_and_all_else_is_within_noise(method_table):
    def row(name, accuracies):
        baseline = {0: 0.80, 1: 0.82, 2: 0.81}
        trained = [
            method_table.Trained(
                seed=seed, accuracy=each, validation_accuracy=0, parameters=1, seconds=1, epochs=1, best_epoch=1
            )
            for seed, each in enumerate(accuracies)
        ]
        return method_table.row_of(trained, baseline, name=name, title=name)

    # Differences in points: +2 ± 0.1, -1 ± 0.1 and 0.3 ± 2; by hand, t(2) = 4.303.
    rows = [
        row("labels_only", [0.80, 0.82, 0.81]),
        row("good", [0.8200, 0.8404, 0.8296]),
        row("bad", [0.7900, 0.8104, 0.7996]),
        row("unclear", [0.80, 0.84, 0.80]),
    ]
    table = method_table.Table(
        command="",
        seeds=(0, 1, 2),
        common={"data": {"dataset": "embedded"}, "student": {"epochs": 1}, "teacher": {}},
        samples={"train": 2, "validation": 2, "test": 2000},
        rows=rows,
        teachers=(),
        environments=(),
    )
    text = "".join(method_table.body(table))
    assert "leaves out zero for good (better), and for bad (worse)" in text
    assert "Within noise are unclear." in text
    # 1.96 · √(0.81 · 0.19 / 2000) = 1.72 points
    assert "± 1.7 points" in text


def test_a_difference_over_fewer_seeds_than_the_table_has_says_so(method_table):
    def row(name, accuracies, baseline):
        trained = [
            method_table.Trained(
                seed=seed, accuracy=each, validation_accuracy=0, parameters=1, seconds=1, epochs=1, best_epoch=1
            )
            for seed, each in accuracies.items()
        ]
        return method_table.row_of(trained, baseline, name=name, title=name)

    baseline = {0: 0.80, 2: 0.82}  # labels only did not stay finite with seed 1
    table = method_table.Table(
        command="",
        seeds=(0, 1, 2),
        common={"data": {"dataset": "embedded"}, "student": {"epochs": 1}, "teacher": {}},
        samples={"train": 2, "validation": 2, "test": 2000},
        rows=[row("labels_only", baseline, {}), row("taught", {0: 0.81, 1: 0.99, 2: 0.83}, baseline)],
        teachers=(),
        environments=(),
    )
    assert "| +1.00 ± 0.00 (of 2 seeds) |" in "".join(method_table.body(table))


def test_the_command_names_the_methods_file_from_the_repository_on_or_as_it_was_given(tool, tmp_path, monkeypatch):
    tools = Path(tool.__file__).parent
    monkeypatch.chdir(tmp_path)
    for given, told in (
        (tools / "methods.yaml", ""),
        (tools / ".." / "tools" / "cifar10.yaml", " --methods-file tools/cifar10.yaml"),
        ("mine.yaml", " --methods-file mine.yaml"),
        ("../my methods.yaml", " --methods-file '../my methods.yaml'"),
    ):
        options = tool._options(["--seeds", "0", "--methods-file", str(given), "--methods", "dkd", "--epochs", "1"])
        command = f"python tools/compare_methods.py --seeds 0{told} --methods dkd --epochs 1"
        assert tool._command(options) == command


def test_a_training_that_does_not_stay_finite_is_reported_and_costs_no_other(tool, tmp_path):
    peers = "note: x, teachers: 0, distill: {way: online, peers: [{architecture: lab_cnn, filters: [4]}], "
    diverging = TINY.replace("note: by logits, distill: {", peers).replace("temperature: 4.0", "weight: 1.0e+30")
    (tmp_path / "methods.yaml").write_text(diverging)
    arguments = ["--out", str(tmp_path / "runs"), "--methods-file", str(tmp_path / "methods.yaml"), "--epochs", "1"]
    assert tool.main([*arguments, "--train-limit", "256", "--seeds", "0"]) == 1
    labels, taught = table_of(tmp_path)["rows"]
    assert labels["mean_accuracy"] > 0
    assert taught["trained"] == []
    assert "not finite" in taught["failures"]["0"]
    assert "did not stay finite" in (tmp_path / "runs" / "methods.md").read_text()


def test_the_projects_methods_are_the_promised_ones_and_each_makes_a_recipe(tool):
    file = tool.read_methods(tool.METHODS_FILE)
    promised = {
        "labels_only", "soft_logits", "attention_transfer", "soft_logits_attention_transfer",
        "soft_logits_fitnet_hint", "soft_logits_cosine", "dkd", "dist", "soft_logits_standardized", "ensemble",
        "mutual_learning", "born_again",
    }  # fmt: skip
    assert promised <= {method.name for method in file.methods}
    recipes = [tool.method_recipe(file, method, seed=4, folder=Path("runs")) for method in file.methods]
    # Equal compute: one student, one number of epochs, one way of making batches.
    assert len({made.student.model_dump_json() for made in recipes}) == 1
    assert len({made.data.model_dump_json() for made in recipes}) == 1
    assert {made.seed for made in recipes} == {4}
    # Training on labels has a new view in every epoch, so what is cached must have one too.
    assert {made.distill.cache.views for made in recipes if made.distill.cache} == {None}
    assert 4 not in {tool.teachers_recipe(file, seed=seed).seed + place for seed in range(9) for place in (0, 1)}


def test_the_results_methods_share_the_teacher_that_comes_along(tool):
    file = tool.read_methods(TOOLS / "results.yaml")
    recipes = [tool.method_recipe(file, method, seed=1, folder=Path("runs")) for method in file.methods]
    assert len({made.student.model_dump_json() for made in recipes}) == 1
    for made in recipes[1:]:
        (teacher,) = made.teacher
        assert teacher.model.endswith(f"/{GIVEN}")
    assert (TOOLS.parent / GIVEN).is_file()


def test_the_methods_on_cifar_10_are_checked_too(tool):
    file = tool.read_methods(TOOLS / "cifar10.yaml")
    assert [method.name for method in file.methods] == ["labels_only", "soft_logits", "dist"]
    recipes = [tool.method_recipe(file, method, seed=0, folder=Path("runs")) for method in file.methods]
    assert len({made.student.model_dump_json() for made in recipes}) == 1


def test_a_given_teacher_is_measured_and_named(sweep, tool):
    out = sweep[0]
    path = out / "runs" / "seed_0" / "teachers" / "teacher" / "model.keras"
    data = api.load_data("embedded", train_limit=64, validation_limit=64, test_limit=500)
    given = tool._given(path, data)
    images, labels = data.test.read(np.arange(500))
    logits = keras.models.load_model(path).predict(images, verbose=0)
    assert given.accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
    table = tool.Table.model_validate_json(
        json.dumps({**table_of(out), "teachers": [], "given_teacher": given.model_dump()})
    )
    page = tool.page(table)
    assert f"One teacher teaches all of them, `{path.as_posix()}` ({given.parameters:,} parameters, " in page
    assert f"{100 * given.accuracy:.2f} % on the test images)" in page


@pytest.mark.parametrize(
    ("document", "arguments", "message"),
    [
        (
            TINY.replace("{architecture: lab_cnn, filters: [8, 8], epochs: 3,", "{model: t.keras, ")
            .replace("optimizer: adam, learning_rate: 0.01}\n  student", "}\n  student")
            .replace("note: by logits", "teachers: 2, note: x"),
            [],
            "the file gives one teacher, 't.keras'",
        ),
        (TINY, ["--methods", "labels"], "unknown method 'labels'. Did you mean 'labels_only'?"),
        (TINY.replace("name: taught", "name: labels_only"), [], "methods of one name"),
        (TINY.replace("loss: soft_logits", "loss: soft_logit"), [], "soft_logit"),
        (TINY.replace("note: by logits", "continues: label_only, note: x"), [], "continues: unknown method"),
        (TINY.replace("note: by logits", "notes: x"), [], "note"),
        ("common: [", [], "not valid YAML"),
    ],
)
def test_methods_that_cannot_be_are_refused_before_any_training(tool, tmp_path, capsys, document, arguments, message):
    (tmp_path / "methods.yaml").write_text(document)
    out = tmp_path / "runs"
    assert tool.main(["--methods-file", str(tmp_path / "methods.yaml"), "--out", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
