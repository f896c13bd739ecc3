"""A student taught from the cache becomes the student that the live teacher makes, and no other's cache is taken."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgekd import recipe
from edgekd.architectures import weights_sha256
from edgekd.data.augment import Augmentation
from edgekd.data.dataset import Dataset
from edgekd.distill import objective
from edgekd.distill.cache import TeacherCache
from edgekd.distill.cached import CachedTeacher
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective
from edgekd.distill.teacher import LiveTeacher
from edgekd.errors import StorageError

EPOCHS = 3
AUGMENTATION = Augmentation(shift=1, flip=True)
Build = Callable[..., keras.Model]
Live = Callable[..., LiveTeacher]


@pytest.fixture(scope="module")
def goal() -> Objective:
    """Logits, whole features with an adapter, and attention maps, one with a schedule."""
    section = recipe.section(
        recipe.Distill,
        {
            "losses": [
                {"loss": "soft_logits", "weight": {"schedule": "linear", "from": 0.1, "to": 0.9, "end_epoch": 2}},
                {"loss": "fitnet_hint", "taps": [["stage2", "stage2"]]},
                {"loss": "attention_transfer", "weight": 10.0, "taps": [["stage1", "stage1"], ["stage2", "stage1"]]},
            ]
        },
    )
    return objective.from_recipe(section, label_smoothing=0.0)


class Counted:
    """A live teacher that counts the images it is asked about."""

    def __init__(self, live: LiveTeacher) -> None:
        self._live, self.shapes, self.images = live, live.shapes, 0

    def outputs(self, batch: Any) -> Any:
        self.images += len(batch.images)
        return self._live.outputs(batch)


def cached(folder: Path, live: Any, data: Dataset, **changes: Any) -> CachedTeacher:
    settings = {
        "teacher_sha256": "0" * 64,
        "engine": "test",
        "preprocessing": "none",
        "dataset_fingerprint": data.fingerprint,
        "augmentation": AUGMENTATION,
        "mixup": 0.0,
        "seed": 5,
        "batch_size": 32,
        "dtype": "float32",
    }
    return CachedTeacher(TeacherCache(folder), live, data.train, **{**settings, **changes})


def trained(student: keras.Model, data: Dataset, goal: Objective, teacher: Any, **changes: Any) -> keras.Model:
    fit(
        student,
        data,
        objective=goal,
        training=recipe.section(recipe.Training, {"epochs": EPOCHS}),
        teacher=teacher,
        augmentation=AUGMENTATION,
        batch_size=32,
        seed=5,
        **changes,
    )
    return student


@pytest.fixture(scope="module")
def trained_live() -> dict[float, str]:
    """The weights' hash of the student that the live teacher makes, by mixup: made once."""
    return {}


@pytest.fixture
def expected(
    trained_live: dict[float, str], tiny_network: Build, tiny_data: Dataset, live_teacher: Live, goal: Objective
) -> Callable[[float], str]:
    def sha256(mixup: float) -> str:
        if mixup not in trained_live:
            live = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network())
            trained_live[mixup] = weights_sha256(trained(tiny_network(), tiny_data, goal, live, mixup=mixup))
        return trained_live[mixup]

    return sha256


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_with_a_view_for_each_epoch_in_float32_cached_is_live_bit_for_bit(
    tmp_path: Path,
    tiny_network: Build,
    tiny_data: Dataset,
    live_teacher: Live,
    goal: Objective,
    expected: Callable[[float], str],
    mixup: float,
) -> None:
    live = Counted(live_teacher(tiny_network(seed=9, width=6), goal, tiny_network()))
    source = cached(tmp_path, live, tiny_data, mixup=mixup)
    source.prepare(EPOCHS)
    filled = live.images
    received = trained(tiny_network(), tiny_data, goal, source, mixup=mixup, views=EPOCHS)
    assert live.images == filled > 0  # the training read the cache alone
    assert weights_sha256(received) == expected(mixup)


def test_in_float16_cached_is_live_to_rounding(
    tmp_path: Path, tiny_network: Build, tiny_data: Dataset, live_teacher: Live, goal: Objective
) -> None:
    live = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network())
    expected = trained(tiny_network(dropout=0.0), tiny_data, goal, live)
    source = cached(tmp_path, live, tiny_data, dtype="float16")
    source.prepare(EPOCHS)
    received = trained(tiny_network(dropout=0.0), tiny_data, goal, source)
    assert weights_sha256(received) != weights_sha256(expected)
    for one, other in zip(expected.variables, received.variables, strict=True):
        # Float16 rounds to 2⁻¹¹; a few dozen steps may carry that on by an order of magnitude.
        np.testing.assert_allclose(other.numpy(), one.numpy(), atol=20 * 2**-11 * np.abs(one.numpy()).max() + 1e-6)


