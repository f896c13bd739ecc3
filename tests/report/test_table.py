import io

import pytest

from edgekd.report import latency, table


def by_name(summary):
    return {row.name: row for row in table.rows(summary)}


def texts_of(summary, row):
    return table.cells(row, table.headers(summary))


def test_the_rows_are_teacher_students_and_every_file_in_order(summary):
    names = [row.name for row in table.rows(summary)]
    assert names[:3] == ["Teacher", "Student on labels", "Distilled student"]
    assert names[3:] == [artifact.name for artifact in summary.artifacts]


def test_further_teachers_stand_with_the_first_and_companions_after_the_student(summary):
    models = dict(summary.models)
    for role in ("peer_1", "generation_1", "teacher_2"):
        models[role] = models["teacher"].model_copy(update={"role": role, "architecture": "lab_cnn", "macs": None})
    names = [row.name for row in table.rows(summary.model_copy(update={"models": models}))]
    assert names[:6] == [
        "Teacher",
        "Teacher 2 (lab_cnn)",
        "Student on labels",
        "Distilled student",
        "Generation 1 (lab_cnn)",
        "Peer 1 (lab_cnn)",
    ]


def test_the_order_does_not_depend_on_the_order_of_the_models(summary):
    turned = summary.model_copy(update={"models": dict(reversed(summary.models.items()))})
    assert table.rows(turned) == table.rows(summary)


def test_drops_are_against_the_distilled_student(summary):
    rows = by_name(summary)
    assert rows["Teacher"].drop == pytest.approx(0.8993 - 0.9231)
    assert rows["Student on labels"].drop == pytest.approx(0.8993 - 0.895)
    assert rows["student-int8.onnx"].drop == 0.0035
    assert rows["student-int8.onnx"].drop_interval == summary.comparisons[-1].accuracy_drop
    assert rows["Distilled student"].is_reference
    assert sum(row.is_reference for row in rows.values()) == 1


def test_a_file_has_the_size_and_latency_of_its_own_and_the_macs_of_its_model(summary):
    row = by_name(summary)["student-int8.tflite"]
    assert (row.size_bytes, row.parameters, row.macs) == (29_864, 19_834, 2_512_384)
    assert row.latency == summary.measurements[6].latency_ms
    assert summary.measurements[6].artifact == row.name
    assert row.num_threads == 1


def test_the_latency_is_that_of_the_fewest_threads(summary):
    turned = summary.model_copy(update={"measurements": tuple(reversed(summary.measurements))})
    assert {row.num_threads for row in table.rows(turned) if row.kind == "file"} == {1}


def test_latencies_of_two_machines_are_never_side_by_side(summary):
    """A file that was not measured where the others were has no latency beside theirs."""
    name = summary.artifacts[0].name
    moved = tuple(
        each.model_copy(update={"target": "ssh://pi@board"}) if each.artifact == name else each
        for each in summary.measurements
    )
    ordered = tuple(sorted(moved, key=lambda each: each.target))  # this machine first
    rows = by_name(summary.model_copy(update={"measurements": ordered}))
    assert rows[name].latency is None
    assert all(rows[each.name].latency is not None for each in summary.artifacts[1:])


def test_cells_say_the_numbers_with_their_intervals(summary):
    row = by_name(summary)["student-int8.tflite"]
    assert dict(zip(table.headers(summary), texts_of(summary, row), strict=True)) == {
        "Model": "student-int8.tflite",
        "Accuracy": "89.61 % [89.0 to 90.2 %]",
        "Drop, points": "+0.32 [+0.18 to +0.46]",
        "Agreement": "98.74 % [98.5 to 98.9 %]",
        "Parameters": "19,834",
        "MACs": "2.51 M",
        "Size": "29.2 KiB",
        "p50, ms": "0.0731 [0.0698 to 0.0767]",
        "p90, ms": "0.0782",
        "p99, ms": "0.118",
    }
    assert texts_of(summary, by_name(summary)["Teacher"])[1] == "92.31 % [91.1 to 93.5 %]"
    # Of a file it is that of its stage: without one, or where that has another accuracy, as in another runtime, none.
    for stages in ((), [each.model_copy(update={"accuracy": summary.stages[0].accuracy}) for each in summary.stages]):
        changed = summary.model_copy(update={"stages": tuple(stages)})
        assert texts_of(changed, by_name(changed)["student-int8.tflite"])[1] == "89.61 %"


def test_nothing_measured_is_neither_zero_nor_none(unmeasured):
    for row in table.rows(unmeasured):
        texts = texts_of(unmeasured, row)
        assert texts[1] == "not measured"
        assert texts[7:] == ("not measured",) * 3
        assert "None" not in " ".join(texts)


def test_of_too_few_runs_there_is_no_p99_which_is_not_said_to_be_unmeasured(summary, unmeasured):
    few = tuple(
        each.model_copy(update={"latency_ms": each.latency_ms.model_copy(update={"p99": None})})
        for each in summary.measurements
    )
    short = summary.model_copy(update={"measurements": few})
    assert {texts_of(short, row)[9] for row in table.rows(short) if row.kind == "file"} == {"too few runs"}
    assert {texts_of(short, row)[9] for row in table.rows(short) if row.kind == "model"} == {"not measured"}
    assert latency.cells(few[0])[latency.HEADERS.index("p99, ms")] == "too few runs"
    # A target that gives no percentiles at all does not tell this one either, however many runs there were.
    untold = few[0].latency_ms.model_copy(update={"p90": None, "p95": None})
    assert latency.cells(few[0].model_copy(update={"latency_ms": untold}))[7] == "not measured"
    told = io.StringIO()
    table.print_to_terminal(short, file=told)
    words = " ".join(told.getvalue().split())
    assert words.count(" too few ") == len(short.artifacts)
    assert "– not measured · too few: runs for p99 · ±" in words
    for other in (summary, unmeasured):
        told = io.StringIO()
        table.print_to_terminal(other, file=told)
        assert "too few" not in told.getvalue()


