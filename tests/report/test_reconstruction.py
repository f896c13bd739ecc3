"""The report of networks that give back their inputs: AUC in place of accuracy, errors, and nothing of classes."""

import io
import re

import plotly.graph_objects
import pytest

from edgekd import report
from edgekd.errors import RecipeError
from edgekd.records import Gate, Interval, Reconstruction, Summary
from edgekd.report import (
    document,
    headline,
    markdown,
    merit,
    methods,
    plots,
    requirements,
    seeds,
    soundness,
    stages,
    table,
    tradeoff,
    training,
)
from edgekd.report import html as html_report
from edgekd.report.runs import ReportedRun, opened, read
from edgekd.report.terms import terms
from tests.report.conftest import ANOMALOUS, NORMAL
from tests.report.test_pages import Page, alone, figures_of

COSTS = {cost.key: cost for cost in tradeoff.COSTS}
OF_CLASSES = re.compile(r"accura|agree|confus|predict|\blabels?\b|\bpoints? (above|below|lost)|named", re.IGNORECASE)


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def words_of(summary: Summary) -> tuple[str, str]:
    """Returns the texts of the page and of the Markdown, without what Markdown escapes."""
    page = Page(html_report.render(alone(summary)))
    told = " ".join(value for _, name, value in page.attributes if name in {"aria-label", "alt"})
    return f"{page.text} {told}", re.sub(r"\\(.)", r"\1", markdown.render(alone(summary)))


@pytest.mark.parametrize(
    "expected",
    [
        *("0.912", "0.886 to 0.939", "−0.023", "9.874", "Student alone", "0.871", "+0.018", "11.52"),
        *("0.885", "0.855 to 0.914", "+0.005", "+0.003 to +0.007", "11.61", "27.4", "identical", "138.2"),
        *("+0.018 [+0.009 to +0.027]", "Against the student alone", "AUC by method", "AUC stage by stage"),
        *("27.4 dB", "≥ 25 dB", "0.0047", "≤ 0.01", "0.8847", "≥ 0.85", "Drop of AUC", "sqnr_db"),
        *("+0.041 [+0.039 to +0.043]", "Lost since", "19.6"),  # by hand from the table of conftest.py
        *("0.018 above the student alone (better)", "0.023 below the teacher (worse)", "1.0 × inputs"),
        *("4,998 for the test", "2: normal, anomalous"),
    ],
)
def test_both_pages_show_the_numbers_as_fractions(reconstructing, expected):
    for text in words_of(reconstructing):
        assert expected in text


def test_a_page_says_nothing_of_classes(reconstructing, without_anomalies, summary):
    for told in (reconstructing, without_anomalies):
        for text in words_of(told):
            own = text.replace("student_labels", "")  # the stage's name
            assert OF_CLASSES.findall(own) == []
            assert "None" not in own
    assert all(len(OF_CLASSES.findall(text)) > 20 for text in words_of(summary))


def test_the_page_has_no_predictions_and_says_so_nowhere(reconstructing, tmp_path):
    run = opened(reconstructing, tmp_path)
    assert (run.predictions, run.no_predictions) == (None, "")
    source = html_report.render([run])
    assert 'id="predictions"' not in source
    assert "#predictions" not in source
    assert "earlier version" not in Page(source).text
    told = document.document([run]).runs[0]
    assert (told.confusion, told.no_predictions) == ({}, None)


def test_every_plot_of_the_page_has_words_and_a_figure_that_plotly_accepts(reconstructing, without_anomalies):
    for summary, count in ((reconstructing, 13), (without_anomalies, 7)):
        source = html_report.render(alone(summary))
        page, figures = Page(source), figures_of(source)
        assert {value for tag, name, value in page.attributes if tag == "div" and name == "id"} == set(figures)
        assert page.tags.count("figcaption") == len(figures) == count
        for figure in figures.values():
            plotly.graph_objects.Figure(figure)
    assert "plot-error" in figures
    assert "plot-accuracy" not in figures