def test_a_second_student_pays_nothing_and_fewer_views_are_shown_again(
    tmp_path: Path, tiny_network: Build, tiny_data: Dataset, live_teacher: Live, goal: Objective
) -> None:
    live = Counted(live_teacher(tiny_network(seed=9, width=6), goal, tiny_network()))
    first = cached(tmp_path, live, tiny_data)
    first.prepare(2)
    paid = live.images
    second = cached(tmp_path, live, tiny_data)
    second.prepare(2)
    one = trained(tiny_network(seed=1), tiny_data, goal, first, views=2)
    other = trained(tiny_network(seed=1), tiny_data, goal, second, views=2)
    assert live.images == paid
    assert weights_sha256(one) == weights_sha256(other)
    assert weights_sha256(one) != weights_sha256(trained(tiny_network(seed=1), tiny_data, goal, live))


def test_a_damaged_shard_is_made_again_in_the_middle_of_a_training(
    tmp_path: Path,
    tiny_network: Build,
    tiny_data: Dataset,
    live_teacher: Live,
    goal: Objective,
    expected: Callable[[float], str],
) -> None:
    live = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network())
    cached(tmp_path, live, tiny_data).prepare(EPOCHS)
    for path in sorted(tmp_path.rglob("rows-*.npy"))[::2]:
        content = bytearray(path.read_bytes())
        content[-5] ^= 0xFF
        path.write_bytes(bytes(content))
    received = trained(tiny_network(), tiny_data, goal, cached(tmp_path, live, tiny_data))
    assert weights_sha256(received) == expected(0.0)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"teacher_sha256": "1" * 64}, r"teacher \(stored 000"),
        ({"seed": 6}, r"seed \(stored 5, wanted 6\)"),
        ({"augmentation": Augmentation(shift=2, flip=True)}, r"augmentation \(stored"),
        ({"mixup": 0.2}, r"mixup \(stored 0.0, wanted 0.2\)"),
        ({"dataset_fingerprint": "2" * 64}, r"dataset \(stored"),
        ({"preprocessing": "other"}, r"preprocessing \(stored 'none', wanted 'other'\)"),
        ({"engine": "other"}, r"engine \(stored 'test', wanted 'other'\)"),
        ({"dtype": "float16"}, r"dtype \(stored 'float32', wanted 'float16'\)"),
    ],
)
def test_a_cache_of_something_else_is_refused_and_the_part_that_differs_is_named(
    tmp_path: Path,
    tiny_network: Build,
    tiny_data: Dataset,
    live_teacher: Live,
    goal: Objective,
    changes: dict[str, Any],
    part: str,
) -> None:
    live = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network())
    cached(tmp_path, live, tiny_data).prepare(1)
    cached(tmp_path, live, tiny_data, fills=False).prepare(1)
    with pytest.raises(StorageError, match=part):
        cached(tmp_path, live, tiny_data, fills=False, **changes).prepare(1)


def test_rows_of_other_samples_or_views_are_other_rows(
    tmp_path: Path, tiny_network: Build, tiny_data: Dataset, live_teacher: Live, goal: Objective
) -> None:
    """The defect that a cache invites: rows that belong to other samples, or to another view of them."""
    live = live_teacher(tiny_network(seed=9, width=6), goal, tiny_network())
    source = cached(tmp_path, live, tiny_data)
    source.prepare(2)
    from edgekd.data.batches import training_batches

    settings = {"batch_size": 32, "seed": 5, "augmentation": AUGMENTATION}
    for epoch in (0, 1):
        for batch in training_batches(tiny_data.train, epoch=epoch, **settings):
            right = live.outputs(batch)["logits"].numpy()
            np.testing.assert_array_equal(source.outputs(batch)["logits"], right)
            for wrong in (
                dataclasses.replace(batch, view=1 - batch.view),
                dataclasses.replace(batch, sample_ids=np.roll(batch.sample_ids, 1)),
            ):
                assert np.abs(source.outputs(wrong)["logits"] - right).max() > 1e-3


def test_attention_is_stored_as_one_channel_of_the_smaller_map(
    tmp_path: Path, tiny_network: Build, tiny_data: Dataset, live_teacher: Live, goal: Objective
) -> None:
    source = cached(tmp_path, live_teacher(tiny_network(seed=9, width=6), goal, tiny_network()), tiny_data)
    shapes = {key: shape for key, shape in source.shapes.items() if "attention" in key}
    assert sorted(shapes.values()) == [(4, 4, 1), (8, 8, 1)]
    assert source.shapes["stage2"] == (4, 4, 6)
