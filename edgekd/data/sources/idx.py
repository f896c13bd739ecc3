"""MNIST-style folders of IDX files, gzipped or not: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.data.arrays import class_names_option
from edgekd.data.dataset import Loaded, Split, integer_labels, numbered_classes, with_channel_axis
from edgekd.data.idx_format import read_idx
from edgekd.errors import DataError

LOCATION = "FOLDER"
_TEST_NAMES = ("t10k", "test")


def load(location: str, *, prefix: str = "", class_names: Sequence[str] | None = None) -> Loaded:
    """Returns the IDX files of a folder: training images and labels, and test ones where there are.

    The dimensions of the images are free: idx3 is [n, height, width] (grey), idx4 [n, height, width, channels]. Both
    spellings of names are read: `train-images-idx3-ubyte` and `train-images.idx3-ubyte`, with or without `.gz`.

    Args:
      location: path of the folder.
      prefix: what the file names start with, such as "emnist-letters-".
      class_names: the classes' names in the order of their numbers; None names them by number.

    Raises:
      DataError: a missing folder or file, a file that is not IDX, is truncated or too long, or images and labels
        that do not match.
    """
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise DataError(f"IDX folder {location!r} does not exist: expected a folder with train-images-idx3-ubyte[.gz].")
    train = _read_split(folder, f"{prefix}train")
    test = next((name for name in _TEST_NAMES if _has_files(folder, f"{prefix}{name}")), None)
    return Loaded(
        name=f"idx:{folder.resolve().name}",
        train=train,
        test=None if test is None else _read_split(folder, f"{prefix}{test}"),
        class_names=numbered_classes(train.labels) if class_names is None else class_names_option(class_names),
    )


def _read_split(folder: Path, part: str) -> Split:
    images = read_idx(_find(folder, f"{part}-images"))
    labels = read_idx(_find(folder, f"{part}-labels"))
    try:
        return Split(with_channel_axis(images), integer_labels(labels, what=f"{part}-labels"))
    except DataError as error:
        raise DataError(f"{str(folder)!r}: {part}: {error}") from error


def _has_files(folder: Path, part: str) -> bool:
    """Whether there are images or labels of that part: one without the other is an error, not a missing split."""
    return any(_is_named(path.name, f"{part}-{kind}") for path in folder.iterdir() for kind in ("images", "labels"))


def _find(folder: Path, stem: str) -> Path:
    found = sorted(path for path in folder.iterdir() if _is_named(path.name, stem))
    if not found:
        raise DataError(f"{str(folder)!r} has no file {stem}-idx3-ubyte or the like, gzipped or not: check the folder.")
    # A file and its unpacked twin hold the same: the unpacked one opens faster.
    return found[0]


def _is_named(name: str, stem: str) -> bool:
    rest = name.removesuffix(".gz").removeprefix(stem)
    return (
        name.startswith(stem)
        and len(rest) == len("-idx3-ubyte")
        and rest[0] in "-."
        and rest[1:4] == "idx"
        and rest.endswith("-ubyte")
    )
