"""Where a record shows that a training went wrong: networks that learned nothing, and teachers that made it worse."""

import numpy as np
import pytest

from edgekd.predictions import Predictions
from edgekd.records import Interval, ModelRecord, Summary, TrainingWarning
from edgekd.report import document, html, markdown, soundness
from edgekd.report.runs import ReportedRun
from tests.report.test_pages import Page

LABELS = np.repeat(np.arange(10), 20)


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high)


def run_of(
    summary: Summary, *, labels: np.ndarray = LABELS, named: dict[str, np.ndarray] | None = None, **changes: object
) -> ReportedRun:
    """Returns a run whose networks name every sample right but for those that are given."""
    classes = dict.fromkeys(summary.models, labels) | (named or {})
    return ReportedRun(summary.model_copy(update=changes), "a run", Predictions(labels, classes))


def with_accuracy(summary: Summary, role: str, accuracy: Interval) -> dict[str, ModelRecord]:
    changed = {"accuracy": accuracy.value, "accuracy_interval": accuracy}
    return {**summary.models, role: summary.models[role].model_copy(update=changed)}


def kinds(run: ReportedRun) -> list[tuple[str, str]]:
    return [(each.kind, each.network) for each in soundness.found(run)]


def test_a_sound_run_has_no_warning(summary: Summary) -> None:
    assert soundness.found(run_of(summary)) == ()


@pytest.mark.parametrize(
    ("low", "largest", "warned"),
    [(0.31, 60, False), (0.30, 60, True), (0.29, 60, True), (0.29, 20, False)],  # of 200 samples: 30 % and 10 %
)
def test_an_accuracy_is_held_to_the_most_frequent_class(
    summary: Summary, low: float, largest: int, warned: bool
) -> None:
    labels = np.concatenate([np.full(largest, 4), np.arange(200 - largest) % 4])
    if largest == 20:
        labels = LABELS
    models = with_accuracy(summary, "student_labels", interval(0.35, low, 0.42))
    run = run_of(summary, labels=labels, models=models, gains={}, stages=())
    labelled = np.bincount(labels).max() / 200
    assert labelled == pytest.approx({60: 0.3, 20: 0.1}[largest])
    assert kinds(run) == ([("chance", "student_labels")] if warned else [])


def test_by_chance_says_what_was_seen_in_numbers(summary: Summary) -> None:
    labels = np.concatenate([np.full(60, 4), np.arange(140) % 4])
    models = with_accuracy(summary, "student_labels", interval(0.31, 0.25, 0.378))
    (warning,) = soundness.found(run_of(summary, labels=labels, models=models), steps={"student_labels": 2})
    assert warning.seen == (
        "Student on labels: 31.00 % of the 200 test samples are named right [25.0 to 37.8 %], which is not known to be "
        "better than always naming “Coat”: 30.00 %."
    )
    assert warning.advice == (
        "It was trained for 8 epochs of 2 steps, 16 in all, which is few. Try smaller batches (data.batch_size), which "
        "make more steps, more epochs (student.epochs), or a lower learning rate (student.learning_rate)."
    )


@pytest.mark.parametrize(
    ("epochs", "steps", "told"),
    [
        (40, 18, "40 epochs of 18 steps, 720 in all. Try more epochs"),  # what the guide to a few hundred images tried
        (500, 18, "500 epochs of 18 steps, 9,000 in all. Try more epochs"),
        (20, 15, "20 epochs of 15 steps, 300 in all. Try more epochs"),
        (13, 23, "13 epochs of 23 steps, 299 in all, which is few. Try smaller batches"),
        (1, 200, "1 epoch of 200 steps, 200 in all, which is few. Try smaller batches"),
    ],
)
def test_steps_are_few_where_those_of_the_whole_training_are(
    summary: Summary, epochs: int, steps: int, told: str
) -> None:
    labels = np.concatenate([np.full(60, 4), np.arange(140) % 4])
    models = with_accuracy(summary, "student_labels", interval(0.31, 0.25, 0.378))
    models["student_labels"] = models["student_labels"].model_copy(update={"epochs": epochs})
    (warning,) = soundness.found(run_of(summary, labels=labels, models=models), steps={"student_labels": steps})
    assert warning.advice.startswith(f"It was trained for {told}")


