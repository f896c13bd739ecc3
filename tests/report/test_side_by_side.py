"""Several runs on one page, and what each method was worth."""

import dataclasses
import itertools
import re

import pytest

from edgekd.errors import StorageError
from edgekd.records import Interval, Machine, Summary
from edgekd.report import document, layers, markdown, merit, methods, seeds, stages, tradeoff
from edgekd.report import html as html_report
from edgekd.report.formatting import NOT_MEASURED
from edgekd.report.runs import ReportedRun, read
from tests.report.test_pages import Page


def renamed(summary: Summary, name: str, **changes) -> ReportedRun:
    return ReportedRun(summary.model_copy(update={"name": name, **changes}), name)


@pytest.fixture(scope="module")
def two(summary: Summary) -> list[ReportedRun]:
    """A run, and one of other seed and names whose files are all better by a point."""
    better = tuple(each.model_copy(update={"accuracy": each.accuracy + 0.01}) for each in summary.artifacts)
    return [renamed(summary, "one"), renamed(summary, "two", artifacts=better, seed=1)]


@pytest.fixture(scope="module")
def source(two: list[ReportedRun]) -> str:
    return html_report.render(two)


def test_ids_are_used_once(source):
    found = re.findall(r'\bid="([^"]*)"', source.partition('<script type="application/json"')[0])
    assert len(found) == len(set(found)) > 30
    assert {"run-1-plot-accuracy", "run-2-plot-accuracy", "plot-latency"} <= set(found)


def test_links_lead_somewhere_and_labels_belong_to_something(source):
    ids = set(re.findall(r'\bid="([^"]*)"', source))
    assert set(re.findall(r'href="#([^"]*)"', source)) <= ids
    assert set(re.findall(r'\b(?:for|aria-labelledby)="([^"]*)"', source)) <= ids


def test_headings_descend_one_level_at_a_time(source):
    levels = [int(level) for level in re.findall(r"<h([1-6])", source.partition("<script")[0])]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_row_says_what_the_filter_asks(source):
    rows = re.findall(r'data-run="(\d)" data-format="(\w+)" data-scheme="(\w*)"', source)
    assert rows.count(("1", "tflite", "int8")) == 1
    assert rows.count(("0", "keras", "")) == 3
    assert len(rows) == 2 * 9
    for name in ("run", "format", "scheme"):
        assert f'name="{name}"' in source


def test_a_front_is_that_of_all_runs_but_of_latencies_that_of_each(two):
    latency, *others = tradeoff.COSTS[:3]
    for cost in others:
        (found,) = tradeoff.fronts(two, cost)
        assert {point.run for point in found.points} == {1}, cost.key
    # All files of the second run are better and as fast; but they were measured at another time. By hand, as alone.
    names = ["student-int8.tflite", "student-float32.onnx"]
    found = [(each.name, [point.artifact.name for point in each.points]) for each in tradeoff.fronts(two, latency)]
    assert found == [("one", names), ("two", names)]
    report = document.document(two)
    assert report.schema_version == 2  # 1 had one front of all latencies
    told = [(each.run, each.artifact) for each in report.fronts["latency"]]
    assert told == [(run, name) for run in ("one", "two") for name in names]
    drawn = tradeoff.graph(two, latency)["data"]
    assert [each["name"] for each in drawn if each["name"].startswith("Pareto") and each.get("showlegend", True)] == [
        "Pareto front of each run"
    ]
    words = "and for latency no other one of the same run,"
    page, text = html_report.render(two), markdown.render(two)
    assert f"No other file, {words} is better in both" in text
    assert "- Accuracy against latency, one: one: student-int8.tflite; one: student-float32.onnx" in text
    assert words in page
    assert page.count('data-front="plot-latency"') == 2
    assert words not in html_report.render(two[:1]) + markdown.render(two[:1])


