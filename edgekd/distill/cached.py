"""Offline distillation from the teacher cache: the teacher runs once for each view of a sample, whoever trains."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgekd.data.augment import Augmentation
from edgekd.data.batches import Batch, view_of
from edgekd.data.dataset import Split
from edgekd.distill.cache import Filled, OutputIdentity, Progress, TeacherCache
from edgekd.distill.teacher import LiveTeacher


class CachedTeacher:
    """A teacher whose outputs are read from the cache; what is missing or damaged there, the live teacher computes."""

    def __init__(
        self,
        cache: TeacherCache,
        live: LiveTeacher,
        split: Split,
        *,
        teacher_sha256: str,
        engine: str,
        preprocessing: str,
        dataset_fingerprint: str,
        augmentation: Augmentation | None,
        mixup: float,
        seed: int,
        batch_size: int,
        dtype: Literal["float16", "float32"] = "float16",
        fills: bool = True,
    ) -> None:
        """Says what the stored outputs depend on.

        Args:
          cache: where they are.
          live: the same teacher, running.
          split: the training split.
          teacher_sha256: of everything that determines the teacher's outputs.
          engine: what computes them, with its version.
          preprocessing: what becomes of a stored sample.
          dataset_fingerprint: over every sample and label.
          augmentation: of the training.
          mixup: of the training.
          seed: of the training.
          batch_size: of the training.
          dtype: float16, or float32 for the live teacher's very bits.
          fills: whether missing and damaged rows are computed; otherwise they are refused.
        """
        self.shapes = live.shapes
        self._cache = cache
        self._live = live
        self._split = split
        self._views = {"seed": seed, "augmentation": augmentation, "mixup": mixup}
        self.fills = fills
        policy = (
            {} if augmentation is None else {name: getattr(augmentation, name) for name in ("shift", "flip", "cutout")}
        )
        self._identities = {
            key: OutputIdentity(
                teacher_sha256=teacher_sha256,
                preprocessing=preprocessing,
                dataset_fingerprint=dataset_fingerprint,
                samples=len(split),
                augmentation=policy,
                mixup=mixup,
                seed=seed,
                batch_size=min(batch_size, len(split)),
                output=key,
                shape=shape,
                dtype=dtype,
                engine=engine,
            )
            for key, shape in live.shapes.items()
        }
        self._of_view: dict[int, dict[str, OutputIdentity]] = {}

    def check_space(self, views: int) -> None:
        """Raises StorageError where the cache cannot be written, or the disk has no room for what is to be filled."""
        if self.fills:
            self._cache.check_space(self._wanted(views))

    def prepare(
        self, views: int, *, progress: Progress | None = None, worker: tuple[int, int] = (0, 1)
    ) -> Filled | None:
        """Fills what is missing of the first `views` views, or requires that nothing is.

        Args:
          views: how many views the training shows.
          progress: is told how far the filling is.
          worker: (i, n): this process is number i of n that fill together.

        Returns:
          What was computed; None where nothing may be.

        Raises:
          StorageError: no room on the disk; or, without filling, rows that are not there: the message says what the
            nearest stored outputs differ in.
          NonFiniteError: the teacher gives outputs that cannot be stored.
        """
        wanted = self._wanted(views)
        if self.fills:
            return self._cache.fill(wanted, self._compute, progress=progress, worker=worker)
        for identity in wanted:
            self._cache.require(identity)
        return None

    def outputs(self, batch: Batch) -> Mapping[str, np.ndarray]:
        """Reads the batch's rows of its view."""
        remake = self._compute if self.fills else None
        return {
            key: self._cache.rows(identity, batch.sample_ids, remake=remake)
            for key, identity in self._at(batch.view).items()
        }

    def _wanted(self, views: int) -> list[OutputIdentity]:
        return [identity for view in range(views) for identity in self._at(view).values()]

    def _at(self, view: int) -> dict[str, OutputIdentity]:
        """Returns what the outputs of a view are stored under; hashing it anew for every batch would cost more."""
        if view not in self._of_view:
            self._of_view[view] = {key: identity.at_view(view) for key, identity in self._identities.items()}
        return self._of_view[view]

    def _compute(self, sample_ids: np.ndarray, view: int) -> dict[str, np.ndarray]:
        batch = view_of(self._split, sample_ids, view=view, **self._views)  # type: ignore[arg-type]
        return {key: np.asarray(value, np.float32) for key, value in self._live.outputs(batch).items()}