# Of 200 samples 180 are of other classes than the one that is named: a tenth of them are 18.
@pytest.mark.parametrize(("others", "warned"), [(18, True), (19, False)])
def test_one_class_for_nearly_everything(summary: Summary, others: int, warned: bool) -> None:
    named = np.full(200, 5)
    named[:others] = 0
    run = run_of(summary, named={"student_distilled": named})
    assert kinds(run) == ([("one_class", "student_distilled")] if warned else [])
    if warned:
        (warning,) = soundness.found(run)
        assert "182 of the 200 test samples are named “Sandal”, of which 20 are." in warning.seen


def test_a_class_that_is_frequent_may_be_named_as_often(summary: Summary) -> None:
    labels = np.zeros(200, np.int64)
    labels[:10] = 1
    named = labels.copy()
    named[:8] = 0  # 2 of 10: more than a tenth
    assert kinds(run_of(summary, labels=labels, named={"student_distilled": named}, models=sure(summary))) == []
    named[:10] = 0
    assert kinds(run_of(summary, labels=labels, named={"student_distilled": named}, models=sure(summary))) == [
        ("one_class", "student_distilled")
    ]


def sure(summary: Summary) -> dict[str, object]:
    accuracy = interval(0.99, 0.98, 1.0)
    changed = {"accuracy": accuracy.value, "accuracy_interval": accuracy}
    return {role: model.model_copy(update=changed) for role, model in summary.models.items()}


def test_of_labels_of_one_class_nothing_is_said(summary: Summary) -> None:
    labels = np.full(200, 3)
    models = with_accuracy(summary, "teacher", interval(0.9, 0.8, 0.99))
    assert kinds(run_of(summary, labels=labels, models=models, gains={}, stages=())) == []


def stages(summary: Summary, drop: Interval) -> tuple[object, ...]:
    """The road on which the student on labels loses so much since its teacher."""
    return tuple(
        row.model_copy(update={"accuracy_drop": drop}) if row.name == "student_labels" else row
        for row in summary.stages
    )


def test_a_teacher_is_held_to_the_student_on_labels_by_the_paired_interval(summary: Summary) -> None:
    weak = stages(summary, interval(-0.05, -0.09, -0.01))
    (warning,) = soundness.found(run_of(summary, stages=weak))
    assert (warning.kind, warning.network) == ("weak_teacher", "teacher")
    assert "−5.00 points [−9.00 to −1.00] on the same test samples" in warning.seen
    assert "stronger" in warning.advice
    # The unpaired intervals are apart, but the paired one holds 0: that one decides.
    models = with_accuracy(summary, "teacher", interval(0.85, 0.84, 0.86))
    undecided = stages(summary, interval(-0.05, -0.09, 0.01))
    assert kinds(run_of(summary, models=models, stages=undecided)) == []
    # Nothing is paired: they must be apart.
    assert kinds(run_of(summary, models=models, stages=())) == [("weak_teacher", "teacher")]
    close = with_accuracy(summary, "teacher", interval(0.88, 0.86, 0.89))
    assert kinds(run_of(summary, models=close, stages=())) == []


def test_a_given_teacher_is_to_be_checked_not_trained(summary: Summary) -> None:
    given = summary.models["teacher"].model_copy(update={"epochs": None, "best_epoch": None})
    weak = stages(summary, interval(-0.05, -0.09, -0.01))
    (warning,) = soundness.found(run_of(summary, models={**summary.models, "teacher": given}, stages=weak))
    assert "classes are in the order of the data's" in warning.advice
    assert "epochs" not in warning.advice