def test_each_data_has_a_front_of_its_own(two, summary):
    # The second run's files are all better; with other data that says nothing of the first one's. The third shares it.
    data = summary.data.model_copy(update={"fingerprint": "cd" * 32, "name": "photos"})
    other = dataclasses.replace(two[1], summary=two[1].summary.model_copy(update={"data": data}))
    runs = [two[0], other, renamed(summary, "three", data=data)]
    alone = [[point.artifact.name for point in found.points] for found in tradeoff.fronts(two[:1], tradeoff.COSTS[1])]
    (first,) = alone
    for cost in tradeoff.COSTS[1:3]:
        assert [{point.run for point in found.points} for found in tradeoff.fronts(runs, cost)] == [{0}, {1}], cost.key
    traces = [each for each in tradeoff.graph(runs, tradeoff.COSTS[1])["data"] if each.get("meta", {}).get("front")]
    assert [(each["meta"]["group"], len(each["x"])) for each in traces] == [(0, len(first)), (1, len(first))]
    text = markdown.render(runs)
    assert "No other file with the same data, and for latency no other one of the same run, is better in both" in text
    assert f"- Accuracy against size, fashion_mnist: one: {first[0]}; one: {first[1]}" in text
    assert f"- Accuracy against size, photos: two: {first[0]}; two: {first[1]}" in text
    page = html_report.render(runs)
    assert "Of the files shown, no other file with the same data, and for latency no other one" in page
    assert page.count('data-front="plot-size"') == 2
    told = document.document(runs).fronts["size"]
    assert [(each.run, each.dataset_fingerprint) for each in told] == [
        *[("one", summary.data.fingerprint)] * len(first),
        *[("two", data.fingerprint)] * len(first),
    ]


def test_data_of_one_name_are_told_apart_by_their_runs(two, summary):
    data = summary.data.model_copy(update={"fingerprint": "cd" * 32})
    runs = [*two, renamed(summary, "less", data=data)]
    assert [found.name for found in tradeoff.fronts(runs, tradeoff.COSTS[1])] == [
        "fashion_mnist of one and two",
        "fashion_mnist of less",
    ]


def test_what_makes_numbers_hard_to_compare_is_said(two, summary, source):
    assert "These runs have different seeds." in source
    assert "different data" not in source
    data = summary.data.model_copy(update={"fingerprint": "cd" * 32})
    other = html_report.render([two[0], renamed(summary, "other", data=data)])
    assert "different data: their accuracies cannot be compared" in other


MACHINE = Machine(system="Linux 6.1", architecture="x86_64", cpu="mine", logical_cores=2, memory_bytes=2**33)


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ({}, {}, ", on machines that are not all known"),  # as of two runs of an early version
        ({"machine": MACHINE}, {}, ", on machines that are not all known"),
        ({"machine": MACHINE}, {"machine": MACHINE}, ""),
        ({"machine": MACHINE}, {"machine": MACHINE.model_copy(update={"system": "Linux 6.2", "memory_bytes": 1})}, ""),
        ({"machine": MACHINE}, {"machine": MACHINE.model_copy(update={"cpu": "board"})}, ", on different machines"),
        ({"machine": MACHINE}, {"machine": MACHINE.model_copy(update={"logical_cores": 4})}, ", on different machines"),
        (
            {"machine": MACHINE, "target": "local"},
            {"machine": MACHINE, "target": "ssh://pi", "num_threads": 4},
            ", on different targets (local and ssh://pi), with different numbers of threads (1 and 4)",
        ),
        (
            {"machine": MACHINE, "batch": 8},
            {"machine": MACHINE, "mode": "periodic", "interval_ms": 50.0},
            ", with different batches (8 and the file's own), in different modes (back to back and periodic by 50 ms)",
        ),
    ],
)
def test_what_latencies_do_not_share_is_said(summary, here, there, words):
    first = [each for each in summary.measurements if each.num_threads == 1]
    runs = [
        renamed(summary, name, measurements=tuple(each.model_copy(update=update) for each in first))
        for name, update in (("a", here), ("b", there))
    ]
    (found,) = document.document(runs).notes
    how = f"at different times{words}"
    if "," in words:  # the last of several is joined by `and`
        how = " and ".join(how.rsplit(", ", 1))
    advice = "" if words else " edgekd bench --compare measures files together."  # which puts no two machines together
    assert found == f"Latencies were measured {how}: they cannot be compared.{advice}"
    assert document.document(runs[:1]).notes == ()
    assert len(tradeoff.fronts(runs, tradeoff.COSTS[0])) == 2  # each run's own, whatever the other is


def test_a_run_without_latencies_is_no_other_time_of_measuring(two):
    bare = dataclasses.replace(two[1], summary=two[1].summary.model_copy(update={"measurements": (), "seed": 0}))
    assert document.document([two[0], bare]).notes == ()
    assert [each.name for each in tradeoff.fronts([two[0], bare], tradeoff.COSTS[0])] == ["one"]


def test_files_of_a_run_that_were_measured_in_two_ways_are_not_ranked(summary):
    """As where one file was measured with two threads only."""
    kept = [each for each in summary.measurements if each.num_threads == 2 or each.artifact != "student-int8.onnx"]
    run = renamed(summary, "one", measurements=tuple(kept))
    words = "Latencies were measured with different numbers of threads (1 and 2): they cannot be compared."
    found = document.document([run])
    assert found.fronts.keys() == {"size", "memory"}
    assert found.notes == (words,)
    other = renamed(summary, "two")
    assert [each.name for each in tradeoff.fronts([run, other], tradeoff.COSTS[0])] == ["two"]
    page, text = html_report.render([run, other]), markdown.render([run, other])
    shown = "with different numbers of threads (1 and 2): they cannot be compared."
    assert shown in page
    assert shown in text


