"""Draws a run's progress on standard error: bars on a terminal, plain lines elsewhere."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgekd.data.dataset import Dataset
from edgekd.pipeline.folder import State
from edgekd.pipeline.progress import Progress as RunProgress
from edgekd.records import EpochRecord
from edgekd.report import formatting, table
from edgekd.report.merit import ACCURACY, Merit

_STAGES = {
    "teacher": "teacher",
    "student_distilled": "student, taught",
    "student_sparse": "student, sparse",
    "student_quantized": "student, int8",
    "export": "export",
    "verify": "verify on the test split",
    "bench": "latency",
}
_TO_DO = frozenset({"absent", "stale", "damaged"})


def _title(stage: str, merit: Merit) -> str:
    if stage == table.STUDENT_LABELS:
        return f"student, {merit.alone}"
    return _STAGES.get(stage, stage.replace("_", " "))  # such as teacher_2


class TerminalProgress(RunProgress):
    """Shows stages, epochs and steps; with `quiet`, nothing at all. `merit` is what the run is judged by."""

    def __init__(self, *, quiet: bool, merit: Merit = ACCURACY) -> None:
        self._merit = merit
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, detail="", visible=False)
        self._epochs = self._steps = 0

    def __enter__(self) -> Self:
        """Takes the terminal."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Gives the terminal back."""
        self._bar.stop()

    def run_started(self, data: Dataset, stages: Mapping[str, State], folder: Path) -> None:
        """Prints what a run works on, how much there is to do, where it goes, and which results will be lost."""
        todo, stale = ([name for name, state in stages.items() if state in of] for of in (_TO_DO, {"stale"}))
        left = "" if len(todo) == len(stages) else f", {len(todo)} to do"
        self._console.print(f"{data}\n{formatting.counted(len(stages), 'stage')}{left}, in {folder}", markup=False)
        if stale:
            titles = [_title(stage, self._merit) for stage in stale]
            self._console.print(
                f"{folder} holds results of other settings or other data: {formatting.listed(titles)} "
                "will be done again, and replaced. To keep them, stop now and give another folder with --out.",
                markup=False,
            )

    def stage_started(self, stage: str) -> None:
        """Prints a headline."""
        self._console.print(f"[bold]{_title(stage, self._merit)}[/bold]")

    def stage_finished(self, stage: str, seconds: float) -> None:
        """Prints the time it took."""
        self._bar.update(self._task, visible=False)
        self._console.print(f"  {stage} done in {seconds:.1f} s")

    def stage_kept(self, stage: str) -> None:
        """Prints that nothing was to be done."""
        self._console.print(f"[bold]{_title(stage, self._merit)}[/bold]: done already")

    def stage_redone(self, stage: str, reason: str) -> None:
        """Prints why a finished stage is done again."""
        self._console.print(f"[bold]{_title(stage, self._merit)}[/bold]: doing it again, because {reason}")

    def preflight_repeated(self, reason: str) -> None:
        """Prints why exports are tried again."""
        self._console.print(f"[bold]exports[/bold]: trying them again before training, because {reason}")

    def workers_restarted(self, reason: str) -> None:
        """Prints what happened."""
        self._console.print(f"  {reason}")

    def training_started(self, epochs: int, steps_per_epoch: int, *, done_epochs: int, done_steps: int) -> None:
        """Shows the bar of all the training's steps."""
        self._epochs, self._steps = epochs, steps_per_epoch
        done = done_epochs * steps_per_epoch + done_steps
        if done:
            self._console.print(f"  going on after epoch {done_epochs}, step {done_steps}")
        self._bar.reset(self._task, total=epochs * steps_per_epoch, completed=done, visible=True, detail="")

    def training_step(self, epoch: int, step: int, means: dict[str, float], images_per_second: float) -> None:
        """Moves the bar and shows each term."""
        if self._bar.disable:
            return
        terms = " ".join(f"{name} {self._loss(value)}" for name, value in means.items())
        self._bar.update(
            self._task,
            completed=(epoch - 1) * self._steps + step,
            description=f"epoch {epoch}/{self._epochs}",
            detail=f"{images_per_second:,.0f} images/s  {terms}",
        )

    def training_epoch(self, row: EpochRecord) -> None:
        """Prints the epoch's line, which stays."""
        terms = " ".join(f"{name} {self._loss(value)}" for name, value in row.terms.items())
        accuracy, validation_accuracy = (
            "" if value is None else f"accuracy {value:.3f}  " for value in (row.accuracy, row.validation_accuracy)
        )
        self._console.print(
            f"  epoch {row.epoch}/{self._epochs}  loss {self._loss(row.loss)} ({terms})  {accuracy}"
            f"validation loss {self._loss(row.validation_loss)} {validation_accuracy or ' '}"
            f"{row.images_per_second:,.0f} images/s"
        )

    def _loss(self, value: float) -> str:
        # Errors are as large as the samples' own scale makes them, entropies are not.
        return f"{value:.3f}" if self._merit.names_classes else f"{value:.4g}"

    def item(self, done: int, total: int, what: str) -> None:
        """Moves the bar of a stage of many parts."""
        self._bar.update(self._task, total=total, completed=done, description=what, detail="", visible=done < total)