@pytest.mark.parametrize(("high", "warned"), [(-0.001, True), (0.0, False), (0.004, False)])
def test_a_student_that_teaching_made_worse(summary: Summary, high: float, warned: bool) -> None:
    gains = {"student_distilled": interval(-0.02, -0.04, high), "student_quantized": interval(-0.1, -0.2, -0.05)}
    assert kinds(run_of(summary, gains=gains)) == ([("worse_than_labels", "student_distilled")] if warned else [])


def test_where_the_teacher_is_weak_too_one_begins_with_it(summary: Summary) -> None:
    gains = {"student_distilled": interval(-0.5, -0.6, -0.4)}
    weak = stages(summary, interval(-0.05, -0.09, -0.01))
    steps = {"teacher": 2, "student_distilled": 94}
    teacher, student = soundness.found(run_of(summary, gains=gains, stages=weak), steps=steps)
    assert "6 epochs of 2 steps, 12 in all, which is few" in teacher.advice
    assert student.advice.startswith("Begin with the teacher, see above. Give the teaching terms smaller weights")
    assert "8 epochs of 94 steps, 752 in all. Try more epochs (student.epochs)" in student.advice
    short = soundness.found(run_of(summary, gains=gains), steps={"student_distilled": 2})[0].advice
    assert short.startswith("It was trained for 8 epochs of 2 steps, 16 in all, which is few.")
    alone = soundness.found(run_of(summary, gains=gains))[0].advice
    assert alone.startswith("Give the teaching terms smaller weights (distill.losses)")


def test_before_the_test_split_was_read_the_validation_split_counts(summary: Summary, unmeasured: Summary) -> None:
    chance = soundness.Chance("validation", 16, interval(0.25, 0.1, 0.5), "Coat", 0.25)
    untested = ReportedRun(unmeasured, "a run")
    (warning,) = soundness.found(untested, validated={"teacher": chance})
    assert (warning.kind, warning.network) == ("chance", "teacher")
    assert "25.00 % of the 16 validation samples" in warning.seen
    assert soundness.found(untested) == ()
    assert soundness.found(run_of(summary), validated={"teacher": chance}) == ()  # the test split says more


def test_what_a_summary_notes_is_shown_and_of_an_earlier_one_what_it_shows(summary: Summary) -> None:
    gains = {"student_distilled": interval(-0.5, -0.6, -0.4)}
    old = run_of(summary, gains=gains)
    assert old.summary.training_warnings is None
    assert soundness.training_warnings(old) == soundness.found(old) != ()
    assert soundness.training_warnings(run_of(summary, gains=gains, training_warnings=())) == ()


def test_equal_advice_is_given_once() -> None:
    warnings = [
        TrainingWarning(kind="chance", network=name, seen=f"{name} is wrong", advice=advice)
        for name, advice in (("one", "train it"), ("two", "leave it"), ("three", "train it"))
    ]
    assert soundness.together(warnings) == (
        (("one is wrong", "three is wrong"), "train it"),
        (("two is wrong",), "leave it"),
    )


def test_every_report_warns_beside_the_gates(summary: Summary) -> None:
    worse = run_of(summary, gains={"student_distilled": interval(-0.5, -0.6, -0.4)})
    sound = run_of(summary)
    seen = soundness.found(worse)[0].seen
    for runs in ([worse], [sound, ReportedRun(worse.summary, "another", worse.predictions)]):
        page = html.render(runs)
        head = Page(page.partition("<main>")[0]).text
        assert seen in head
        assert "1 warning about the training" in head
        assert ("another" in head.partition("1 warning")[2].partition(seen)[0]) is (len(runs) > 1)
        text = markdown.render(runs)
        assert text.count("**1 warning about the training:**") == 1
        assert seen.replace("[", "\\[").replace("]", "\\]") in text
    told = document.document([sound, worse]).runs
    assert [each.training_warnings for each in told] == [(), soundness.found(worse)]
    assert "about the training</h2>" not in html.render([sound])
    assert "warning about the training" not in markdown.render([sound])


def test_a_page_says_what_gates_do_not_say(summary: Summary) -> None:
    words = "They do not say that these are good"
    assert words in html.render([run_of(summary)])
    assert words in markdown.render([run_of(summary)])