def test_the_markdown_has_a_row_for_each_model_of_each_run(two):
    text = markdown.render(two)
    assert text.startswith("# 2 runs side by side\n")
    assert len(re.findall(r"^\| one \| ", text, flags=re.MULTILINE)) == 9
    assert "| two | student-int8.tflite | 90.61 % |" in text
    assert text.count("\n## Gates\n") == 2


def test_of_many_runs_the_page_stays_small(summary):
    few = [renamed(summary, f"run {number}") for number in range(html_report.MOST_DETAILED)]
    many = [*few, renamed(summary, "one more")]
    for runs in (few, many):
        assert len(html_report.render(runs).encode()) <= 6_000_000
    assert 'id="run-1-run"' not in html_report.render(many)
    assert "Of so many runs only what they have in common is shown" in html_report.render(many)


def test_details_that_would_make_the_page_too_large_are_left_out(two, monkeypatch):
    monkeypatch.setattr(html_report, "MOST_BYTES", len(html_report.render(two).encode()) - 1)
    assert "Of so many runs only what they have in common is shown" in html_report.render(two)
    assert "Of so many runs" not in html_report.render(two[:1])


def test_runs_are_told_apart_by_the_shortest_name(summary, tmp_path):
    for folder, name, seed in (("a", "quick", 0), ("b", "quick", 1), ("c", "slow", 0), ("d", "slow", 0)):
        summary.model_copy(update={"name": name, "seed": seed}).write(tmp_path / folder / "summary.json")
    labels = {
        folders: [run.label for run in read([tmp_path / folder for folder in folders])]
        for folders in ("a", "ac", "ab", "acd")
    }
    assert labels == {
        "a": ["quick"],
        "ac": ["quick", "slow"],
        "ab": ["quick, seed 0", "quick, seed 1"],
        "acd": ["a", "c", "d"],
    }
    for parent in ("x", "y"):
        summary.write(tmp_path / parent / "run" / "summary.json")
    assert [run.label for run in read([tmp_path / "x" / "run", tmp_path / "y" / "run"])] == ["x/run", "y/run"]
    with pytest.raises(StorageError, match="named twice"):
        read([tmp_path / "a", tmp_path / "a" / "summary.json"])


def test_gains_are_said_with_their_interval_and_in_words(summary):
    found = {method.role: method for method in methods.methods([renamed(summary, "one")])}
    (row,) = methods.rows([found["student_distilled"]])
    assert row == ("Distilled student", "89.93 % [88.8 to 91.1 %]", "+0.43 [−0.18 to +1.04]", "within noise")
    assert methods.rows([found["student_labels"]])[0][2:] == ("baseline", "baseline")
    assert methods.rows([found["teacher"]])[0][2:] == ("–", "–")
    assert methods.in_words(Interval(value=0.02, low=0.01, high=0.03)) == "better"
    assert methods.in_words(Interval(value=-0.02, low=-0.03, high=-0.01)) == "worse"


def seeded(summary: Summary, accuracies: dict[str, tuple[float, ...]]) -> list[ReportedRun]:
    """Returns runs with seeds 0, 1, ... whose networks have these accuracies, and weights of their own."""
    found = []
    for seed in range(3):
        models = {
            role: summary.models[role].model_copy(update={"accuracy": each[seed], "weights_sha256": f"{seed}" * 64})
            for role, each in accuracies.items()
        }
        found.append(renamed(summary, "one", seed=seed, models=models))
    return found


def test_means_over_seeds_have_intervals_of_their_own(summary):
    runs = seeded(summary, {"student_labels": (0.88, 0.9, 0.91), "student_distilled": (0.89, 0.9, 0.92)})
    labels, distilled = seeds.over_seeds(runs)
    # t(0.975, 2) = 4.302653, and standard deviations by hand: 0.01527525 of accuracies, 0.00577350 of gains.
    assert distilled.accuracy.value == pytest.approx(0.90333333)
    assert distilled.accuracy.high - distilled.accuracy.value == pytest.approx(4.302653 * 0.01527525 / 3**0.5, rel=1e-5)
    assert distilled.gain.value == pytest.approx(0.02 / 3)
    assert distilled.gain.value - distilled.gain.low == pytest.approx(4.302653 * 0.00577350 / 3**0.5, rel=1e-5)
    assert labels.gain is None
    row = ("Distilled student", "3", "90.33 % [86.5 to 94.1 %]", "+0.67 [−0.77 to +2.10]", "within noise")
    assert seeds.rows([distilled], merit.ACCURACY) == [row]
    assert "| " + " | ".join(row) + " |" in re.sub(r"\\(.)", r"\1", markdown.render(runs))
    assert "Means over seeds" in html_report.render(runs)


