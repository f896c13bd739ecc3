"""Data: one file per source, and the one way from a source to three splits."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd import registry
from edgekd.data import buffers, splitting
from edgekd.data.arrays import grouped
from edgekd.data.dataset import UNLABELLED, Dataset, Loaded, Split
from edgekd.data.joined import Joined
from edgekd.errors import DataError, RecipeError, unknown_name
from edgekd.records import Task

SOURCES = "edgekd.data.sources"


def load(
    dataset: str,
    *,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    train_limit: int | None = None,
    validation_limit: int | None = None,
    test_limit: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    unlabelled: str | None = None,
    unlabelled_arguments: Mapping[str, Any] | None = None,
    unlabelled_limit: int | None = None,
    task: Task = "classification",
) -> Dataset:
    """Returns a dataset in three splits, the same ones every time.

    A source's own validation split is used as it is. Where it has none, validation samples are held out of its
    training samples, never of its test samples. Where it has no test split either, that one is held out first. Both
    choices are stratified: each class keeps its share.

    `split_seed` is not the training seed, on purpose: runs with several seeds are compared with each other and share
    the cached outputs of one teacher, so they must train, select and test on the same samples. If the split moved
    with the seed, the spread between seeds would mix the luck of the split with that of the training, and a test
    sample of one run would be a training sample of the next.

    Args:
      dataset: "NAME" or "NAME:LOCATION": embedded, synthetic, tfds:fashion_mnist, idx:FOLDER, image_folder:FOLDER,
        npz:FILE.
      validation_fraction: share of the training samples held out for validation, between 0 and 1.
      test_fraction: share of all samples held out for the test, between 0 and 1; for sources without a test split.
      split_seed: decides which samples are held out and which ones a limit keeps.
      train_limit: at most so many training samples, a stratified choice; None for all.
      validation_limit: the same for validation.
      test_limit: the same for the test.
      arguments: the source's own options, such as {"image_size": 32}.
      unlabelled: further images for training without labels, "NAME" or "NAME:LOCATION" as above: all training samples
        of that source, after those of the dataset. Labels that they may have are ignored; an npz file needs no labels
        and an image folder no class folders.
      unlabelled_arguments: that source's own options.
      unlabelled_limit: at most so many of them, chosen by `split_seed`; None for all.
      task: what networks are to give for a sample, see `edgekd.data.dataset.Dataset`.

    Raises:
      RecipeError: an unknown source or option, a missing or superfluous location, or a number out of range.
      DataError: data that is missing, unreadable, truncated or inconsistent, or unlabelled samples of another shape or
        dtype than the dataset's.
    """
    if task not in typing.get_args(Task):
        raise RecipeError(unknown_name("task", task, typing.get_args(Task)))
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    limits = {"train_limit": train_limit, "validation_limit": validation_limit, "test_limit": test_limit}
    _check_numbers(fractions, {**limits, "unlabelled_limit": unlabelled_limit})
    if unlabelled is None and (unlabelled_arguments or unlabelled_limit is not None):
        raise RecipeError("options of unlabelled images are given and no unlabelled images: say where they are.")
    loaded = _load_source(dataset, dict(arguments or {}))
    if task == "reconstruction" and loaded.clips is not None:
        if loaded.test is None:
            raise DataError(
                f"{loaded.name}: clips of test samples are given, and no test split of its own: add x_test."
            )
        loaded = dataclasses.replace(loaded, test=grouped(loaded.test, loaded.clips, name=loaded.name))
    places = _divide(loaded, validation_fraction, test_fraction, split_seed, task)
    train, validation, test = (
        _gather(place, part=part, limit=limits[f"{part}_limit"], seed=split_seed) for part, place in places.items()
    )
    name = loaded.name
    if unlabelled is not None:
        further = _load_unlabelled(unlabelled, dict(unlabelled_arguments or {}))
        train = _with_unlabelled(train, name, further, limit=unlabelled_limit, seed=split_seed)
        name = f"{name} and {further.name} unlabelled"
    return Dataset(name, train, validation, test, class_names=tuple(loaded.class_names), task=task)


@dataclasses.dataclass(frozen=True, eq=False)
class _Place:
    """Where the samples of a split are: positions in one of the source's splits."""

    split: Split
    positions: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.positions]

    def at(self, positions: np.ndarray) -> "_Place":
        return _Place(self.split, self.positions[positions])


def _load_unlabelled(dataset: str, arguments: dict[str, Any]) -> Loaded:
    plugin = registry.describe(SOURCES, dataset.partition(":")[0], entry="load")
    if "labelled" in plugin.parameters:
        arguments = {"labelled": False, **arguments}
    return _load_source(dataset, arguments)