def test_tables_of_the_markdown_are_whole(reconstructing, without_anomalies):
    for summary in (reconstructing, without_anomalies):
        lines = markdown.render(alone(summary)).splitlines()
        tables = "\n".join(lines).split("\n\n")
        for found in (each.splitlines() for each in tables if each.startswith("|")):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in found}) == 1


def test_the_text_says_what_the_auc_is_of(reconstructing, without_anomalies):
    grouped = "Samples that belong together are judged by their mean error; it says how well that tells the 264 that"
    assert f"{grouped} are anomalies from the 246 that are normal." in words_of(reconstructing)[0]
    single = reconstructing.data.model_copy(update={"test": NORMAL + ANOMALOUS})
    told = words_of(reconstructing.model_copy(update={"data": single}))[0]
    assert "AUC on 510 test samples that no training of this run saw. It says how well the error of a network" in told
    assert "Mean squared error on 4,998 test samples that no training" in words_of(without_anomalies)[0]


def by_name(summary: Summary) -> dict[str, table.Row]:
    return {row.name: row for row in table.rows(summary)}


def test_rows_have_auc_error_and_signal_to_noise(reconstructing):
    rows = by_name(reconstructing)
    assert list(rows)[:3] == ["Teacher", "Student alone", "Distilled student"]
    assert rows["Teacher"].drop == pytest.approx(0.8894 - 0.9123)
    assert rows["Student alone"].worth == 0.8711
    file = rows["student-int8.tflite"]
    assert (file.worth, file.drop, file.mse, file.ratio) == (0.8847, 0.0047, 11.608, "27.4")
    assert file.worth_interval == interval(0.8847, 0.8847 - 0.0296, 0.8847 + 0.0296)
    assert file.drop_interval == reconstructing.comparisons[1].auc_drop
    assert rows["student-float32.onnx"].ratio == "identical"
    titles = table.headers(reconstructing)
    assert dict(zip(titles, table.cells(file, titles), strict=True)) == {
        "Model": "student-int8.tflite",
        "AUC": "0.885 [0.855 to 0.914]",
        "Drop": "+0.005 [+0.003 to +0.007]",
        "MSE": "11.61",
        "SQNR, dB": "27.4",
        "Parameters": "19,834",
        "MACs": "2.51 M",
        "Size": "29.2 KiB",
        "p50, ms": "0.0731 [0.0698 to 0.0767]",
        "p90, ms": "0.0782",
        "p99, ms": "0.118",
    }


def test_the_signal_to_noise_is_against_the_network_that_a_file_was_made_from(reconstructing):
    (first, *rest) = reconstructing.comparisons
    worse = first.outputs[0].model_copy(update={"sqnr_db": 3.0})
    other = first.model_copy(update={"reference": "student_sparse", "outputs": (worse,)})
    turned = reconstructing.model_copy(update={"comparisons": (other, first, *rest)})
    assert by_name(turned)[first.candidate].ratio == "138.2"
    files = tuple(each.model_copy(update={"source": "student_sparse"}) for each in turned.artifacts)
    assert by_name(turned.model_copy(update={"artifacts": files}))[first.candidate].ratio == "3.0"
    bare = by_name(reconstructing.model_copy(update={"comparisons": ()}))[first.candidate]
    assert (bare.ratio, bare.drop) == (None, None)
    assert table.cells(bare, ("Drop", "SQNR, dB")) == ("not measured", "not measured")


def printed(summary: Summary) -> str:
    file = io.StringIO()
    table.print_to_terminal(summary, file=file)
    return file.getvalue()


def test_the_terminal_has_the_same_columns(reconstructing, without_anomalies, monkeypatch):
    text = printed(reconstructing)
    for expected in ("0.912 ± 0.026", "0.885 ± 0.030", "11.61", "27.4", "identical", "309,450", "+0.005"):
        assert expected in text
    assert "Drop: AUC below the distilled student's; − where a row is above it · SQNR: of a file's outputs" in text
    assert "Accuracy" not in text
    bare = printed(without_anomalies)
    assert "11.61" in bare
    assert "AUC" not in bare
    assert "Drop" not in bare
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("FORCE_COLOR", "1")
    narrow = printed(reconstructing)
    assert "0.885" in narrow
    assert "27.4" in narrow
    assert "19,834" not in narrow


