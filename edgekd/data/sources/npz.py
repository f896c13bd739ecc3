"""NumPy archives: x_train, y_train (or x, y) and, where there are, x_test, y_test, x_val, y_val, clip_test."""

from collections.abc import Sequence
from pathlib import Path

from edgekd.data.arrays import loaded_from_arrays, read_npz
from edgekd.data.dataset import Loaded

LOCATION = "FILE.npz"


def load(
    location: str,
    *,
    class_names: Sequence[str] | None = None,
    channel_axis: bool | None = None,
    labelled: bool = True,
) -> Loaded:
    """Returns the arrays of an .npz file.

    In a file with one split, `images` and `labels` are other names for x and y.

    Samples are uint8, or floats of any width (read as float32, not scaled). Labels are integers, [n] or [n, 1];
    -1 in the training split is a sample without a label. Class names come from the option, else from an array
    `class_names` in the file, else they are the numbers. With task reconstruction, test samples with the same number or
    name in `clip_test`, such as windows of one recording, are judged together.

    Args:
      location: path of the file.
      class_names: the classes' names in the order of their numbers.
      channel_axis: whether to add a last axis of 1; None adds one to uint8 samples of shape [n, height, width].
      labelled: False reads x_train (or x) and nothing else: samples without labels, or whose labels are not wanted.

    Raises:
      DataError: a file that is missing, not an .npz archive, truncated, or of Python objects; a missing array; arrays
        of other dtypes or shapes.
    """
    path = Path(location).expanduser()
    return loaded_from_arrays(
        read_npz(path),
        name=f"npz:{path.name}",
        what=location,
        class_names=class_names,
        channel_axis=channel_axis,
        labelled=labelled,
    )
