"""What every source of data gives: labelled arrays, checked once, that read as float32 batches."""

import dataclasses
import functools
import hashlib

import numpy as np

from edgekd.data import buffers
from edgekd.data.joined import Joined
from edgekd.errors import DataError
from edgekd.records import DatasetRecord, Task

PIXELS = "pixel / 255: float32 from 0 to 1"
AS_STORED = "none: float32 as stored"
UNLABELLED = -1  # the label of a training sample whose class is not known

_MOST_CLASSES = 65_536
_MOST_NAMED = 10  # classes, in one line


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Samples and their labels; sample i is images[i].

    Attributes:
      images: [n, ...] uint8 (images, read as x / 255) or float32 (read as it is); it may be a memory map, or several
        arrays read as one. Images have a channel axis last, also greyscale ones; float data, such as sensor windows or
        features, has any rank.
      labels: [n] int64, the class of each sample, or UNLABELLED.
      groups: [n] int64, equal for samples that are judged together, such as the windows of one recording, where what
        finds anomalies is tested; None where each stands for itself.
    """

    images: np.ndarray | Joined
    labels: np.ndarray
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.dtype not in (np.uint8, np.float32) or self.images.ndim < 2:
            raise DataError(
                f"samples of dtype {self.images.dtype} and shape {list(self.images.shape)}: expected uint8 or float32 "
                "with the sample on the first axis and at least one more axis. Convert them first."
            )
        if self.labels.dtype != np.int64 or self.labels.ndim != 1:
            raise DataError(
                f"labels of dtype {self.labels.dtype} and shape {list(self.labels.shape)}: expected one integer class "
                "per sample, [n]. Turn one-hot rows into class numbers with argmax, and floats into integers."
            )
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{len(self.images)} samples with {len(self.labels)} labels: every sample needs exactly one label."
            )
        if 0 in self.images.shape[1:]:
            raise DataError(f"samples of shape {list(self.images.shape[1:])} hold no value: no axis may be 0.")
        if self.groups is not None and (self.groups.dtype != np.int64 or self.groups.shape != self.labels.shape):
            raise DataError(
                f"groups of dtype {self.groups.dtype} and shape {list(self.groups.shape)} for {len(self.labels)} "
                "samples: expected one integer for each."
            )

    def __repr__(self) -> str:
        """Returns one line without the samples: `<Split: 2,000 samples of 28 x 28 x 1, uint8>`."""
        return f"<Split: {len(self):,} samples of {_by(self.images.shape[1:])}, {self.images.dtype}>"

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (samples [k, ...] float32, labels [k] int64) at the given positions, as copies."""
        return as_float32(self.images[indices]), self.labels[indices]


