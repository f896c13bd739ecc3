"""A teacher whose outputs are a formula, and the identity of what it gives."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.distill.cache import OutputIdentity, TeacherCache


class FormulaTeacher:
    """Gives logits and a feature map that depend on sample and view; remembers what it was asked for."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale
        self.asked: list[tuple[np.ndarray, int]] = []

    def __call__(self, sample_ids: np.ndarray, view: int) -> Mapping[str, np.ndarray]:
        self.asked.append((sample_ids, view))
        return self.expected(sample_ids, view)

    def expected(self, sample_ids: np.ndarray, view: int) -> dict[str, np.ndarray]:
        angles = 0.37 * np.asarray(sample_ids, np.float64)[:, np.newaxis] + 11.0 * view
        logits = self.scale * np.sin(angles + np.arange(10))
        maps = np.cos(angles + np.arange(12)).reshape(-1, 2, 2, 3)
        return {"logits": logits.astype(np.float32), "stage2": maps.astype(np.float32)}


@pytest.fixture
def teacher() -> FormulaTeacher:
    return FormulaTeacher()


@pytest.fixture
def make_teacher() -> type[FormulaTeacher]:
    return FormulaTeacher


@pytest.fixture
def cache(tmp_path: Path) -> TeacherCache:
    return TeacherCache(tmp_path / "cache")


@pytest.fixture
def make_identity() -> Callable[..., OutputIdentity]:
    def make(**changes: Any) -> OutputIdentity:
        fields: dict[str, Any] = {
            "teacher_sha256": "a" * 64,
            "preprocessing": "pixel / 255",
            "dataset_fingerprint": "d" * 64,
            "samples": 9000,
            "augmentation": {"shift": 2, "flip": True},
            "seed": 5,
            "batch_size": 32,
            "output": "logits",
            "shape": (10,),
            "dtype": "float32",
            "engine": "formula 1.0",
        }
        return OutputIdentity(**(fields | changes))

    return make
