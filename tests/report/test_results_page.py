"""The page of results: it says what the records say, whatever that is."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from edgekd import recipe
from edgekd.bench.stats import log_interval
from edgekd.records import Environment, Interval, Latency

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
METHODS = "fashion_mnist/results/methods.json"
QUANTISATION = "fashion_mnist/results/quantisation.json"
LABELS = (0.90, 0.91, 0.905)


@pytest.fixture(scope="module")
def tool(script):
    return script("write_results")


def row(tool, name, accuracies):
    trained = [
        tool.method_table.Trained(
            seed=seed, accuracy=each, validation_accuracy=0, parameters=7, seconds=1, epochs=1, best_epoch=1
        )
        for seed, each in enumerate(accuracies)
    ]
    return tool.method_table.row_of(trained, dict(enumerate(LABELS)), name=name, title=name.replace("_", " "))


@pytest.fixture
def zoo(tool, tmp_path):
    """Records of three methods: one gains 2 points in each seed, one loses 1, one does nothing that can be told."""
    environment = Environment.model_validate(
        json.loads((ROOT / "models" / QUANTISATION).read_text(encoding="utf-8"))["environment"]
    )
    tool.method_table.Table(
        command="python tools/compare_methods.py",
        seeds=(0, 1, 2),
        common={"data": {"dataset": "tfds:fashion_mnist"}, "student": {"epochs": 1}, "teacher": {}},
        samples={"train": 54000, "validation": 6000, "test": 10000},
        rows=[
            row(tool, "labels_only", LABELS),
            row(tool, "dist", np.add(LABELS, (0.020, 0.021, 0.019))),
            row(tool, "bad", np.add(LABELS, (-0.010, -0.011, -0.009))),
            row(tool, "unclear", np.add(LABELS, (-0.010, 0.020, 0.005))),
        ],
        teachers=(),
        environments=(environment,),
    ).write(tmp_path / METHODS)
    shutil.copy(ROOT / "models" / QUANTISATION, tmp_path / QUANTISATION)
    return tmp_path


def test_what_helped_harmed_and_is_noise_is_said_with_intervals(tool, zoo):
    half = 100 * stats.sem((0.020, 0.021, 0.019)) * stats.t.ppf(0.975, 2)
    text = tool.page(zoo)
    assert f"Helped, beyond what seeds explain: dist (+2.00 ± {half:.2f})." in text
    assert f"Harmed: bad (-1.00 ± {half:.2f})." in text
    assert "Cannot be told from no effect: unclear (+0.50" in text
    assert "The largest mean gain is that of dist; paired by seed, its lead on unclear includes zero" in text
    goal = "| taught better than on labels alone, with an interval that leaves out zero | "
    assert f"{goal}+2.00 ± {half:.2f} points (dist) | met |" in text


def test_the_files_accuracy_per_kilobyte_is_reckoned_from_the_records(tool, zoo):
    (family,) = [
        each
        for each in json.loads((zoo / QUANTISATION).read_text(encoding="utf-8"))["families"]
        if each["architecture"] == "resnet"
    ]
    (int8,) = [each for each in family["rows"] if each["name"] == "int8_aware_taught"]
    accuracy = 100 * np.mean(int8["accuracies"])
    kilobytes = int8["size_bytes"] / 1000
    lines = [line for line in tool.page(zoo).splitlines() if line.startswith("| int8, QAT taught |")]
    assert f"| {kilobytes:.1f} | {accuracy / kilobytes:.2f} |" in lines[0]
    assert f"| {accuracy:.2f} ± " in lines[0]


def test_a_ratio_of_latencies_has_the_interval_that_welch_gives_and_hardly_a_wider_one(tool):
    rng = np.random.default_rng(0)
    for seed, (scale, other) in enumerate([(0.02, 0.02), (0.02, 0.3), (0.3, 0.3)]):
        one, two = rng.lognormal(0.5, scale, 10), rng.lognormal(0.0, other, 10)
        latencies = [
            Latency(
                p50=1, p90=None, p95=None, p99=None, minimum=0, mean=1, scaled_mad=None, interval=log_interval(each)
            )
            for each in (one, two)
        ]
        ratio, low, high = map(float, re.findall(r"[\d.]+", tool.quantisation_table.ratio(*latencies)))
        assert ratio == pytest.approx(stats.gmean(one) / stats.gmean(two), abs=0.006), seed
        welch = stats.ttest_ind(np.log(one), np.log(two), equal_var=False).confidence_interval(0.95)
        # Each interval has the quantile of nine degrees of freedom; Welch's of the difference has nine to eighteen.
        widest = stats.t.ppf(0.975, 9) / stats.t.ppf(0.975, 18)
        for found, bound, outwards in ((low, welch.low, -1), (high, welch.high, 1)):
            reach = outwards * (math.log(found) - math.log(ratio)), outwards * (bound - math.log(ratio))
            assert reach[1] - 0.01 < reach[0] < widest * reach[1] + 0.01, seed


def test_a_goal_is_met_for_sure_by_the_estimate_or_missed_and_a_gain_is_no_loss(tool):
    def interval(value, high):
        return Interval(value=value, low=2 * value - high, high=high)

    verdict = tool.quantisation_table.verdict
    assert verdict(interval(-0.001, 0.0005)) == "met"
    assert verdict(interval(0.0005, 0.003)) == "met by the estimate"
    assert verdict(interval(0.002, 0.0029)) == "missed"
    assert verdict(interval(0.002, 0.005)) == "missed by the estimate"
    assert tool.quantisation_table.in_words(interval(-0.0046, -0.0017)) == "gains 0.46 ± 0.29 points"
    assert tool.quantisation_table.in_words(interval(0.0002, 0.0015)) == "loses 0.02 ± 0.13 points"


def test_a_gain_whose_interval_holds_zero_has_not_met_the_goal_to_leave_it_out(tool, zoo):
    table = tool.method_table.Table.read(zoo / METHODS)
    unclear = row(tool, "dist", np.add(LABELS, (-0.010, 0.020, 0.005)))
    table.model_copy(update={"rows": (table.rows[0], unclear, table.rows[2])}).write(zoo / METHODS)
    assert re.search(
        r"with an interval that leaves out zero \| \+0\.50 ± \S+ points \(dist\) \| missed \|", tool.page(zoo)
    )


def keep(summary, folder, **settings):
    """Keeps a run of the quickstart as a zoo does, with the recipe beside it, which may have other settings."""
    ours = recipe.load("quickstart")
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(ours.to_yaml())
    ran = recipe.load("quickstart", overrides=[f"{key}={value}" for key, value in settings.items()])
    (folder / "results" / "settings.json").write_text(ran.to_yaml())
    summary.write(folder / "results" / "summary.json")


def test_runs_of_the_zoo_are_shown_and_the_small_students_goal_is_judged(tool, zoo, summary):
    file = next(each for each in summary.artifacts if (each.format, each.scheme) == ("tflite", "int8"))
    goal = "| a student of at most 100 kB in int8: 94.00 %, or within 0.7 points of its teacher | "
    assert f"{goal}`fashion_mnist/resnet16` was not measured | open |" in tool.page(zoo)
    # The teacher of the records has 94.60 %.
    for accuracy, size, verdict in (
        (0.9500, 100_000, "met"),
        (0.9391, 100_000, "met by the estimate"),
        (0.9389, 90_000, "missed by the estimate"),
        (0.9330, 90_000, "missed"),
        (0.95, 100_001, "missed: too large"),
    ):
        changed = file.model_copy(update={"accuracy": accuracy, "size_bytes": size})
        artifacts = tuple(changed if each is file else each for each in summary.artifacts)
        keep(summary.model_copy(update={"artifacts": artifacts}), zoo / "fashion_mnist/resnet16")
        text = tool.page(zoo)
        low, high = (
            100 * each for each in stats.binomtest(round(accuracy * 10000), 10000).proportion_ci(0.95, "wilson")
        )
        found = (
            f"{100 * accuracy:.2f} % \\[{low:.1f} to {high:.1f} %\\], {size / 1000:.1f} kB "
            "(`fashion_mnist/resnet16`, one seed)"
        )
        assert f"{goal}{found} | {verdict} |" in text
        assert f"| {100 * accuracy:.2f} | {size / 1000:.1f} |\n" in text


def test_what_was_reached_before_the_recipe_was_changed_is_told_with_the_changes(tool, zoo, summary):
    before = summary.model_copy(
        update={"artifacts": tuple(each.model_copy(update={"accuracy": 0.9123}) for each in summary.artifacts)}
    )
    folder = zoo / "fashion_mnist/resnet16"
    keep(before, folder / "results" / "first", **{"student.epochs": 3})
    for each in (folder / "results/first/results").iterdir():
        each.rename(folder / "results/first" / each.name)
    assert "was run once before" not in tool.page(zoo)  # what it came to afterwards is not known
    keep(summary, folder)
    text = tool.page(zoo)
    epochs = recipe.load("quickstart").student.epochs
    assert "its int8 file had 91.23 %; after these test images had been read so, its recipe was changed: " in text
    assert f"changed: `student.epochs` from 3 to {epochs}. " in text
    assert ", at the second try on these images |" in text


def test_settings_that_are_not_the_recipes_stand_beside_its_own(tool, zoo, summary):
    epochs = recipe.load("quickstart").student.epochs
    gains = {"student_distilled": Interval(value=-0.02, low=-0.03, high=-0.01)}
    keep(summary.model_copy(update={"gains": gains}), zoo / "whole")
    model = summary.models["teacher"].model_copy(update={"weights_sha256": "0" * 64})
    keep(summary.model_copy(update={"models": summary.models | {"teacher": model}}), zoo / "other")
    keep(summary, zoo / "short", **{"student.epochs": 1, "data.dataset": "tfds:mnist"})
    text = tool.page(zoo)
    assert f"| `whole` | {summary.data.name} | {epochs} | " in text
    assert f"| `short` | {summary.data.name} (embedded) | 1 ({epochs}) | " in text
    assert (
        "In this one run the taught student was worse than on labels, beyond what the test images explain: `whole`."
        in text
    )
    assert "`other`, `short` and `whole` have one student on labels. `short` and `whole` have one teacher." in text


def test_a_run_that_the_tables_have_already_is_no_other_finding(tool, zoo, summary):
    taught, parameters = LABELS[1] + 0.021, 7  # what `dist` has with seed 1
    for name, seed, accuracy, size in (
        ("a", 1, taught, parameters),
        ("b", 2, taught, parameters),
        ("c", 1, taught + 0.0001, parameters),
        ("d", 1, taught, 8),
    ):
        changes = {"accuracy": accuracy, "parameters": size}
        model = summary.models["student_distilled"].model_copy(update=changes)
        models = summary.models | {"student_distilled": model}
        keep(summary.model_copy(update={"models": models, "seed": seed}), zoo / name)
    text = tool.page(zoo)
    assert " `a` of seed 1 repeats a training of the tables above, and confirms nothing." in text


def test_the_first_look_is_reckoned_from_the_seeds_that_it_had(tool, zoo):
    assert "first written" not in tool.page(zoo)  # of three seeds
    table = tool.method_table.Table.read(zoo / METHODS)
    rows = []
    for each in table.rows:
        more = each.trained[0].model_copy(update={"seed": 3, "accuracy": 0.99})
        labels = {one.seed: one.accuracy for one in (*table.rows[0].trained, more)}
        rows.append(tool.method_table.row_of((*each.trained, more), labels, name=each.name, title=each.title))
    table.model_copy(update={"rows": tuple(rows), "seeds": (0, 1, 2, 3)}).write(zoo / METHODS)
    half = 100 * stats.sem((0.020, 0.021, 0.019)) * stats.t.ppf(0.975, 2)
    assert f"The page was first written after 3 of these 4 seeds, when dist had +2.00 ± {half:.2f}:" in tool.page(zoo)


def test_a_gain_of_exactly_zero_is_larger_than_a_loss(tool, zoo):
    table = tool.method_table.Table.read(zoo / METHODS)
    zero = row(tool, "zero", LABELS)
    table.model_copy(update={"rows": (table.rows[0], table.rows[2], zero)}).write(zoo / METHODS)
    assert "The largest mean gain is that of zero;" in tool.page(zoo)


def test_times_that_scatter_more_than_methods_differ_are_not_shown(tool, zoo):
    table = tool.method_table.Table.read(zoo / METHODS)
    assert re.search(r"\| dist \| 92\.50 ± \S+ \| \+2\.00 ± \S+ \| 1 \| 7 \|", tool.page(zoo))
    first = table.rows[0]
    slow = first.model_copy(
        update={"trained": (first.trained[0].model_copy(update={"seconds": 1.5}), *first.trained[1:])}
    )
    table.model_copy(update={"rows": (slow, *table.rows[1:])}).write(zoo / METHODS)
    text = tool.page(zoo)
    assert "one method's differ by a factor of 1.5 between seeds" in text
    assert re.search(r"\| dist \| 92\.50 ± \S+ \| \+2\.00 ± \S+ \| 7 \|", text)


def test_a_training_without_a_time_leaves_the_times_out_and_is_no_error(tool, zoo):
    table = tool.method_table.Table.read(zoo / METHODS)
    first = table.rows[0]
    untimed = tuple(each.model_copy(update={"seconds": 0.0}) for each in first.trained)
    table.model_copy(update={"rows": (first.model_copy(update={"trained": untimed}), *table.rows[1:])}).write(
        zoo / METHODS
    )
    assert "Times of training are left out: of some trainings none was noted." in tool.page(zoo)


def test_a_record_without_a_row_is_told_in_one_line(tool, zoo, capsys):
    record = json.loads((zoo / QUANTISATION).read_text(encoding="utf-8"))
    for family in record["families"]:
        family["rows"] = [each for each in family["rows"] if each["name"] != "int8"]
    (zoo / QUANTISATION).write_text(json.dumps(record), encoding="utf-8")
    assert (
        tool.main(["--zoo", str(zoo), "--page", str(zoo / "page.md"), "--methods-page", str(zoo / "methods.md")]) == 2
    )
    assert "has no row 'int8'" in capsys.readouterr().err
    assert not (zoo / "page.md").exists()


def test_the_comparison_was_of_the_data_that_the_zoos_runs_had(tool):
    run = tool.Summary.read(ROOT / "models" / tool.STUDENT / tool.SUMMARY)
    assert tool.method_table.Table.read(ROOT / "models" / METHODS).data_fingerprint == run.data.fingerprint


def test_the_pages_in_the_documentation_are_those_of_the_records(tool):
    table = tool.quantisation_table
    written = table.page(table.Results.read(ROOT / "models" / QUANTISATION))
    assert (ROOT / "docs" / "quantisation-results.md").read_text(encoding="utf-8") == written
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == tool.page(ROOT / "models")
    assert (ROOT / "docs" / "methods.md").read_text(encoding="utf-8") == tool.methods_page(ROOT / "models")


def test_a_page_that_is_not_that_of_the_records_is_told(tool, zoo, capsys):
    tool.method_table.Table.read(zoo / METHODS).write(zoo / tool.EMBEDDED)
    pages = zoo / "page.md", zoo / "methods.md"
    arguments = ["--zoo", str(zoo), "--page", str(pages[0]), "--methods-page", str(pages[1])]
    assert tool.main(arguments) == 0
    assert tool.main([*arguments, "--check"]) == 0
    capsys.readouterr()
    for page in pages:
        right = page.read_text(encoding="utf-8")
        page.write_text(right.replace("+2.00", "+9.00", 1), encoding="utf-8")
        assert tool.main([*arguments, "--check"]) == 1
        assert f"{page}: not that of the records" in capsys.readouterr().out
        page.write_text(right, encoding="utf-8")
    (zoo / METHODS).unlink()
    assert tool.main(arguments) == 2
    assert "methods.json" in capsys.readouterr().err