def test_of_fewer_than_three_processes_there_is_no_interval(summary):
    bare = summary.measurements[0].latency_ms.model_copy(update={"interval": None})
    texts = latency.cells(summary.measurements[0].model_copy(update={"latency_ms": bare}))
    assert texts[latency.HEADERS.index("Interval of p50, ms")] == "too few processes"


def test_the_narrow_table_of_measurements_has_every_text_of_the_wide_one(summary):
    for measurement in summary.measurements:
        shown = [text for texts in latency.columns(measurement) for text in texts if text]
        assert sorted(", ".join(shown).split(", ")) == sorted(", ".join(latency.cells(measurement)).split(", "))
    assert [len(below) for _, below in latency.COLUMNS] == [2, 0, 1, *([0] * 7), 1]


def test_a_run_without_a_distilled_student_has_no_drop(summary):
    models = {role: model for role, model in summary.models.items() if role != "student_distilled"}
    rows = table.rows(summary.model_copy(update={"models": models}))
    assert rows[0].drop is None
    assert rows[-1].parameters is None


def test_a_file_that_is_not_a_terminal_gets_every_column(summary):
    file = io.StringIO()
    table.print_to_terminal(summary, file=file)
    text = file.getvalue()
    for row in table.rows(summary):
        assert row.name in text
    for expected in (
        "92.31 ± 1.17 %",
        "89.61 ± 0.60 %",
        "309,450",
        "29.2 KiB",
        "0.0731 ± 0.0035",
        "0.118",
        "− 2.38".replace(" ", ""),
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    # As of the README's int8 file, which reaches 0.0091 down and 0.0033 up (its half is 0.0062); and of a busy machine.
    [(0.132, 0.1229, 0.1353, "0.132 ± 0.009 "), (0.0949, 0.0423, 0.58, "0.0949 [0.0423 to 0.580]")],
)
def test_plus_or_minus_is_the_longer_side_of_an_interval_and_says_so(summary, value, low, high, expected):
    (first, *rest) = summary.measurements
    interval = first.latency_ms.interval.model_copy(update={"value": value, "low": low, "high": high})
    latency = first.latency_ms.model_copy(update={"p50": value, "interval": interval})
    file = io.StringIO()
    changed = (first.model_copy(update={"latency_ms": latency}), *rest)
    table.print_to_terminal(summary.model_copy(update={"measurements": changed}), file=file)
    assert expected in file.getvalue()
    assert "± longer side of the 95 % interval" in file.getvalue()


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (1.0, 0.9124, 1.0, "100.00 % [91.2 to 100.0 %]"),
        (0.98, 0.89, 0.999, "98.00 % [89.0 to 99.9 %]"),
        (0.0, 0.0, 0.05, "0.00 % [0.0 to 5.0 %]"),
        (0.9, 0.88, 0.915, "90.00 ± 2.00 %"),
    ],
)
def test_no_accuracy_reaches_beyond_what_there_can_be(summary, value, low, high, expected):
    interval = summary.models["teacher"].accuracy_interval.model_copy(update={"value": value, "low": low, "high": high})
    teacher = summary.models["teacher"].model_copy(update={"accuracy": value, "accuracy_interval": interval})
    file = io.StringIO()
    table.print_to_terminal(summary.model_copy(update={"models": summary.models | {"teacher": teacher}}), file=file)
    assert expected in file.getvalue()


def test_what_a_drop_is_of_is_said_wherever_one_stands(summary):
    file = io.StringIO()
    table.print_to_terminal(summary, file=file)
    assert "Drop: accuracy below the distilled student's; − where a row is above it" in file.getvalue()


def test_columns_that_nothing_fills_are_left_out(summary):
    """As after `edgekd train`, which reads no test split and writes no file."""
    teacher = summary.models["teacher"].model_copy(update={"accuracy": None, "accuracy_interval": None, "macs": None})
    alone = summary.model_copy(update={"models": {"teacher": teacher}, "artifacts": (), "comparisons": ()})
    file = io.StringIO()
    table.print_to_terminal(alone, file=file)
    assert file.getvalue().split() == ["Model", "Parameters", "─" * 19, "Teacher", "309,450"]


def test_a_narrow_terminal_gets_whole_cells_of_the_main_columns(summary, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    table.print_to_terminal(summary, file=file)
    text = file.getvalue()
    for expected in ("student-dynamic_int8.tflite", "89.87 %", "+0.06", "99.31 %", "30.3 KiB", "0.119"):
        assert expected in text
    assert "19,834" not in text


def test_names_are_printed_as_they_are(summary):
    artifact = summary.artifacts[0].model_copy(update={"name": "[bold]student[/bold]"})
    file = io.StringIO()
    table.print_to_terminal(summary.model_copy(update={"artifacts": (artifact,)}), file=file)
    assert "[bold]student[/bold]" in file.getvalue()
