"""Which class each network and file of a run names for each test sample, and the samples on which they disagree."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgekd import npz, storage
from edgekd.errors import StorageError

Array = np.ndarray[Any, Any]

MOST_SHOWN = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted classes of the whole test split.

    Attributes:
      labels: [samples] integer classes.
      classes: [samples] integer classes of each network and file, by name.
      compared: names of the models whose disagreement decides what is shown, the student's second last or last.
      shown: [shown] positions of samples on which these disagree, as chosen by `chosen`.
      images: [shown, height, width, channels] uint8 of one or three channels; None where samples are no images.
    """

    labels: Array
    classes: Mapping[str, Array]
    compared: tuple[str, ...] = ()
    shown: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    images: Array | None = None

    def write(self, path: Path) -> None:
        """Writes them as a compressed `.npz`, atomically; the same predictions give the same bytes."""
        arrays = {f"classes_{number}": _small(each) for number, each in enumerate(self.classes.values())}
        arrays["labels"] = _small(self.labels)
        arrays["names"] = np.array(list(self.classes), dtype=np.str_)
        arrays["compared"] = np.array(self.compared, dtype=np.str_)
        arrays["shown"] = np.asarray(self.shown, np.uint32)
        if self.images is not None:
            arrays["images"] = np.asarray(self.images, np.uint8)
        with storage.atomic_open(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads them back.

        Raises:
          StorageError: the file is missing, or is not such a file.
        """
        storage.require_file(path, "predictions")
        try:
            found = npz.read(path)
            names = _texts(found, "names")
            read = cls(
                labels=_integers(found, "labels"),
                classes={name: _integers(found, f"classes_{at}") for at, name in enumerate(names)},
                compared=_texts(found, "compared"),
                shown=_integers(found, "shown"),
                images=found.get("images"),
            )
            read.check()
        except (ValueError, KeyError) as error:
            raise StorageError(
                f"{str(path)!r} does not hold a run's predictions ({error}): delete it, and run the recipe again."
            ) from error
        return read

    def check(self) -> None:
        """Raises ValueError unless the arrays fit each other."""
        count = len(self.labels)
        if any(each.shape != (count,) for each in self.classes.values()):
            raise ValueError("models have seen different numbers of samples")
        if not _within(self.labels) or not all(map(_within, self.classes.values())):
            raise ValueError("a class is negative")
        if self.shown.ndim != 1 or not _within(self.shown, count):
            raise ValueError("a sample that is not there is to be shown")
        if not set(self.compared) <= set(self.classes):
            raise ValueError("a model is to be compared that is not there")
        if self.images is not None:
            shape, dtype = self.images.shape, self.images.dtype
            if (
                len(shape) != 4
                or shape[0] != len(self.shown)
                or shape[3] not in (1, 3)
                or 0 in shape[1:3]
                or dtype != np.uint8
            ):
                raise ValueError(f"images are {dtype} {list(shape)}")

    def check_of(self, *, classes: int, samples: int) -> None:
        """Raises ValueError unless these can be predictions on a test split of so many classes and samples."""
        if len(self.labels) != samples:
            raise ValueError(f"they are of {len(self.labels):,} samples, and the run's test split has {samples:,}")
        if not all(_within(each, classes) for each in (self.labels, *self.classes.values())):
            raise ValueError(f"they name a class that is not among the run's {classes:,}")


def chosen(classes: Sequence[Array], *, most: int = MOST_SHOWN) -> Array:
    """Returns the positions of samples on which models disagree, spread evenly over all such samples.

    Those on which the last two disagree come first, and get at least half of the places where there are as many: a
    file that differs from its student is rarer, and matters more, than a student that differs from its teacher.

    Args:
      classes: [samples] integer classes of each model.
      most: how many to return at most.

    Returns:
      [at most `most`] positions, ascending within each kind.
    """
    if len(classes) < 2:
        return np.zeros(0, np.int64)
    last = classes[-2] != classes[-1]
    others = np.zeros_like(last)
    for each in classes[:-2]:
        others |= each != classes[-1]
    first, second = np.flatnonzero(last), np.flatnonzero(others & ~last)
    room = max(most // 2, most - len(second))
    head = _spread(first, room)
    return np.concatenate([head, _spread(second, most - len(head))])


def _spread(positions: Array, most: int) -> Array:
    if len(positions) <= most:
        return positions
    return positions[np.arange(most) * len(positions) // max(most, 1)]


def _integers(found: Mapping[str, Array], name: str) -> Array:
    array = found[name]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}: expected integers of one dimension")
    return array.astype(np.int64)


def _texts(found: Mapping[str, Array], name: str) -> tuple[str, ...]:
    array = found[name]
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}: expected texts of one dimension")
    return tuple(map(str, array))


def _within(numbers: Array, end: int | None = None) -> bool:
    """Returns whether all are from 0 to below `end`."""
    return not len(numbers) or (int(numbers.min()) >= 0 and (end is None or int(numbers.max()) < end))


def _small(classes: Array) -> Array:
    return np.asarray(classes, np.uint16)  # a dataset has at most 65,536 classes