def test_too_few_seeds_or_a_teacher_that_is_the_same_have_no_mean(summary):
    runs = seeded(summary, {"teacher": (0.9, 0.9, 0.9), "student_distilled": (0.89, 0.9, 0.92)})
    same = [
        dataclasses.replace(
            run,
            summary=run.summary.model_copy(
                update={"models": {**run.summary.models, "teacher": summary.models["teacher"]}}
            ),
        )
        for run in runs
    ]
    assert [each.role for each in seeds.over_seeds(same)] == ["student_distilled"]
    assert seeds.over_seeds(runs[:2]) == ()
    again = dataclasses.replace(runs[2], summary=runs[2].summary.model_copy(update={"seed": 0}))
    assert seeds.over_seeds([*runs[:2], again]) == ()
    assert "Means over seeds" not in html_report.render(runs[:2])


def with_label(run: ReportedRun, label: str, **changes) -> ReportedRun:
    return dataclasses.replace(run, label=label, summary=run.summary.model_copy(update=changes))


@pytest.mark.parametrize("known", [True, False], ids=["settings known", "of an earlier version"])
def test_a_run_of_other_settings_makes_no_mean_of_three_and_is_named(summary, known):
    base = seeded(summary, {"student_labels": (0.88, 0.9, 0.91), "student_distilled": (0.89, 0.9, 0.92)})
    same = [with_label(run, f"run {seed}", experiment_sha256="aa" if known else None) for seed, run in enumerate(base)]
    assert [each.runs for each in seeds.over_seeds(same)] == [("run 0", "run 1", "run 2")] * 2
    assert document.document(same).over_seeds == seeds.over_seeds(same)
    longer = {role: model.model_copy(update={"epochs": 20}) for role, model in same[1].summary.models.items()}
    # Of another learning rate only the hash knows; without one, at least other epochs are seen.
    change = {"experiment_sha256": "bb"} if known else {"models": longer}
    other = with_label(same[1], "run 1", **change)
    runs = [same[0], other, same[2]]
    assert seeds.over_seeds(runs) == ()
    told = "(3 runs), since fewer than 3 seeds have the same settings and teacher: run 0; run 1; run 2."
    source, text = html_report.render(runs), markdown.render(runs)
    assert "Means over seeds" not in source
    for page in (source, text):
        assert told in page
        assert ("kept no hash of the settings (3 runs)" in page) is not known
    assert {each.reason for each in document.document(runs).not_in_means} == {"other_settings"}
    # One more run makes a mean again; what is left out of it is still named.
    more = [*runs, with_label(same[1], "run 1 as the others")]
    assert [each.runs for each in seeds.over_seeds(more)] == [("run 0", "run 2", "run 1 as the others")] * 2
    assert [each.run for each in document.document(more).not_in_means] == ["run 1"]


def test_of_a_seed_the_first_run_counts_and_the_others_are_named(summary):
    runs = seeded(summary, {"student_distilled": (0.89, 0.9, 0.92)})
    runs = [with_label(run, f"run {seed}", experiment_sha256="aa") for seed, run in enumerate(runs)]
    again = with_label(runs[2], "again", seed=0)
    (mean,) = seeds.over_seeds([*runs, again])
    assert mean.runs == ("run 0", "run 1", "run 2")
    assert "(1 run), since of runs with the same settings and seed the first counts: again." in markdown.render(
        [*runs, again]
    )
    models = {role: model.model_copy(update={"accuracy": None}) for role, model in runs[2].summary.models.items()}
    unverified = with_label(runs[2], "stopped", seed=4, models=models)
    assert [each.reason for each in seeds.left_out([*runs, unverified])] == ["not_verified"]


def test_a_given_teacher_of_other_weights_makes_another_experiment(summary):
    runs = seeded(summary, {"teacher": (0.9, 0.9, 0.9), "student_distilled": (0.89, 0.9, 0.92)})

    def given(run: ReportedRun, weights: str) -> ReportedRun:
        teacher = run.summary.models["teacher"].model_copy(update={"epochs": None, "weights_sha256": weights})
        return with_label(run, run.label, experiment_sha256="aa", models={**run.summary.models, "teacher": teacher})

    assert [each.role for each in seeds.over_seeds([given(run, "cc") for run in runs])] == ["student_distilled"]
    assert seeds.over_seeds([given(run, weights) for run, weights in zip(runs, ("cc", "cc", "dd"), strict=True)]) == ()


