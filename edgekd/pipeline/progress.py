"""What a run tells while it works; the base tells nothing, the command line draws it."""

from collections.abc import Mapping
from pathlib import Path

from edgekd.data.dataset import Dataset
from edgekd.pipeline.folder import State
from edgekd.records import EpochRecord


class Progress:
    """Override what should be shown."""

    def run_started(self, data: Dataset, stages: Mapping[str, State], folder: Path) -> None:
        """A run knows its data, its stages with the state of each, and the folder that it writes.

        What a stale one left there is of other settings or other data, and is about to be replaced.
        """

    def stage_started(self, stage: str) -> None:
        """A stage begins to work."""

    def stage_finished(self, stage: str, seconds: float) -> None:
        """A stage has written its record."""

    def stage_kept(self, stage: str) -> None:
        """A stage was done already, by this recipe on this data."""

    def stage_redone(self, stage: str, reason: str) -> None:
        """A finished stage must be done again, for a reason the user would want to know."""

    def preflight_repeated(self, reason: str) -> None:
        """What was tried before a training must be tried again, for a reason the user would want to know."""

    def workers_restarted(self, reason: str) -> None:
        """A worker process died, and the stage goes on with new ones."""

    def training_started(self, epochs: int, steps_per_epoch: int, *, done_epochs: int, done_steps: int) -> None:
        """A network's training begins or goes on."""

    def training_step(self, epoch: int, step: int, means: dict[str, float], images_per_second: float) -> None:
        """A step is done, counted from 1; means are over the epoch so far, the total is called `loss`."""

    def training_epoch(self, row: EpochRecord) -> None:
        """An epoch and its validation are done."""

    def item(self, done: int, total: int, what: str) -> None:
        """A stage of many parts has finished some."""