@pytest.mark.parametrize(("high", "expected"), [(1.0, "0.990 [0.950 to 1.000]"), (0.995, "0.990 [0.950 to 0.995]")])
def test_no_auc_reaches_beyond_what_there_can_be(reconstructing, high, expected):
    teacher = reconstructing.models["teacher"]
    near = Reconstruction(mse=1.0, auc=interval(0.99, 0.95, high), normal=NORMAL, anomalous=ANOMALOUS)
    changed = teacher.model_copy(update={"reconstruction": near})
    assert expected in printed(
        reconstructing.model_copy(update={"models": reconstructing.models | {"teacher": changed}})
    )


def test_without_anomalies_errors_stand_alone(without_anomalies):
    assert table.headers(without_anomalies)[:4] == ("Model", "MSE", "SQNR, dB", "Parameters")
    assert methods.methods(alone(without_anomalies)) == ()
    assert all(tradeoff.graph(alone(without_anomalies), cost) is None for cost in tradeoff.COSTS)
    assert document.document(alone(without_anomalies)).fronts == {}
    assert stages.graph(without_anomalies) is None
    assert stages.headers(without_anomalies) == ("Stage", "Came from", "MSE", "SQNR, dB")
    assert stages.rows(without_anomalies)[1] == ("Student alone", "Teacher", "11.52", "19.6")
    page, text = words_of(without_anomalies)
    assert "No graph of AUC against what it costs: there is no AUC without anomalies" in page
    assert 'id="methods"' not in html_report.render(alone(without_anomalies))
    assert "AUC" not in text
    fact = headline.facts(without_anomalies)[0]
    assert (fact.name, fact.value) == ("Distilled student, mean squared error", "11.24")
    assert fact.note == "the student alone: 11.52, the teacher: 9.874"


def test_before_anything_was_verified_nothing_is_made_up(reconstructing):
    bare = {"reconstruction": None}
    unverified = reconstructing.model_copy(
        update={
            "models": {role: model.model_copy(update=bare) for role, model in reconstructing.models.items()},
            "artifacts": tuple(each.model_copy(update=bare) for each in reconstructing.artifacts),
            **{"comparisons": (), "measurements": (), "gates": (), "gains": {}, "stages": (), "layers": ()},
        }
    )
    for text in words_of(unverified):
        assert "not measured" in text
        assert "None" not in text
    assert "No graph of AUC against latency" in words_of(unverified)[0]
    assert headline.facts(unverified)[0].value == "not measured"
    assert soundness.found(ReportedRun(unverified, "a run")) == ()


def test_the_headline_compares_aucs_in_fractions(reconstructing):
    fact = headline.facts(reconstructing)[0]
    assert (fact.name, fact.value) == ("Distilled student, AUC", "0.889")
    assert fact.note == "0.018 above the student alone (better), 0.023 below the teacher (worse)"
    unpaired = reconstructing.model_copy(update={"gains": {}, "stages": ()})
    assert headline.facts(unpaired)[0].note == (
        "0.018 above the student alone (inside its interval), 0.023 below the teacher (inside its interval)"
    )
    equal = reconstructing.models["teacher"].model_copy(update={"role": "student_distilled"})
    models = reconstructing.models | {"student_distilled": equal}
    assert ", equal to the teacher" in headline.facts(unpaired.model_copy(update={"models": models}))[0].note


def gate(name: str, observed: float | None, limit: float) -> Gate:
    return Gate(name=name, passed=True, observed=observed, limit=limit, relation=">=", subject="a file")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [(("sqnr_db", "auc_drop"), "errors and AUCs"), (("beyond_one_lsb",), "errors and AUCs"), (("auc",), None)],
)
def test_the_verdict_says_what_the_gates_do_not(reconstructing, without_anomalies, names, numbers):
    judged = {"gates": tuple(gate(name, 1.0, 0.5) for name in names)}
    told = reconstructing.model_copy(update=judged)
    assert (headline.PROVEN in headline.verdict(told).text) is (numbers is not None)
    limit = headline.limit(told)
    assert limit == "" if numbers is None else f"that these are good: their {numbers} do, and the warnings" in limit
    if numbers:
        assert "good: their errors do" in headline.limit(without_anomalies.model_copy(update=judged))


