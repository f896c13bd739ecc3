"""Decodes many PNG and JPEG files into one uint8 array, in parallel and without holding more than a few of them."""

import collections
import io
import itertools
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgekd.data import buffers
from edgekd.errors import DataError, RecipeError

MOST_PIXELS = 1 << 26  # of one image before it is resized: a file that claims more is refused before it is decoded
_FORMATS = ("PNG", "JPEG")
_PER_TASK = 64  # images, or fewer where they are large
_TASK_BYTES = 16 << 20
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_CHANNELS = {"1": 1, "L": 1, "RGB": 3, "P": 3, "CMYK": 3, "YCbCr": 3}

Encoded = tuple[str, bytes | Path]


def decode_all(
    encoded: Iterable[Encoded], *, count: int, image_size: tuple[int, int] | None, channels: int | None, what: str
) -> np.ndarray:
    """Returns PNG and JPEG files as one array, as `buffers.collect` stores it.

    Palette and CMYK images become RGB. JPEG is decoded by Pillow (accurate integer transform), which may differ from
    TensorFlow's decoder by a few grey levels. An orientation noted in a photograph's EXIF data is not applied.

    Args:
      encoded: (name for messages, file's bytes or its path) of each image, in order.
      count: how many there are, 1 or more.
      image_size: (height, width) that every image is resized to (bilinear with anti-aliasing, the aspect ratio is not
        kept), or None where all have one size.
      channels: 1, 3 or 4 to convert every image to grey, RGB or RGBA, or None where all are grey or all are colour.
      what: what is being decoded, for messages.

    Returns:
      [count, height, width, channels] uint8.

    Raises:
      DataError: an unreadable or truncated image, another format, more than 2²⁶ pixels, a grey image of more than 8
        bits, or, unless they are converted, images of several sizes or channel counts.
    """
    items = iter(encoded)
    first = next(items)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        pattern = _decode(first, image_size, channels)
        images = _decoded(itertools.chain([first], items), image_size, channels, pattern=pattern, first=first[0])
        return buffers.collect(images, (count, *pattern.shape), pattern.dtype, what=what)


def size_option(image_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns the option `image_size` as (height, width): one number stands for both.

    Raises:
      RecipeError: anything else than one or two whole numbers above 0.
    """
    if image_size is None:
        return None
    sides = [image_size, image_size] if isinstance(image_size, int) else image_size
    whole = isinstance(sides, list | tuple) and all(
        isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides
    )
    if not whole or len(sides) != 2 or isinstance(image_size, bool):
        raise RecipeError(f"image_size is {image_size!r}: expected pixels such as 32, or [height, width].")
    return sides[0], sides[1]


def channels_option(channels: int | None) -> int | None:
    """Returns the option `channels`.

    Raises:
      RecipeError: anything else than 1, 3, 4 or None.
    """
    if channels is not None and (isinstance(channels, bool) or channels not in _MODES):
        raise RecipeError(f"channels is {channels!r}: expected 1 (grey), 3 (RGB) or 4 (RGBA).")
    return channels


def _decoded(
    items: Iterable[Encoded],
    image_size: tuple[int, int] | None,
    channels: int | None,
    *,
    pattern: np.ndarray,
    first: str,
) -> Iterator[np.ndarray]:
    """Yields arrays of some images in order, with a bounded number of tasks, and so of bytes, ahead."""
    items = iter(items)
    per_task = max(1, min(_PER_TASK, _TASK_BYTES // pattern.nbytes))
    workers = os.cpu_count() or 1
    waiting: collections.deque[Future[np.ndarray]] = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(waiting) < 2 * workers and (task := list(itertools.islice(items, per_task))):
                    waiting.append(pool.submit(_decode_task, task, image_size, channels, pattern.shape, first))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _decode_task(
    task: list[Encoded],
    image_size: tuple[int, int] | None,
    channels: int | None,
    shape: tuple[int, ...],
    first: str,
) -> np.ndarray:
    images = np.empty((len(task), *shape), np.uint8)
    for position, item in enumerate(task):
        image = _decode(item, image_size, channels)
        if image.shape != shape:
            raise DataError(_different(item[0], image.shape, first, shape))
        images[position] = image
    return images


def _different(name: str, found: tuple[int, ...], first: str, expected: tuple[int, ...]) -> str:
    """Returns in what two images differ, and what to set to convert them all."""
    wanted, options = [], []
    if found[:2] != expected[:2]:
        wanted.append("one size")
        options.append("image_size=PIXELS")
    if found[2] != expected[2]:
        wanted.append("one number of channels")
        options.append("channels=3")
    recipe, alone = (" ".join(f"--set {prefix}{option}" for option in options) for prefix in ("data.", ""))
    return (
        f"{name!r} is {_described(found)} and {first!r} is {_described(expected)}: expected {' and '.join(wanted)}. "
        f"Convert them all with {recipe}, or {alone} for data show and verify."
    )


def _decode(item: Encoded, image_size: tuple[int, int] | None, channels: int | None) -> np.ndarray:
    name, content = item
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise DataError(_too_large(name, f"{width}x{height} pixels"))
            if image.mode.startswith(("I", "F")):  # Pillow would clip such values at 255 without a word
                raise DataError(f"{name!r} has more than 8 bits per channel (mode {image.mode}): convert it to 8 bits.")
            converted = image.convert(_MODES[_channels_of(name, image) if channels is None else channels])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(name, "far too many pixels")) from error
    except UnidentifiedImageError as error:  # whose message holds a memory address
        raise DataError(f"{name!r} is not a PNG or JPEG image: convert, replace or remove the file.") from error
    except (OSError, SyntaxError, ValueError, EOFError, AssertionError, struct.error, zlib.error) as error:
        raise DataError(
            f"{name!r} is not a readable PNG or JPEG image ({error}): replace or remove the file."
        ) from error
    if image_size is not None and converted.size != image_size[::-1]:
        converted = converted.resize(image_size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(converted)
    return array[..., np.newaxis] if array.ndim == 2 else array


def _channels_of(name: str, image: Image.Image) -> int:
    mode = "RGBA" if "transparency" in image.info else image.mode
    if mode in _CHANNELS:
        return _CHANNELS[mode]
    raise DataError(
        f"{name!r} has transparency (mode {image.mode}): give channels 3 to drop it or 4 to keep it as a channel."
    )


def _too_large(name: str, received: str) -> str:
    return f"{name!r} claims {received}: expected at most {MOST_PIXELS}. Remove the file or scale the image down."


def _described(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{height}x{width} pixels with {channels} channel{'' if channels == 1 else 's'}"