@dataclasses.dataclass(frozen=True, eq=False)
class Loaded:
    """What a source gives: `test` and `validation` are None where it has no such split of its own.

    `clips` says of test samples which belong together, where the source has that; see `edgekd.data.arrays.grouped`.
    """

    name: str
    train: Split
    class_names: tuple[str, ...]
    test: Split | None = None
    validation: Split | None = None
    clips: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset in three splits, checked at construction; only the training split may hold unlabelled samples.

    Attributes:
      name: of the dataset.
      train: what is learned from.
      validation: what selects epochs.
      test: what is read once, at the end.
      class_names: in the order of the labels.
      task: what networks are to give for a sample: its class, or the sample itself.

    Raises:
      DataError: an empty split, splits of different shapes or dtypes, labels outside the classes, samples that are not
        finite, or, where networks reconstruct, no normal test sample.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    task: Task = "classification"

    def __post_init__(self) -> None:
        self._check_classes()
        for name, split in self.splits.items():
            if not len(split):
                raise DataError(f"{self.name}: the {name} split is empty: expected at least one sample.")
            self._check_form(name, split)
            self._check_labels(name, split)
            self._check_finite(name, split)
        if self.reconstructs and self.anomalous(self.test).all():
            raise DataError(
                f"{self.name}: none of the {len(self.test)} test samples is normal, of a class that training or "
                "validation samples have: expected some. Label what is normal alike in every split, such as 0."
            )

    def check_classes_can_be_told(self) -> None:
        """Raises DataError where a classifier has nothing to learn: all training labels are of one class."""
        labels = self.train.labels[self.train.labels != UNLABELLED]
        present = np.unique(labels)
        if len(present) == 1:
            raise DataError(
                f"{self.name}: all {len(labels)} training labels are class {present[0]} "
                f"({self.class_names[present[0]]!r}): expected samples of at least two classes, or task reconstruction."
            )

    def __str__(self) -> str:
        """Returns one line: `embedded: 12,000 training, 2,000 validation, 2,000 test samples of 28 x 28 x 1, ...`."""
        counts = f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test samples"
        if self.reconstructs:
            odd = int(np.count_nonzero(self.anomalous(self.test)))
            counts += f" ({len(self.test) - odd:,} normal, {odd:,} anomalous"
            groups = self.test.groups
            counts += ")" if groups is None else f", of {len(np.unique(groups)):,} clips)"
        told = "to be reconstructed" if self.reconstructs else f"{self.num_classes:,} classes"
        return f"{self.name}: {counts} of {_by(self.input_shape)}, {told}"

    def __repr__(self) -> str:
        """Returns that line with the first classes' names, and no samples."""
        more = ", ..." if self.num_classes > _MOST_NAMED else ""
        return f"<Dataset {self}: {', '.join(self.class_names[:_MOST_NAMED])}{more}>"

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name: train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @functools.cached_property
    def labelled_train(self) -> Split:
        """The training samples that have a label: all that a network trained on labels learns from.

        It is `train` itself where all have one, and where networks reconstruct, so that no label is looked at; it
        shares its memory where they come first.

        Raises:
          DataError: no training sample has a label.
        """
        if self.reconstructs:
            return self.train
        positions = np.flatnonzero(self.train.labels != UNLABELLED)
        count = len(positions)
        if not count:
            raise DataError(
                f"{self.name}: none of the {len(self.train)} training samples has a label: expected some to train on "
                "labels. Train by a teacher's outputs alone, or add labelled samples."
            )
        if count == len(self.train):
            return self.train
        if positions[-1] == count - 1:
            return Split(self.train.images[:count], self.train.labels[:count])
        images = buffers.take(self.train.images, positions, what=f"{self.name}: the labelled training samples")
        return Split(images, self.train.labels[positions])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (height, width, channels) for images."""
        return tuple(self.train.images.shape[1:])

    @property
    def reconstructs(self) -> bool:
        """Whether networks are to give back the sample, as autoencoders do."""
        return self.task == "reconstruction"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what a network is to give for one sample: its logits, or the sample."""
        return self.input_shape if self.reconstructs else (self.num_classes,)

    def anomalous(self, split: Split) -> np.ndarray:
        """Returns [n] booleans: which samples of a split are of a class that training and validation do not have."""
        known = np.union1d(self.train.labels, self.validation.labels)
        return ~np.isin(split.labels, known)

    @property
    def num_classes(self) -> int:
        """How many classes the labels may name."""
        return len(self.class_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The hexadecimal SHA-256 over shapes, dtypes, class names and every sample and label of every split."""
        digest = hashlib.sha256()
        digest.update(repr(self.class_names).encode())
        for name, split in self.splits.items():
            digest.update(f"{name} {split.images.dtype.name} {tuple(split.images.shape)}".encode())
            digest.update(split.labels.astype("<i8").data)
            if split.groups is not None:
                digest.update(b"groups" + split.groups.astype("<i8").tobytes())
            for chunk in buffers.chunks_of(split.images):
                digest.update(chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def record(self) -> DatasetRecord:
        """Returns what a run records about its data."""
        return DatasetRecord(
            name=self.name,
            fingerprint=self.fingerprint,
            input_shape=self.input_shape,
            preprocessing=PIXELS if self.train.images.dtype == np.uint8 else AS_STORED,
            class_names=self.class_names,
            train=len(self.train),
            validation=len(self.validation),
            test=len(self.test),
            unlabelled=int(np.count_nonzero(self.train.labels == UNLABELLED)),
        )

    def _check_classes(self) -> None:
        if len(self.class_names) < 2:
            raise DataError(
                f"{self.name}: {len(self.class_names)} class {list(self.class_names)}: expected at least two classes. "
                "Where only one is trained on, name them all: class_names, such as [normal, anomalous]."
            )
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if twice:
            raise DataError(f"{self.name}: class names used more than once: {', '.join(twice)}. Name each class once.")

    def _check_form(self, name: str, split: Split) -> None:
        expected, received = self.train.images, split.images
        if (expected.shape[1:], expected.dtype) != (received.shape[1:], received.dtype):
            raise DataError(
                f"{self.name}: {name} samples are {received.dtype} {list(received.shape[1:])} and training samples "
                f"{expected.dtype} {list(expected.shape[1:])}: expected the same in every split."
            )

    def _check_labels(self, name: str, split: Split) -> None:
        low, high = int(split.labels.min()), int(split.labels.max())
        lowest = UNLABELLED if split is self.train or (self.reconstructs and split is not self.test) else 0
        if low < lowest or high >= self.num_classes:
            wrong = low if low < lowest else high
            position = int(np.argmax(split.labels == wrong))
            exception = "" if wrong != UNLABELLED else f" ({UNLABELLED}, no label, is for training samples only)"
            raise DataError(
                f"{self.name}: {name} sample {position} has label {wrong}: expected 0..{self.num_classes - 1} "
                f"for {self.num_classes} classes{exception}. Correct the labels or the class names."
            )

    def _check_finite(self, name: str, split: Split) -> None:
        if split.images.dtype == np.uint8:
            return
        start = 0
        for chunk in buffers.chunks_of(split.images):
            finite = np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)
            if not finite.all():
                position = start + int(np.argmin(finite))
                among = int(np.count_nonzero(split.labels[:position] == UNLABELLED))
                place = f" (number {among} of the unlabelled ones)" if split.labels[position] == UNLABELLED else ""
                raise DataError(
                    f"{self.name}: {name} sample {position}{place} holds NaN or infinity: expected finite values. "
                    "Remove or repair such samples."
                )
            start += len(chunk)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def as_float32(samples: np.ndarray) -> np.ndarray:
    """Returns stored samples as networks get them: uint8 as fractions of 255, float32 as they are."""
    if samples.dtype != np.uint8:
        return np.asarray(samples)
    return np.divide(samples, np.float32(255), dtype=np.float32)


def with_channel_axis(images: np.ndarray) -> np.ndarray:
    """Returns greyscale images [n, height, width] as [n, height, width, 1], and anything else as it is."""
    return images[..., np.newaxis] if images.ndim == 3 else images


def numbered_classes(labels: np.ndarray) -> tuple[str, ...]:
    """Returns the names "0".."max" for training labels that come without names.

    Raises:
      DataError: a label that no classification dataset would have.
    """
    highest = int(labels.max(initial=-1))
    if highest >= _MOST_CLASSES:
        raise DataError(f"training label {highest} is not a class number: expected 0..{_MOST_CLASSES - 1}.")
    return tuple(str(number) for number in range(highest + 1))


def integer_labels(labels: np.ndarray, *, what: str) -> np.ndarray:
    """Returns labels of any integer dtype as [n] int64; a last axis of 1 is dropped.

    Raises:
      DataError: labels that are not integers or not one per sample.
    """
    if labels.dtype.kind not in "iu" or labels.ndim not in (1, 2) or labels.shape[1:] not in ((), (1,)):
        raise DataError(
            f"{what}: labels of dtype {labels.dtype} and shape {list(labels.shape)}: expected one integer class per "
            "sample, [n]. Turn one-hot rows into class numbers with argmax, and floats into integers."
        )
    return labels.reshape(-1).astype(np.int64)
