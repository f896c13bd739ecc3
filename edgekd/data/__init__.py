"""Data: one file per source, and the one way from a source to three splits."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd import registry
from edgekd.data import buffers, splitting
from edgekd.data.dataset import Dataset, Loaded, Split
from edgekd.errors import DataError, RecipeError

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

    Raises:
      RecipeError: an unknown source or option, a missing or superfluous location, or a number out of range.
      DataError: data that is missing, unreadable, truncated or inconsistent.
    """
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    limits = {"train_limit": train_limit, "validation_limit": validation_limit, "test_limit": test_limit}
    _check_numbers(fractions, limits)
    loaded = _load_source(dataset, dict(arguments or {}))
    places = _divide(loaded, validation_fraction, test_fraction, split_seed)
    train, validation, test = (
        _gather(place, part=part, limit=limits[f"{part}_limit"], seed=split_seed) for part, place in places.items()
    )
    return Dataset(
        name=loaded.name, train=train, validation=validation, test=test, class_names=tuple(loaded.class_names)
    )


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


def _divide(loaded: Loaded, validation_fraction: float, test_fraction: float, seed: int) -> dict[str, _Place]:
    train = _all_of(loaded.train)
    if loaded.test is None:
        train, test = _hold_out(train, loaded.name, "test", test_fraction, seed)
    else:
        test = _all_of(loaded.test)
    if loaded.validation is None:
        train, validation = _hold_out(train, loaded.name, "validation", validation_fraction, seed)
    else:
        validation = _all_of(loaded.validation)
    return {"train": train, "validation": validation, "test": test}


def _all_of(split: Split) -> _Place:
    return _Place(split, np.arange(len(split)))


def _hold_out(place: _Place, name: str, part: str, fraction: float, seed: int) -> tuple[_Place, _Place]:
    labels = place.labels
    count = max(1, round(len(labels) * fraction))
    if count >= len(labels):
        raise DataError(
            f"{name}: {len(labels)} samples are too few to hold out a {part} split: expected at least a handful of "
            "samples of each class."
        )
    rest, held_out = splitting.stratified_halves(labels, count, seed=seed, stream=f"split.{part}")
    return place.at(rest), place.at(held_out)


def _gather(place: _Place, *, part: str, limit: int | None, seed: int) -> Split:
    labels = place.labels
    if limit is not None and limit < len(labels):
        place = place.at(splitting.stratified_sample(labels, limit, seed=seed, stream=f"limit.{part}"))
    return Split(buffers.take(place.split.images, place.positions, what=f"the {part} split"), place.labels)


def _check_numbers(fractions: Mapping[str, float], limits: Mapping[str, int | None]) -> None:
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise RecipeError(f"{name} is {fraction}: expected a number between 0 and 1, such as 0.1.")
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise RecipeError(f"{name} is {limit}: expected 1 or more, or nothing for no limit.")
