"""What a run keeps of the predictions on its test split, for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekd import predictions as kept
from edgekd.data.dataset import Split
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_QUANTIZED, TEACHER
from edgekd.predictions import Predictions
from edgekd.records import Artifact

Array = np.ndarray[Any, Any]

_LONGEST_SIDE = 64  # of an image in the report, in pixels
_IN_FLOAT = ("float32", "float16")


def predictions(test: Split, classes: Mapping[str, Array], artifacts: Sequence[Artifact]) -> Predictions:
    """Returns the predictions, with the images on which teacher, student and the most rounded of these disagree.

    Args:
      test: the test split.
      classes: [samples] integer classes of each network and file, by name.
      artifacts: the files.
    """
    compared = _compared(classes, artifacts)
    shown = kept.chosen([classes[name] for name in compared])
    return Predictions(labels=test.labels, classes=classes, compared=compared, shown=shown, images=_images(test, shown))


def _compared(classes: Mapping[str, Array], artifacts: Sequence[Artifact]) -> tuple[str, ...]:
    """Returns the teacher, the student, and its first int8 file, or else the int8 student or a quantised file."""
    quantised = [each.name for each in artifacts if each.scheme not in _IN_FLOAT]
    integer = [each.name for each in artifacts if each.scheme == "int8"]
    last = next((name for name in (*integer, STUDENT_QUANTIZED, *quantised) if name in classes), None)
    names = [name for name in (TEACHER, STUDENT_DISTILLED) if name in classes]
    return tuple(names if last is None else [*names, last])


def _images(test: Split, shown: Array) -> Array | None:
    """Returns these samples as small images, or None where samples are no images: floats may mean anything."""
    from PIL import Image

    shape = test.images.shape[1:]
    if test.images.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3):
        return None
    pixels = np.asarray(test.images[shown])
    scale = _LONGEST_SIDE / max(shape[:2])
    if scale >= 1 or not len(shown):
        return pixels
    height, width = (max(1, round(side * scale)) for side in shape[:2])
    small = [
        Image.fromarray(each[..., 0] if shape[2] == 1 else each).resize((width, height), Image.Resampling.BOX)
        for each in pixels
    ]
    return np.stack([np.asarray(each) for each in small]).reshape(len(shown), height, width, shape[2])
