"""TensorFlow Datasets: any image-classification dataset of TFDS by its name, once it is prepared on this machine."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data import tfds_builder
from edgekd.data.dataset import Loaded, Split
from edgekd.data.images import Encoded, decode_all, size_option
from edgekd.errors import DataError

LOCATION = "NAME"
_BATCH = 256


def load(
    location: str,
    *,
    data_dir: str | None = None,
    image_size: int | Sequence[int] | None = None,
    train_split: str = "train",
    validation_split: str | None = None,
    test_split: str | None = None,
    download: bool = False,
) -> Loaded:
    """Returns a dataset that TFDS has prepared, in TFDS's own order.

    Args:
      location: as in TFDS: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
      data_dir: the folder of prepared datasets; None for TFDS's own choice (TFDS_DATA_DIR, else
        ~/tensorflow_datasets).
      image_size: pixels, or [height, width], that every image is resized to; None where all have one size.
      train_split: TFDS's name of the training split; slices such as "train[:10%]" are welcome in all three.
      validation_split: the same for validation; None for "validation" where the dataset has it.
      test_split: the same for the test; None for "test" where the dataset has it.
      download: whether TFDS may download and prepare what is not prepared.

    Raises:
      DataError: an unknown name or split, splits that share samples, a dataset that is not prepared, damaged or not
        one of image classification, or images of several sizes.
    """
    size = size_option(image_size)
    builder = tfds_builder.find_builder(location, None if data_dir is None else Path(data_dir).expanduser())
    keys = _supervised_keys(builder)
    if not tfds_builder.is_prepared(builder):
        if not download:
            raise DataError(
                f"TFDS dataset {location!r} is not prepared in {str(builder.data_path)!r}: run `edgekd data import "
                f"{location} --from FOLDER` with files you already have, or give the option download=true."
            )
        tfds_builder.download(builder)
    available = list(builder.info.splits)
    used = {train_split, validation_split, test_split}
    names = {
        "train": train_split,
        "validation": validation_split or _own_split("validation", available, used),
        "test": test_split or _own_split("test", available, used),
    }
    chosen = {part: name for part, name in names.items() if name is not None}
    _require_disjoint(builder, chosen)
    splits = {part: _read(builder, name, keys, size) for part, name in chosen.items()}
    return Loaded(
        name=f"tfds:{builder.info.full_name}",
        train=splits["train"],
        test=splits.get("test"),
        validation=splits.get("validation"),
        class_names=tuple(builder.info.features[keys.label].names),
    )


@dataclasses.dataclass(frozen=True)
class _Keys:
    """The names of the image and of its class among a dataset's features."""

    image: str
    label: str


def _supervised_keys(builder: Any) -> _Keys:
    import tensorflow_datasets as tfds

    described = "none that have names"
    if isinstance(builder.info.features, tfds.features.FeaturesDict):
        features = dict(builder.info.features.items())
        pair = builder.info.supervised_keys or (
            _only(features, tfds.features.Image),
            _only(features, tfds.features.ClassLabel),
        )
        image, label = (features.get(key) for key in pair[:2])
        if (
            isinstance(image, tfds.features.Image)
            and image.np_dtype == np.uint8
            and isinstance(label, tfds.features.ClassLabel)
        ):
            return _Keys(*pair[:2])
        described = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
    raise DataError(
        f"TFDS dataset {builder.name!r} is not one of image classification: its features are {described}; expected an "
        "Image with 8 bits per channel and a ClassLabel."
    )


def _only(features: Mapping[str, Any], kind: type) -> str | None:
    found = [name for name, feature in features.items() if type(feature) is kind]
    return found[0] if len(found) == 1 else None


def _own_split(name: str, available: list[str], used: set[str | None]) -> str | None:
    return name if name in available and name not in used else None


def _require_disjoint(builder: Any, chosen: Mapping[str, str]) -> None:
    for (first, first_name), (second, second_name) in itertools.combinations(chosen.items(), 2):
        if any(
            one.filename == other.filename and max(one.skip, other.skip) < min(_end(one), _end(other))
            for one in _split_info(builder, first_name).file_instructions
            for other in _split_info(builder, second_name).file_instructions
        ):
            raise DataError(
                f"TFDS dataset {builder.name!r}: {first_name!r} for {first} and {second_name!r} for {second} share "
                "samples: choose splits or slices that do not, such as 'train[:90%]' and 'train[90%:]'."
            )


def _end(part: Any) -> int:
    """Returns where the samples that are read from a file end."""
    return int(part.examples_in_shard if part.take < 0 else part.skip + part.take)


def _split_info(builder: Any, split: str) -> Any:
    available = builder.info.splits
    try:
        return available[split]
    except (KeyError, ValueError) as error:
        raise DataError(
            f"TFDS dataset {builder.name!r} has no split {split!r}: it has {', '.join(available)}."
        ) from error


def _read(builder: Any, split: str, keys: _Keys, image_size: tuple[int, int] | None) -> Split:
    count = int(_split_info(builder, split).num_examples)
    if not count:
        raise DataError(f"TFDS dataset {builder.name!r}: split {split!r} is empty: expected at least one sample.")
    channels = builder.info.features[keys.image].shape[-1]
    labels = np.empty(count, np.int64)
    with _damage_named(builder):
        images = decode_all(
            _examples(builder, split, keys, labels),
            count=count,
            image_size=image_size,
            channels=channels,
            what=f"split {split!r} of TFDS dataset {builder.name!r}",
        )
    return Split(images, labels)


@contextlib.contextmanager
def _damage_named(builder: Any) -> Iterator[None]:
    import tensorflow as tf

    try:
        yield
    except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
        reason = " ".join(error.message.partition("[Op:")[0].split())
        raise DataError(
            f"TFDS dataset {builder.name!r} in {str(builder.data_path)!r} is damaged ({reason}): remove that folder "
            "and prepare it again."
        ) from error


def _examples(builder: Any, split: str, keys: _Keys, labels: np.ndarray) -> Iterator[Encoded]:
    """Yields the encoded images in order and fills `labels` on the way: one pass over the files."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    skipped = {name: tfds.decode.SkipDecoding() for name, kind in features.items() if type(kind) is tfds.features.Image}
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    examples = builder.as_dataset(split=split, shuffle_files=False, decoders=skipped, read_config=config)
    examples = examples.map(lambda example: {key: example[key] for key in (keys.image, keys.label)})
    position = 0
    for batch in tfds.as_numpy(examples.batch(_BATCH)):
        labels[position : position + len(batch[keys.label])] = batch[keys.label]
        for encoded in batch[keys.image]:
            yield f"{builder.name}/{split} example {position}", encoded
            position += 1