def _with_unlabelled(train: Split, name: str, further: Loaded, *, limit: int | None, seed: int) -> Split:
    images = further.train.images
    if (images.shape[1:], images.dtype) != (train.images.shape[1:], train.images.dtype):
        raise DataError(
            f"{further.name}: its unlabelled samples are {images.dtype} {list(images.shape[1:])} and the training "
            f"samples of {name} are {train.images.dtype} {list(train.images.shape[1:])}: expected the same. Convert "
            "one of them, such as with image_size and channels of an image folder."
        )
    if limit is not None and limit < len(images):
        alike = np.zeros(len(images), np.int64)
        chosen = splitting.stratified_sample(alike, limit, seed=seed, stream="limit.unlabelled")
        images = buffers.take(images, chosen, what="the unlabelled samples")
    labels = np.concatenate([train.labels, np.full(len(images), UNLABELLED)])
    return Split(Joined([train.images, images]), labels)


def _load_source(dataset: str, arguments: dict[str, Any]) -> Loaded:
    name, _, location = dataset.partition(":")
    plugin = registry.describe(SOURCES, name, entry="load")
    kind = f"option of dataset source {name!r}"
    registry.check_arguments(plugin, arguments, kind=kind)
    registry.check_types(plugin, arguments, kind=kind)
    expected = plugin.constants["LOCATION"]
    if expected is None and location:
        raise RecipeError(f"dataset {dataset!r}: {name} takes no location. Write {name!r}.")
    if expected is not None and not location:
        raise RecipeError(f"dataset {dataset!r} lacks its location: expected '{name}:{expected}'.")
    loaded: Loaded = registry.load(SOURCES, name).load(location, **arguments)
    return loaded


def _divide(
    loaded: Loaded, validation_fraction: float, test_fraction: float, seed: int, task: Task
) -> dict[str, _Place]:
    train = _all_of(loaded.train)
    if loaded.test is None:
        train, test = _hold_out(train, loaded.name, "test", test_fraction, seed)
    else:
        test = _all_of(loaded.test)
    if loaded.validation is None:
        of_all = task == "reconstruction"  # whose training looks at no label
        train, validation = _hold_out(train, loaded.name, "validation", validation_fraction, seed, of_all=of_all)
    else:
        validation = _all_of(loaded.validation)
    return {"train": train, "validation": validation, "test": test}


def _all_of(split: Split) -> _Place:
    return _Place(split, np.arange(len(split)))


def _hold_out(
    place: _Place, name: str, part: str, fraction: float, seed: int, *, of_all: bool = False
) -> tuple[_Place, _Place]:
    labelled = np.arange(len(place.labels)) if of_all else np.flatnonzero(place.labels != UNLABELLED)
    labels = place.labels[labelled]
    count = max(1, round(len(labels) * fraction))
    if count >= len(labels):
        kind = "samples" if len(labels) == len(place.labels) else f"labelled samples of {len(place.labels)}"
        raise DataError(
            f"{name}: {len(labels)} {kind} are too few to hold out a {part} split: expected at least a handful of "
            "samples of each class."
        )
    held_out = labelled[splitting.stratified_sample(labels, count, seed=seed, stream=f"split.{part}")]
    rest = np.setdiff1d(np.arange(len(place.labels)), held_out, assume_unique=True)
    return place.at(rest), place.at(held_out)


def _gather(place: _Place, *, part: str, limit: int | None, seed: int) -> Split:
    labels = place.labels
    if limit is not None and limit < len(labels):
        place = place.at(_limited(place, limit, part=part, seed=seed))
    groups = None if place.split.groups is None else place.split.groups[place.positions]
    return Split(buffers.take(place.split.images, place.positions, what=f"the {part} split"), place.labels, groups)


def _limited(place: _Place, limit: int, *, part: str, seed: int) -> np.ndarray:
    """Returns the positions that a limit keeps; of samples that are judged together all or none."""
    stream = f"limit.{part}"
    if place.split.groups is None:
        return splitting.stratified_sample(place.labels, limit, seed=seed, stream=stream)
    _, first, of_sample = np.unique(place.split.groups[place.positions], return_index=True, return_inverse=True)
    labels = place.labels[first]
    for count in range(min(limit, len(labels)), 0, -1):
        kept = np.isin(of_sample, splitting.stratified_sample(labels, count, seed=seed, stream=stream))
        if kept.sum() <= limit:
            return np.flatnonzero(kept)
    least = int(np.bincount(of_sample).min())
    raise DataError(f"{part}_limit is {limit}, and no clip has so few samples: expected {least} or more.")


def _check_numbers(fractions: Mapping[str, float], limits: Mapping[str, int | None]) -> None:
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise RecipeError(f"{name} is {fraction}: expected a number between 0 and 1, such as 0.1.")
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise RecipeError(f"{name} is {limit}: expected 1 or more, or nothing for no limit.")
