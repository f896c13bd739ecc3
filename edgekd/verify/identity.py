"""Whether two files of integers hold one network: by what they record of their making, or by their kernels."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import flatbuffer, provenance
from edgekd.errors import ModelError
from edgekd.kernel_values import onnx as onnx_kernels
from edgekd.kernel_values import tflite as tflite_kernels

Array = np.ndarray[Any, Any]

LEAST_SHARED = 0.5
"""The fraction of kernel channels that two files of one network share at least.

A file that was damaged or converted wrongly keeps most of its kernels, and must still be held to the network that it
was. Of networks that were trained apart, channels of a few weights or more are equal by chance only."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a file's network can be recognised by.

    Attributes:
      weights: the SHA-256 of the network's weights, as the file records it; None where it does not.
      calibration: the same of the calibration samples.
      channels: how often each output channel of a kernel occurs, by a hash of its integers.
    """

    weights: str | None = None
    calibration: str | None = None
    channels: Counter[bytes] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(frozen=True)
class Likeness:
    """Whether two files hold one network, None where nothing tells; and why, in words."""

    same: bool | None
    why: str


def identity_of(path: Path) -> Identity:
    """Returns what the network of a TFLite or ONNX file, which a runner has opened, can be recognised by.

    Raises:
      ModelError: it, or its record of its making, is damaged.
    """
    try:
        recorded, channels = _read(path)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}): copy, download or export it again."
        ) from error
    if recorded is None:
        return Identity(channels=channels)
    made = provenance.Provenance.from_json(recorded, name=path.name)
    return Identity(made.weights_sha256, made.calibration_sha256, channels)


def _read(path: Path) -> tuple[bytes | str | None, Counter[bytes]]:
    """Returns a file's record of its making and its channels."""
    if path.suffix.lower() == ".tflite":
        content = path.read_bytes()
        kernels = tflite_kernels.kernels(flatbuffer.read(content))
        return flatbuffer.metadata_entry(content, provenance.KEY), channels_of(kernels)
    import onnx

    model = onnx.load_model(path, load_external_data=False)
    recorded = next((entry.value for entry in model.metadata_props if entry.key == provenance.KEY), None)
    return recorded, channels_of(onnx_kernels.kernels(model.graph))


def channels_of(kernels: Iterable[tuple[Array, int]]) -> Counter[bytes]:
    """Returns how often each output channel of integer kernels occurs, by a hash.

    A channel is its integers in order of size, from 0 on: neither a format's order of axes nor its zero point counts.

    Args:
      kernels: each with the axis of its output channels; those of floats are left out.
    """
    found: Counter[bytes] = Counter()
    for kernel, axis in kernels:
        if kernel.dtype.kind in "iu":
            rows = np.sort(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1).astype(np.int64), axis=1)
            found.update(hashlib.sha256((row - row[0]).tobytes()).digest() for row in rows)
    return found


def likeness(first: Identity, second: Identity) -> Likeness:
    """Returns whether two files hold one network."""
    if first.weights is not None and second.weights is not None:
        if first.weights != second.weights:
            return Likeness(False, "made from other weights, as both files record")
        if first.calibration != second.calibration:
            return Likeness(False, "made from the same weights with another calibration, as both files record")
        return Likeness(True, "made from the same weights and calibration, as both files record")
    most = max(first.channels.total(), second.channels.total())
    if not most:
        return Likeness(None, "nothing tells whether it is one network")
    shared = (first.channels & second.channels).total() / most
    return Likeness(shared >= LEAST_SHARED, f"{100 * shared:.3g} % of the kernels' channels are the same")