def test_dots_lie_at_accuracies_with_their_intervals(summary):
    (trace,) = methods.graph(methods.methods([renamed(summary, "one")]))["data"]
    assert trace["y"] == ["Teacher", "Student on labels", "Distilled student"]
    assert trace["x"] == pytest.approx([92.31, 89.5, 89.93])
    assert trace["error_x"]["array"] == pytest.approx([1.17] * 3)
    assert trace["error_x"]["arrayminus"] == pytest.approx([1.17] * 3)


def test_stages_say_what_was_lost_since_which(summary):
    rows = {row[0]: row for row in stages.rows(summary)}
    assert rows["Distilled student"][1:] == (
        *("Teacher", "89.93 % [89.3 to 90.5 %]", "+2.38 [+2.24 to +2.52]", "97.62 %", "–"),
    )
    file = next(row for row in summary.stages if row.name == "student-int8.tflite")
    assert rows[file.name][5] == "24.2"
    changes = {"ratio": {"sqnr_db": -3.94}, "same": {"sqnr_db": None, "identical": True}, "none": {"sqnr_db": None}}
    told = {name: stages.ratio(file.model_copy(update=change)) for name, change in changes.items()}
    assert told == {"ratio": "−3.9", "same": "identical", "none": None}
    # a network made of the one before it is that network, rounded or pruned
    made = {"kind": "network", "before": "student_distilled"}
    for name, expected in (("student_quantized", "24.2"), ("student_sparse", "24.2"), ("peer", None)):
        assert stages.ratio(file.model_copy(update={**made, "name": name})) == expected
    assert rows["Teacher"][1:] == ("–", "92.31 % [91.7 to 92.9 %]", "–", "–", "–")
    (trace,) = stages.graph(summary)["data"]
    assert trace["y"][1:3] == ["Distilled student", "student-<br>float32.tflite"]
    assert trace["x"][1] == pytest.approx(2.38)


def test_layers_show_where_the_error_comes_in(summary):
    (trace,) = layers.graph(summary)["data"]
    assert trace["y"] == [41.2, 30.5, 31.0]
    (row,) = layers.rows(summary)
    assert row == (*("student-int8.tflite", "Distilled student", "3", "31.0", "30.5, block2", "0.75, block3"),)
    assert layers.operators(summary.layers[0])[1] == ("2 CONV_2D", "block2", "30.5", "35.5", "0.5")
    assert "2 CONV_2D block2 30.5 35.5 0.5" in Page(html_report.render([renamed(summary, "one")])).text
    exact = summary.layers[0].rows[1].model_copy(update={"sqnr_db": None, "identical": True})
    equal = summary.layers[0].model_copy(update={"rows": (*summary.layers[0].rows, exact)})
    changed = summary.model_copy(update={"layers": (equal,)})
    assert layers.graph(changed)["data"][0]["y"] == [41.2, 30.5, 31.0, None]
    assert layers.rows(changed)[0][3] == "identical"
    assert layers.operators(equal)[3][2] == "identical"
    for excess, told in ((0.0, "identical"), (None, NOT_MEASURED), (0.5, NOT_MEASURED)):
        alone = exact.model_copy(update={"local_sqnr_db": None, "excess": excess})
        assert layers.operators(equal.model_copy(update={"rows": (alone,)}))[0][3] == told
    only = summary.model_copy(update={"layers": (equal.model_copy(update={"rows": (exact,)}),)})
    assert layers.graph(only) is None
    unknown = equal.model_copy(update={"rows": (exact.model_copy(update={"identical": False}),)})
    assert layers.rows(summary.model_copy(update={"layers": (unknown,)}))[0][3:5] == (NOT_MEASURED, NOT_MEASURED)
    assert layers.rows(only)[0][3:] == ("identical", "identical", "0.5, block2")
    for text in (html_report.render([renamed(summary, "one")]), markdown.render([renamed(summary, "one")])):
        assert "student-int8.onnx: it has a strange operator." in text


def test_what_a_run_does_not_have_is_left_out_with_a_word_why(summary):
    old = renamed(summary, "one", stages=(), layers=(), gains={}, measurements=())
    source = html_report.render([old])
    assert "set <code>verify.layer_samples</code>" in source
    assert "No graph of accuracy against latency or measured memory: that was not measured." in source
    assert 'id="stages"' not in source
    assert dataclasses.replace(old).no_predictions in source