@pytest.mark.parametrize(
    ("found", "title", "told"),
    [
        (gate("sqnr_db", 27.4456, 25.0), "Signal to noise of the outputs", ("27.45 dB", "≥ 25 dB")),
        (gate("auc_drop", -0.00471, 0.01), "Drop of AUC", ("−0.00471", "≥ 0.01")),
        (gate("auc", 0.88471, 0.85), "AUC", ("0.8847", "≥ 0.85")),
        (gate("auc", None, 0.85), "AUC", ("not measured", "≥ 0.85")),
    ],
)
def test_gates_are_told_in_words_and_units(found, title, told):
    assert requirements.title(found) == title
    assert (requirements.observed(found), requirements.limit(found)) == told
    assert requirements.counted(found) == ""


# By hand from the tables of conftest.py.
@pytest.mark.parametrize(
    ("cost", "names"),
    [
        ("latency", ["student-int8.tflite", "student-float32.onnx"]),
        ("size", ["student-int8.tflite", "student-float32.onnx"]),
        ("memory", ["student-float32.tflite", "student-float32.onnx"]),
    ],
)
def test_the_best_files_are_those_of_the_highest_auc(reconstructing, cost, names):
    (found,) = tradeoff.fronts(alone(reconstructing), COSTS[cost])
    assert [point.artifact.name for point in found.points] == names
    told = document.document(alone(reconstructing)).fronts[cost]
    assert [(point.artifact, point.accuracy) for point in told] == [(name, None) for name in names]
    aucs = {artifact.name: artifact.reconstruction.auc.value for artifact in reconstructing.artifacts}
    assert [point.auc for point in told] == [aucs[name] for name in names]
    assert f"- AUC against {COSTS[cost].name}: {names[0]}; {names[1]}" in markdown.render(alone(reconstructing))


def test_points_lie_at_their_auc_with_the_interval_of_its_drop(reconstructing):
    drawn = tradeoff.graph(alone(reconstructing), COSTS["size"])
    assert drawn["layout"]["yaxis"]["title"]["text"] == "AUC"
    traces = {trace["name"]: trace for trace in drawn["data"]}
    point = traces["TFLite, int8"]
    assert (point["y"], point["error_y"]["array"]) == ([0.8847], [pytest.approx(0.0021)])
    assert "%{y:.3f}<" in point["hovertemplate"]
    assert traces["Student alone"]["y"] == [0.8711]
    assert traces["Student alone"]["error_y"]["arrayminus"] == [pytest.approx(0.0314)]
    assert traces["Pareto front"]["y"] == [0.8847, 0.8894]
    lines = {trace["name"]: trace for trace in tradeoff.graph(alone(reconstructing), COSTS["latency"])["data"]}
    assert lines["Teacher"]["y"] == [0.9123, 0.9123]
    assert "faster and better at finding anomalies" in words_of(reconstructing)[0]


def test_a_document_of_classes_has_accuracies_and_of_others_aucs(summary, reconstructing):
    (first, *_) = document.document(alone(summary)).fronts["size"]
    assert (first.accuracy, first.auc) == (0.8961, None)
    told = document.document(alone(reconstructing))
    assert document.Report.model_validate_json(told.model_dump_json()) == told


def test_stages_have_the_loss_of_auc_and_the_error(reconstructing):
    assert stages.headers(reconstructing) == ("Stage", "Came from", "AUC", "Lost since", "MSE", "SQNR, dB")
    rows = stages.rows(reconstructing)
    assert rows[0] == ("Teacher", "–", "0.912 [0.886 to 0.939]", "–", "9.874", "–")
    # Unlike logits, what two networks give back for one input can be compared, also if they were trained apart.
    assert rows[2][3:] == ("+0.023 [+0.021 to +0.025]", "11.24", "20.2")
    assert rows[5][3:] == ("0.000 [−0.002 to +0.002]", "11.24", "identical")
    drawn = stages.graph(reconstructing)
    assert drawn["layout"]["xaxis"]["title"]["text"] == "AUC lost"
    assert drawn["data"][0]["x"] == [0.0412, 0.0229, 0.0, 0.0047, 0.0]
    assert drawn["data"][0]["text"][3] == "since Distilled student: +0.005, +0.003 to +0.007"


