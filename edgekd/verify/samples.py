"""What the models are run on: real samples, or seeded ones that match what each input declares."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekd import data
from edgekd.data.arrays import read_npz
from edgekd.data.dataset import UNLABELLED, Split, as_float32
from edgekd.data.sources import image_folder
from edgekd.errors import DataError, RecipeError, ShapeError, unknown_name
from edgekd.records import TensorSpec
from edgekd.verify.arithmetic import integer_range
from edgekd.verify.records import InputData

Array = np.ndarray[Any, Any]

DEFAULT_SAMPLES = 64
_LABELS = ("y_test", "y", "labels")
_IMAGES = ("x_test", "x", "images")
_FLOATS = (0.0, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Samples for all inputs of a model.

    Attributes:
      arrays: for each input, in order, [samples, ...]: float32, or integers for inputs that take integers as they are.
      labels: [samples] int64, or None.
      name: what to call them.
      seeded: whether they are made up.
      inputs: what is in them.
    """

    arrays: tuple[Array, ...]
    labels: Array | None
    name: str
    seeded: bool
    inputs: tuple[InputData, ...]


def seeded_samples(
    inputs: Sequence[TensorSpec],
    *,
    samples: int = DEFAULT_SAMPLES,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float, str]] = MappingProxyType({}),
    shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> Samples:
    """Returns made-up samples that match each input's dtype, shape and declared range, evenly distributed in it.

    The range is the one in `ranges`; or that of the integers of a quantised input; or 0 to 1 for floats, and 0 to 1 for
    integers too, which any table of numbers or classes has (8-bit integers: all that the dtype holds).

    Args:
      inputs: of the model.
      samples: how many.
      seed: decides them.
      ranges: {input: (low, high, where that comes from)}.
      shapes: {input: shape with the batch} for inputs with open sizes.

    Raises:
      ShapeError: an input with open sizes and no shape, a shape that does not fit, or no samples.
      RecipeError: a range or shape for an input that is not there, or an empty range.
    """
    if samples < 1:
        raise ShapeError(f"{samples} seeded samples were asked for: nothing would be compared.")
    _require_known(inputs, ranges, "range")
    arrays, described = [], []
    for position, spec in enumerate(inputs):
        generator = np.random.default_rng([seed, position])
        low, high, origin = range_of(spec, ranges)
        shape = (samples, *sample_shape(spec, shapes))
        if np.dtype(spec.dtype).kind == "f" or spec.scale is not None:
            array = generator.uniform(low, high, shape).astype(np.float32)
        else:
            array = generator.integers(math.ceil(low), math.floor(high), shape, endpoint=True).astype(spec.dtype)
        arrays.append(array)
        described.append(_described(spec.name, array, origin=origin))
    return Samples(
        arrays=tuple(arrays),
        labels=None,
        name=f"{samples} seeded samples (seed {seed})",
        seeded=True,
        inputs=tuple(described),
    )


def split_samples(split: Split, inputs: Sequence[TensorSpec], *, name: str) -> Samples:
    """Returns the samples of a dataset's split, with their labels unless it has none, for a model with one input.

    Raises:
      ShapeError: the model has several inputs.
    """
    spec = _only_input(inputs, name)
    images, labels = split.read(np.arange(len(split)))
    pixels = split.images.dtype == np.uint8
    origin = "pixel / 255" if pixels else "as stored"
    known = None if (labels == UNLABELLED).all() else labels
    return Samples((images,), known, name, seeded=False, inputs=(_described(spec.name, images, origin=origin),))


def npz_samples(path: Path, inputs: Sequence[TensorSpec]) -> Samples:
    """Returns the samples of an .npz file: for each input the array of its name, and labels if there are any.

    A model with one input may also find them under x_test, x or images, or as the only array. Labels are called y_test
    or y, as in a dataset, or labels. uint8 is read as pixels (x / 255) where the input takes floats.

    Raises:
      DataError: the file is missing or damaged, arrays are missing or of other lengths, or it holds no samples.
    """
    found = read_npz(path)
    labels = next(
        (found[name] for name in _LABELS if name in found and name not in {each.name for each in inputs}), None
    )
    arrays, described = [], []
    for spec in inputs:
        raw = _array_of(spec, found, path, single=len(inputs) == 1)
        array, origin = _as_numbers(raw, spec, f"array for input {spec.name!r} in {path.name!r}")
        if array.ndim == 0 or array.size == 0:
            raise DataError(f"{str(path)!r}: the samples for input {spec.name!r} are empty: nothing can be compared.")
        arrays.append(array)
        described.append(_described(spec.name, array, origin=origin))
    counts = {len(array) for array in arrays} | ({len(labels)} if labels is not None and labels.ndim else set())
    if len(counts) > 1:
        raise DataError(f"{str(path)!r}: its arrays have different numbers of samples: {sorted(counts)}.")
    if labels is not None:
        labels = data.dataset.integer_labels(labels, what=repr(str(path)))
    return Samples(tuple(arrays), labels, path.name, seeded=False, inputs=tuple(described))


