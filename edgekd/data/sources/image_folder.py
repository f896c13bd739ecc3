"""Folders of PNG and JPEG images, one folder per class, with or without train, test and validation above them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.data.dataset import UNLABELLED, Loaded, Split
from edgekd.data.images import channels_option, decode_all, size_option
from edgekd.errors import DataError

LOCATION = "FOLDER"
_SUFFIXES = (".png", ".jpg", ".jpeg")
_LITTER = ("Thumbs.db", "desktop.ini")
_VALIDATION_NAMES = ("val", "validation")


def load(
    location: str,
    *,
    image_size: int | Sequence[int] | None = None,
    channels: int | None = None,
    labelled: bool = True,
) -> Loaded:
    """Returns the images of FOLDER/<class>/ or of FOLDER/train/<class>/, FOLDER/test/<class>/ (and val or validation).

    The classes are the training folders' names in alphabetical order, and so are the files within a class. Hidden
    files are left out. Any other file in a class folder that is not PNG or JPEG is an error, and so is an image beside
    the class folders: nothing is lost silently.

    Args:
      location: path of the folder.
      image_size: pixels, or [height, width], that every image is resized to; None where all have one size.
      channels: 1 for grey, 3 for RGB, 4 for RGBA; None where all are grey or all are colour.
      labelled: False reads images without labels: those directly in FOLDER (in FOLDER/train where there is one) and
        those in the folders there, whatever these are called.

    Raises:
      DataError: a missing folder, a folder without images, a class of the test that training lacks, a file that is
        not an image or is damaged, or images of several sizes or channel counts.
    """
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise DataError(f"image folder {location!r} does not exist: expected a folder with one folder per class.")
    size, channel_count = size_option(image_size), channels_option(channels)
    if not labelled:
        return Loaded(
            name=f"image_folder:{folder.resolve().name}",
            train=_read_unlabelled(folder, size, channel_count),
            class_names=(),
        )
    places = _split_folders(folder)
    class_names = tuple(_folders(places["train"]))
    if not class_names:
        raise DataError(
            f"{str(places['train'])!r} has no folders: expected one folder per class with its images. Images without "
            "classes are read with labelled=false, as unlabelled ones."
        )
    splits = {part: _read(place, class_names, size, channel_count) for part, place in places.items()}
    return Loaded(
        name=f"image_folder:{folder.resolve().name}",
        train=splits["train"],
        test=splits.get("test"),
        validation=splits.get("validation"),
        class_names=class_names,
    )


def _split_folders(folder: Path) -> dict[str, Path]:
    names = _folders(folder)
    if "train" not in names:
        return {"train": folder}
    validation = [name for name in _VALIDATION_NAMES if name in names]
    if len(validation) == 2:
        raise DataError(f"{str(folder)!r} has both val and validation: keep one of them.")
    unknown = sorted(set(names) - {"train", "test", *_VALIDATION_NAMES})
    if unknown:
        raise DataError(
            f"{str(folder)!r} has train beside {', '.join(unknown)}: expected either split folders (train, test, val) "
            "or class folders, not both."
        )
    places = {"train": folder / "train"}
    if "test" in names:
        places["test"] = folder / "test"
    if validation:
        places["validation"] = folder / validation[0]
    return places


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _read(
    folder: Path, class_names: tuple[str, ...], image_size: tuple[int, int] | None, channels: int | None
) -> Split:
    unknown = sorted(set(_folders(folder)) - set(class_names))
    if unknown:
        raise DataError(
            f"{str(folder)!r} has class {', '.join(unknown)}, which training lacks: its classes are "
            f"{', '.join(class_names)}."
        )
    stray = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and _is_image(entry.name))
    if stray:
        raise DataError(
            f"{str(folder / stray[0])!r} stands beside the class folders: move it into the folder of its class, or "
            "elsewhere."
        )
    paths: list[Path] = []
    counts = []
    for name in class_names:
        files = _images(folder / name)
        paths.extend(files)
        counts.append(len(files))
    images = _decode(folder, paths, image_size, channels)
    return Split(images, np.repeat(np.arange(len(class_names)), counts))


def _read_unlabelled(folder: Path, image_size: tuple[int, int] | None, channels: int | None) -> Split:
    if "train" in _folders(folder):
        folder = folder / "train"
    inner = _folders(folder)
    if inner:
        beside = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and _is_image(entry.name))
        paths = [folder / name for name in beside]
        for name in inner:
            paths.extend(_images(folder / name))
    else:
        paths = _images(folder)
    return Split(_decode(folder, paths, image_size, channels), np.full(len(paths), UNLABELLED))


def _decode(
    folder: Path, paths: Sequence[Path], image_size: tuple[int, int] | None, channels: int | None
) -> np.ndarray:
    encoded = ((str(path), path) for path in paths)
    return decode_all(
        encoded, count=len(paths), image_size=image_size, channels=channels, what=f"the images of {str(folder)!r}"
    )


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{str(folder)!r} does not exist: expected a folder for every class of the training folder.")
    names = sorted(name for name in os.listdir(folder) if not name.startswith(".") and name not in _LITTER)  # noqa: PTH208 - Path.iterdir is several times slower on folders of many files
    for name in names:
        if not _is_image(name):
            raise DataError(
                f"{str(folder / name)!r} is not a PNG or JPEG file: expected only such files in a folder of images. "
                "Convert it, or move it elsewhere."
            )
    if not names:
        raise DataError(f"image folder {str(folder)!r} is empty: expected at least one PNG or JPEG file.")
    return [folder / name for name in names]


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")