def test_methods_are_told_by_auc(reconstructing):
    found = methods.methods(alone(reconstructing))
    assert methods.headers(merit.AUC) == ("Network", "AUC", "Against the student alone", "In words")
    assert methods.rows(found) == (
        ("Teacher", "0.912 [0.886 to 0.939]", "–", "–"),
        ("Student alone", "0.871 [0.840 to 0.902]", "baseline", "baseline"),
        ("Distilled student", "0.889 [0.860 to 0.918]", "+0.018 [+0.009 to +0.027]", "better"),
    )
    drawn = methods.graph(found)
    assert drawn["data"][0]["x"] == [0.9123, 0.8711, 0.8894]
    assert drawn["layout"]["xaxis"]["title"]["text"] == "AUC"


def seeded(summary: Summary, aucs: dict[str, tuple[float, ...]]) -> list[ReportedRun]:
    runs = []
    for seed in range(3):
        models = {}
        for role, each in aucs.items():
            model = summary.models[role]
            auc = None if model.reconstruction.auc is None else interval(each[seed], each[seed] - 0.1, 1.0)
            changes = {
                "reconstruction": model.reconstruction.model_copy(update={"auc": auc}),
                "weights_sha256": f"{seed}" * 64,
            }
            models[role] = model.model_copy(update=changes)
        runs.append(ReportedRun(summary.model_copy(update={"seed": seed, "models": models}), f"run {seed}"))
    return runs


def test_means_over_seeds_are_of_aucs(reconstructing, without_anomalies):
    aucs = {"student_labels": (0.85, 0.87, 0.88), "student_distilled": (0.86, 0.87, 0.89)}
    runs = seeded(reconstructing, aucs)
    alone_, distilled = seeds.over_seeds(runs)
    # t(0.975, 2) = 4.302653; by hand: means 0.87333333 and 0.00666667, deviations 0.01527525 and 0.00577350.
    assert distilled.accuracy is None
    assert distilled.auc.value == pytest.approx(0.87333333)
    assert distilled.auc.high - distilled.auc.value == pytest.approx(4.302653 * 0.01527525 / 3**0.5, rel=1e-5)
    assert distilled.gain.value - distilled.gain.low == pytest.approx(4.302653 * 0.00577350 / 3**0.5, rel=1e-5)
    assert alone_.gain is None
    assert seeds.headers(merit.AUC)[2:4] == ("Mean AUC", "Mean gain over the student alone")
    row = ("Distilled student", "3", "0.873 [0.835 to 0.911]", "+0.007 [−0.008 to +0.021]", "within noise")
    assert seeds.rows([distilled], merit.AUC) == [row]
    assert "| " + " | ".join(row) + " |" in re.sub(r"\\(.)", r"\1", markdown.render(runs))
    assert "0.873 [0.835 to 0.911]" in Page(html_report.render(runs)).text
    # Without AUCs there are no means, and the report says so.
    bare = seeded(without_anomalies, aucs)
    assert seeds.over_seeds(bare) == ()
    assert seeds.notes(bare)[0].startswith("In no mean over seeds (3 runs), since there are no AUCs: run 0;")


def test_runs_side_by_side_share_table_and_graphs(reconstructing, without_anomalies):
    other = reconstructing.model_copy(
        update={"name": "two", "data": reconstructing.data.model_copy(update={"fingerprint": "cd" * 32})}
    )
    runs = [ReportedRun(reconstructing, "one"), ReportedRun(other, "two")]
    page, text = Page(html_report.render(runs)).text, markdown.render(runs)
    for told in (page, text):
        assert "different data: their errors and AUCs cannot be compared" in told
    assert "| two | student-int8.tflite | 0.885" in text
    assert "AUC on test samples that no training of their run saw." in page
    # Where one of them has AUCs, there are columns for them.
    mixed = [ReportedRun(without_anomalies, "none"), ReportedRun(reconstructing, "one")]
    assert table.headers(*(run.summary for run in mixed)) == table.headers(reconstructing)
    assert "| none | student-int8.tflite | not measured | not measured | 11.61 |" in markdown.render(mixed)
    assert "AUC by method" in html_report.render(mixed)


