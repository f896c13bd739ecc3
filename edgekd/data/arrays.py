"""Reads NumPy archives without trusting them, and makes splits of the arrays in them."""

import lzma
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekd.data import buffers, files
from edgekd.data.dataset import UNLABELLED, Loaded, Split, integer_labels, numbered_classes, with_channel_axis
from edgekd.errors import DataError, RecipeError

# What zipfile and NumPy's header parser let through, an encrypted member's RuntimeError included.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,
)
_LIKE_A_SPLIT = re.compile(r"[xy](_.*)?", re.IGNORECASE)
_OTHER_NAMES = {"x": "images", "y": "labels"}  # other names for the arrays of a file with one split
_SPLITS = {"train": "train", "test": "test", "validation": "val"}
_CLIPS = "clip_test"


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name.

    Pickled objects are refused, and an array whose header claims another size than the archive holds is refused
    before anything is allocated.

    Raises:
      DataError: it does not exist, is not an .npz archive, is truncated or damaged, holds Python objects, or needs
        more memory than the machine has free.
    """
    files.require_data_file(path, ".npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _UNREADABLE as error:
        raise DataError(
            f"{str(path)!r} is not a readable .npz archive ({error}): write it with numpy.savez."
        ) from error


def loaded_from_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    name: str,
    what: str,
    class_names: Sequence[str] | None = None,
    channel_axis: bool | None = None,
    labelled: bool = True,
) -> Loaded:
    """Returns the splits that arrays named like those of an .npz dataset hold.

    Args:
      arrays: x_train, y_train (or x, y, which may also be called images, labels), and optionally x_test, y_test, x_val,
        y_val, class_names and clip_test, which says of test samples which belong together where networks reconstruct;
        any others whose names do not begin with x_ or y_ are left alone.
      name: the dataset's name.
      what: where the arrays come from, for messages.
      class_names: names that take precedence over those among the arrays.
      channel_axis: whether to add a last axis of 1; None decides by dtype and rank.
      labelled: False reads x_train (or x) only, as samples without labels: all labels are UNLABELLED, and there are no
        classes.

    Raises:
      DataError: arrays that are missing, named like a split that is not read, or of other dtypes or shapes than a split
        has.
      RecipeError: class names or a channel axis of the wrong kind.
    """
    if channel_axis not in (None, True, False):
        raise RecipeError(f"channel_axis is {channel_axis!r}: expected true, false or nothing.")
    keys = _keys(arrays, what=what)
    if not labelled:
        train = _split(arrays, (keys["train"][0], None), what=what, channel_axis=channel_axis)
        return Loaded(name=name, train=train, class_names=())
    splits = {part: _split(arrays, pair, what=what, channel_axis=channel_axis) for part, pair in keys.items()}
    names = _class_names(arrays, class_names, what) or numbered_classes(splits["train"].labels)
    return Loaded(
        name=name,
        train=splits["train"],
        test=splits.get("test"),
        validation=splits.get("validation"),
        class_names=names,
        clips=arrays.get(_CLIPS),
    )


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    total = 0
    for member in archive.infolist():
        if not member.filename.endswith(".npy"):
            raise DataError(
                f"{str(path)!r} holds {member.filename!r}: expected only arrays (.npy), as numpy.savez does."
            )
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            header_bytes = file.tell()
        if dtype.hasobject:
            raise DataError(
                f"{str(path)!r}: array {member.filename.removesuffix('.npy')!r} holds Python objects, which are "
                "pickled and could run code: expected numbers. Save it with a numeric dtype."
            )
        claimed = math.prod(shape) * dtype.itemsize
        if claimed + header_bytes != member.file_size:
            raise DataError(
                f"{str(path)!r}: array {member.filename.removesuffix('.npy')!r} claims {claimed} bytes and the archive "
                f"holds {member.file_size - header_bytes}: the file is damaged. Write it again."
            )
        total += claimed
    buffers.require_memory(total, what=repr(str(path)))


def _keys(arrays: Mapping[str, np.ndarray], *, what: str) -> dict[str, tuple[str, str]]:
    pairs = {part: (f"x_{suffix}", f"y_{suffix}") for part, suffix in _SPLITS.items()}
    only = tuple(name if name in arrays else _other_name(name, arrays) for name in ("x", "y"))
    if only[0] in arrays and "x_train" not in arrays:
        pairs["train"] = (only[0], only[1])
    read = {name for pair in pairs.values() for name in pair}
    unread = sorted(name for name in arrays if _LIKE_A_SPLIT.fullmatch(name) and name not in read)
    if unread and pairs["train"][0] in arrays:
        raise DataError(
            f"{what}: {', '.join(map(repr, unread))} would not be read: expected x_train and y_train (or x and y), "
            "x_test, y_test, x_val, y_val. Rename or remove such arrays."
        )
    return {part: pair for part, pair in pairs.items() if part == "train" or pair[0] in arrays or pair[1] in arrays}


def _other_name(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    return _OTHER_NAMES[name] if _OTHER_NAMES[name] in arrays else name


def _split(
    arrays: Mapping[str, np.ndarray], pair: tuple[str, str | None], *, what: str, channel_axis: bool | None
) -> Split:
    """Returns the split of the samples and labels of these names; of samples without labels where one is None."""
    missing = [key for key in pair if key is not None and key not in arrays]
    if missing:
        expected = "x_train and y_train (and x_test, y_test, x_val, y_val), or x and y (also called images and labels)"
        raise DataError(
            f"{what}: no array {' and no '.join(repr(key) for key in missing)}; it has {', '.join(sorted(arrays))}. "
            f"Expected {expected if pair[1] else 'x_train or x, as samples without labels'}."
        )
    samples = arrays[pair[0]]
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinities are found, with their positions, when the dataset is checked
            samples = samples.astype(np.float32, copy=False)
    if channel_axis or (channel_axis is None and samples.dtype == np.uint8):
        samples = samples[..., np.newaxis] if channel_axis else with_channel_axis(samples)
    try:
        if pair[1] is None:
            return Split(samples, np.full(samples.shape[:1], UNLABELLED).reshape(-1))
        return Split(samples, integer_labels(arrays[pair[1]], what=pair[1]))
    except DataError as error:
        raise DataError(f"{what}: {', '.join(key for key in pair if key)}: {error}") from error


def grouped(split: Split, clips: np.ndarray, *, name: str) -> Split:
    """Returns a test split whose samples of one clip are judged together.

    Args:
      split: of [n] samples.
      clips: [n], the number or name of the clip that each sample is of.
      name: the dataset's.

    Raises:
      DataError: numbers or names that are not one for each sample, or a clip whose samples have several labels.
    """
    if clips.dtype.kind not in "iufU" or clips.shape != split.labels.shape:
        raise DataError(
            f"{name}: {_CLIPS} has dtype {clips.dtype} and shape {list(clips.shape)}: expected the number or name of "
            f"the clip of each of the {len(split)} test samples."
        )
    names, groups = np.unique(clips, return_inverse=True)
    for group, clip in enumerate(names):
        labels = np.unique(split.labels[groups == group])
        if len(labels) > 1:
            raise DataError(
                f"{name}: the test samples of clip {clip.item()!r} have the labels {', '.join(map(str, labels))}: "
                "expected one label for all samples of a clip."
            )
    return Split(split.images, split.labels, groups.astype(np.int64))


def _class_names(arrays: Mapping[str, np.ndarray], option: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    if option is not None:
        return class_names_option(option)
    if "class_names" not in arrays:
        return None
    stored = arrays["class_names"]
    if stored.dtype.kind != "U" or stored.ndim != 1:
        raise DataError(
            f"{what}: class_names has dtype {stored.dtype} and shape {list(stored.shape)}: expected a list of strings."
        )
    return tuple(str(name) for name in stored)


def class_names_option(option: Sequence[str]) -> tuple[str, ...]:
    """Returns the option `class_names` as a tuple.

    Raises:
      RecipeError: anything else than a list of strings.
    """
    if not isinstance(option, list | tuple) or not all(isinstance(name, str) for name in option):
        raise RecipeError(f"class_names is {option!r}: expected a list of names.")
    return tuple(option)