def folder_samples(folder: Path, inputs: Sequence[TensorSpec]) -> Samples:
    """Returns all images of a folder, without labels, resized to what the model's only input takes.

    Raises:
      ShapeError: the model has several inputs, or does not take images [height, width, channels].
      DataError: no images, or damaged ones.
    """
    spec = _only_input(inputs, folder.name)
    if len(spec.shape) != 4:
        raise ShapeError(
            f"input {spec.name!r} has shape {list(spec.shape)}: images need [batch, height, width, channels]."
        )
    height, width, channels = spec.shape[1:]
    loaded = image_folder.load(
        str(folder),
        image_size=None if height is None or width is None else (height, width),
        channels=channels,
        labelled=False,
    )
    found = split_samples(loaded.train, inputs, name=f"images of {folder.name}")
    return dataclasses.replace(found, labels=None)


def sample_shape(spec: TensorSpec, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """Returns the shape of one sample of an input, without the batch.

    Raises:
      ShapeError: it has open sizes and no shape is given, or the given one does not fit.
    """
    given = shapes.get(spec.name)
    if given is not None:
        fits = len(given) == len(spec.shape) and all(
            size > 0 and expected in (None, size) for size, expected in zip(given, spec.shape, strict=True)
        )
        if not fits:
            raise ShapeError(
                f"input {spec.name!r} has shape {list(spec.shape)}, where None is open, and cannot be {list(given)}."
            )
        return tuple(given[1:])
    if not spec.shape:
        raise ShapeError(f"input {spec.name!r} is a single number, without a batch of samples.")
    if None in spec.shape[1:]:
        example = "x".join("1" if size is None else str(size) for size in spec.shape)
        raise ShapeError(
            f"input {spec.name!r} has the open shape {list(spec.shape)}: say a size for each, such as "
            f"--shape {spec.name}={example}."
        )
    return tuple(size for size in spec.shape[1:] if size is not None)


def range_of(spec: TensorSpec, ranges: Mapping[str, tuple[float, float, str]]) -> tuple[float, float, str]:
    """Returns the least and the largest number that seeded samples of an input have, and where that comes from.

    Raises:
      RecipeError: an empty range.
    """
    if spec.name in ranges:
        low, high, origin = ranges[spec.name]
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise RecipeError(
                f"input {spec.name!r} has the range {low:g} to {high:g}: expected a least and a larger number."
            )
        return low, high, origin
    kind = np.dtype(spec.dtype).kind
    if spec.scale is not None and spec.zero_point is not None:
        return (*integer_range(spec.dtype, spec.scale, spec.zero_point), "all that its integers can hold")
    if kind == "f":
        return (*_FLOATS, "no file declares a range: 0 to 1")
    if kind in "iu" and np.dtype(spec.dtype).itemsize == 1:
        limits = np.iinfo(spec.dtype)
        return float(limits.min), float(limits.max), "all that its dtype holds"
    return 0.0, 1.0, "no file declares a range: 0 and 1"


def _require_known(inputs: Sequence[TensorSpec], named: Mapping[str, Any], what: str) -> None:
    for name in named:
        if name not in {spec.name for spec in inputs}:
            raise RecipeError(unknown_name(f"input in a {what}:", name, [spec.name for spec in inputs]))


def _only_input(inputs: Sequence[TensorSpec], name: str) -> TensorSpec:
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise ShapeError(
            f"the model has {len(inputs)} inputs ({names}) and {name!r} has one array for a sample: give an .npz file "
            "with an array for each input, by name."
        )
    return inputs[0]


def _array_of(spec: TensorSpec, found: Mapping[str, Array], path: Path, *, single: bool) -> Array:
    if spec.name in found:
        return found[spec.name]
    if single:
        others = [name for name in found if name not in _LABELS]
        for name in (*_IMAGES, *(others if len(others) == 1 else ())):
            if name in found:
                return found[name]
    raise DataError(
        f"{str(path)!r} has no array for input {spec.name!r}: it holds {', '.join(sorted(found)) or 'nothing'}. Name "
        f"the arrays like the inputs (for a single input {', '.join(_IMAGES)} or the only array will do)."
    )


def _as_numbers(raw: Array, spec: TensorSpec, what: str) -> tuple[Array, str]:
    takes_reals = np.dtype(spec.dtype).kind == "f" or spec.scale is not None
    if not takes_reals:
        return raw, "as stored"
    if raw.dtype == np.uint8:
        return as_float32(raw), "pixel / 255"
    if raw.dtype.kind != "f":
        raise DataError(f"{what} holds {raw.dtype.name}: expected floats, or uint8 for pixels.")
    array = raw.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataError(f"{what} holds NaN or infinity: expected finite values.")
    return array, "as stored"


def _described(name: str, array: Array, *, origin: str) -> InputData:
    return InputData(
        name=name,
        shape=tuple(array.shape[1:]),
        dtype=array.dtype.name,
        low=float(array.min()),
        high=float(array.max()),
        origin=origin,
    )