def test_runs_of_different_tasks_are_refused(summary, reconstructing, tmp_path):
    for name, each in (("classes", summary), ("sounds", reconstructing), ("more", reconstructing)):
        each.model_copy(update={"name": name}).write(tmp_path / name / "summary.json")
    folders = [tmp_path / name for name in ("classes", "sounds", "more")]
    with pytest.raises(RecipeError, match=r"are of different tasks \(.*: report them apart") as raised:
        read(folders)
    assert re.search(r"'[^']*classes': classification; '[^']*sounds', '[^']*more': reconstruction", str(raised.value))
    assert [run.label for run in read(folders[1:])] == ["sounds", "more"]
    paths = report.write(read(folders[1:2]), tmp_path, formats=list(report.FORMATS))
    assert [path.name for path in paths] == ["report.html", "report.md", "report.json"]


def test_how_networks_learned_is_told_without_labels(reconstructing):
    assert training.sentences(reconstructing) == (
        "The teacher is trained to reconstruct.",
        "The student is trained twice: alone, the baseline that distillation must beat, and taught by the teacher.",
    )
    row = reconstructing.curves["teacher"][0]
    assert training.judged(row, merit.AUC) == ("155.6",)  # 9.9 (1 + 40 / e)
    assert "| Epoch | Loss | feature_mse | inputs | Validation loss |" in markdown.render(alone(reconstructing))
    assert "Dashed: validation, the mean squared error." in words_of(reconstructing)[0]


def test_the_validation_errors_of_all_networks_are_drawn_with_room_for_small_ones(reconstructing):
    drawn = plots.error_by_epoch(reconstructing)
    assert [trace["name"] for trace in drawn["data"]] == ["Teacher", "Student alone", "Distilled student"]
    assert drawn["data"][0]["y"] == [row.validation_loss for row in reconstructing.curves["teacher"]]
    assert drawn["layout"]["yaxis"]["title"]["text"] == "mean squared error"
    assert drawn["layout"]["yaxis"]["type"] == "log"
    late = {role: curve[2:] for role, curve in reconstructing.curves.items()}  # from 34 to 11
    assert "type" not in plots.error_by_epoch(reconstructing.model_copy(update={"curves": late}))["layout"]["yaxis"]
    assert plots.error_by_epoch(reconstructing.model_copy(update={"curves": {}})) is None
    curve = reconstructing.curves["student_distilled"]
    assert plots.loss_by_epoch(curve, errors=True)["layout"]["yaxis"]["type"] == "log"
    assert "type" not in plots.loss_by_epoch(curve)["layout"]["yaxis"]


def test_the_terms_are_those_that_are_used(summary, reconstructing, without_anomalies):
    names = {name: dict(terms(told)).keys() for name, told in {"classes": summary, "errors": without_anomalies}.items()}
    assert {"Accuracy", "Drop, points", "Agreement"} <= names["classes"]
    assert not {"AUC", "MSE", "Drop"} & names["classes"]
    assert "MSE" in names["errors"]
    assert not {"AUC", "Drop", "Accuracy", "Agreement"} & names["errors"]
    told = dict(terms(reconstructing))
    assert list(told)[:3] == ["AUC", "Drop", "MSE"]
    assert "0.5 is chance" in told["AUC"]
    assert told["Term"].endswith("such as the error against the input or against the teacher's output.")


def with_auc(summary: Summary, role: str, auc: Interval) -> dict[str, object]:
    model = summary.models[role]
    changed = model.reconstruction.model_copy(update={"auc": auc})
    return {**summary.models, role: model.model_copy(update={"reconstruction": changed})}


