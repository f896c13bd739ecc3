"""What a terminal says of runs whose networks give back their inputs, beside what it says of classifiers."""

from pathlib import Path

import pytest

from edgekd.cli import _recipes
from edgekd.cli._progress import TerminalProgress
from edgekd.cli._verification import print_stages
from edgekd.pipeline import RunResult
from edgekd.records import EpochRecord, Interval, ModelRecord, Reconstruction, StageRow
from edgekd.report import merit
from edgekd.verify.records import StageTable

EPOCH = EpochRecord(
    epoch=2,
    loss=0.0123456,
    terms={"inputs": 0.0123456},
    accuracy=None,
    validation_loss=11.24321,
    validation_accuracy=None,
    learning_rate=0.001,
    images_per_second=9000.0,
)


def told(judged: merit.Merit, row: EpochRecord, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with TerminalProgress(quiet=False, merit=judged) as progress:
        progress.training_started(5, 10, done_epochs=0, done_steps=0)
        for stage in ("student_labels", "student_distilled"):
            progress.stage_started(stage)
        progress.training_epoch(row)
    return capsys.readouterr().err.splitlines()


def test_an_epoch_of_errors_has_no_accuracies_and_four_digits(capsys):
    assert told(merit.AUC, EPOCH, capsys) == [
        "student, alone",
        "student, taught",
        "  epoch 2/5  loss 0.01235 (inputs 0.01235)  validation loss 11.24  9,000 images/s",
    ]


def test_an_epoch_of_classes_has_both_accuracies(capsys):
    row = EPOCH.model_copy(update={"terms": {"labels": 0.0123456}, "accuracy": 0.9, "validation_accuracy": 0.85})
    assert told(merit.ACCURACY, row, capsys) == [
        "student, on labels",
        "student, taught",
        "  epoch 2/5  loss 0.012 (labels 0.012)  accuracy 0.900  validation loss 11.243 accuracy 0.850  9,000 images/s",
    ]


def interval(value: float, reach: float) -> Interval:
    return Interval(value=value, low=value - reach, high=value + reach)


def rows(*, anomalies: bool) -> tuple[StageRow, ...]:
    def quality(mse: float, auc: float) -> Reconstruction:
        return Reconstruction(mse=mse, auc=interval(auc, 0.03) if anomalies else None, normal=9, anomalous=9)

    first = StageRow(
        name="student_distilled", kind="network", runtime="keras", accuracy=None, reconstruction=quality(11.243, 0.889)
    )
    file = StageRow(
        name="student-int8.tflite",
        kind="file",
        runtime="litert",
        accuracy=None,
        before="student_distilled",
        reconstruction=quality(11.608, 0.8847),
        auc_drop=interval(0.0043, 0.002) if anomalies else None,
        sqnr_db=27.44,
    )
    return first, file


@pytest.mark.parametrize(
    ("anomalies", "header", "last"),
    [
        (
            True,
            "Stage Runtime AUC (95 %) Compared with Drop (95 %) MSE SQNR, dB",
            "student-int8.tflite litert 0.885 (0.855 to 0.915) student_distilled +0.004 (+0.002 to +0.006) 11.61 27.4",
        ),
        (
            False,
            "Stage Runtime Compared with MSE SQNR, dB",
            "student-int8.tflite litert student_distilled 11.61 27.4",
        ),
    ],
)
def test_the_table_of_stages_has_errors_and_where_there_are_anomalies_aucs(capsys, anomalies, header, last):
    print_stages(StageTable(run="runs/x", dataset="sounds test", samples=18, rows=rows(anomalies=anomalies)))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert (lines[0], lines[1], lines[-1]) == ("runs/x, on 18 samples of sounds test:", header, last)


def test_a_network_that_was_only_trained_is_told_by_its_validation_loss(finished, capsys):
    """As after `edgekd train`, which reads no test split."""
    teacher = ModelRecord(
        role="teacher",
        path="teacher/model.keras",
        architecture="autoencoder(width=384)",
        parameters=267_928,
        macs=264_192,
        validation_loss=9.87412,
        best_epoch=3,
        weights_sha256="ab" * 32,
    )
    bare = {"artifacts": (), "comparisons": (), "measurements": (), "gates": (), "training_warnings": ()}
    summary = finished.summary.model_copy(update={"task": "reconstruction", "models": {"teacher": teacher}, **bare})
    _recipes._print(RunResult(summary=summary, folder=Path("runs/x"), worked=("teacher",)), (), smoke=False)
    assert "teacher: validation loss 9.874, epoch 3, saved as runs/x/teacher/model.keras" in capsys.readouterr().out
    _recipes._print(finished, (), smoke=False)
    assert "validation loss" not in capsys.readouterr().out  # the test split was read