def kinds(summary: Summary, **changes: object) -> list[tuple[str, str]]:
    found = soundness.found(ReportedRun(summary.model_copy(update=changes), "a run"))
    return [(each.kind, each.network) for each in found]


def test_a_sound_run_has_no_warning(reconstructing, without_anomalies):
    assert kinds(reconstructing) == kinds(without_anomalies) == []


@pytest.mark.parametrize(("low", "warned"), [(0.501, False), (0.5, True), (0.31, True)])
def test_an_auc_is_held_to_that_of_a_guess(reconstructing, low, warned):
    models = with_auc(reconstructing, "student_labels", interval(0.56, low, 0.62))
    found = kinds(reconstructing, models=models, gains={}, stages=())
    assert found == ([("chance", "student_labels")] if warned else [])


def test_by_chance_says_what_was_seen_in_numbers(reconstructing):
    models = with_auc(reconstructing, "student_labels", interval(0.53, 0.48, 0.58))
    run = ReportedRun(reconstructing.model_copy(update={"models": models}), "a run")
    (warning,) = soundness.found(run, steps={"student_labels": 78})
    assert warning.seen == (
        "Student alone: its error tells the 264 anomalies of the test split from the 246 that are normal with an AUC "
        "of 0.530 [0.480 to 0.580], which is not known to be better than a guess: 0.500."
    )
    assert warning.advice.startswith("It was trained for 8 epochs of 78 steps, 624 in all. Try more epochs")


def stages_with(summary: Summary, drop: Interval) -> tuple[object, ...]:
    return tuple(
        row.model_copy(update={"auc_drop": drop}) if row.name == "student_labels" else row for row in summary.stages
    )


def test_a_teacher_is_held_to_the_student_alone(reconstructing):
    weak = stages_with(reconstructing, interval(-0.05, -0.09, -0.01))
    (warning,) = soundness.found(ReportedRun(reconstructing.model_copy(update={"stages": weak}), "a run"))
    assert (warning.kind, warning.network) == ("weak_teacher", "teacher")
    assert warning.seen == (
        "Teacher: an AUC of 0.912, weaker than the student alone with an AUC of 0.871, −0.050 [−0.090 to −0.010] on "
        "the same test samples."
    )
    # The paired interval decides where there is one; else the two must be apart.
    models = with_auc(reconstructing, "teacher", interval(0.78, 0.74, 0.82))
    undecided = stages_with(reconstructing, interval(-0.05, -0.09, 0.01))
    assert kinds(reconstructing, models=models, stages=undecided) == []
    assert kinds(reconstructing, models=models, stages=()) == [("weak_teacher", "teacher")]
    close = with_auc(reconstructing, "teacher", interval(0.83, 0.80, 0.86))
    assert kinds(reconstructing, models=close, stages=()) == []


def test_a_given_teacher_is_to_be_checked_for_what_it_gets_and_gives(reconstructing):
    given = reconstructing.models["teacher"].model_copy(update={"epochs": None, "best_epoch": None})
    weak = stages_with(reconstructing, interval(-0.05, -0.09, -0.01))
    changed = reconstructing.model_copy(update={"models": {**reconstructing.models, "teacher": given}, "stages": weak})
    (warning,) = soundness.found(ReportedRun(changed, "a run"))
    assert "what it gives back is scaled as the samples are" in warning.advice
    assert "class" not in warning.advice


@pytest.mark.parametrize(("high", "warned"), [(-0.001, True), (0.0, False), (0.004, False)])
def test_a_student_that_teaching_made_worse(reconstructing, high, warned):
    gains = {"student_distilled": interval(-0.02, -0.04, high)}
    assert kinds(reconstructing, gains=gains) == ([("worse_than_labels", "student_distilled")] if warned else [])
    if warned:
        (warning,) = soundness.found(ReportedRun(reconstructing.model_copy(update={"gains": gains}), "a run"))
        assert warning.seen == (
            "Distilled student: an AUC of 0.889, worse than the same student alone with an AUC of 0.871, "
            "−0.020 [−0.040 to −0.001] on the same test samples."
        )
        assert "or the inputs a larger one (distill.labels_weight)" in warning.advice
