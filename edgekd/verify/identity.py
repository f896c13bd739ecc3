"""Whether two files hold one network: by what they record of their making, or by their kernels of integers."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import flatbuffer, provenance
from edgekd.errors import ModelError
from edgekd.kernel_values import tflite as tflite_kernels
from edgekd.verify import onnx_files

Array = np.ndarray[Any, Any]

LEAST_SHARED = 0.5
"""The fraction of kernel channels that two files of one network share at least.

A file that was damaged or converted wrongly keeps most of its kernels, but for a step where they were rounded wrongly,
and must still be held to the network that it was. Of networks that were trained apart, channels of some weights are
that near each other by chance only."""

_LEAST_WEIGHTS = 8  # of a channel: fewer integers are near those of another network too often
_KEPT = 64  # integers of a channel that are compared: the ends tell most, since the middle of all channels is alike
_COARSE = 32  # a channel of fewer steps than these, as with 4 bits, must be equal: a step of them is no rounding error
_SPREAD = 2  # of the differences of two channels that are a step off at most: from -1 to 1


@dataclasses.dataclass(frozen=True, eq=False)
class Identity:
    """What a file's network can be recognised by.

    Attributes:
      weights: the SHA-256 of the network's weights, as the file records it; None where it does not.
      calibration: the same of the calibration samples.
      scheme: how the weights were rounded, as the file records it.
      channels: of the kernels' output channels with as many weights, [channels, integers]; see `channels_of`.
    """

    weights: str | None = None
    calibration: str | None = None
    scheme: str | None = None
    channels: Mapping[int, Array] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Likeness:
    """What is known of two files being one network.

    Attributes:
      same: whether they hold one network in the same integers, but for what is damaged; None where nothing tells.
      related: whether they were made from the same weights, however these were rounded; None where nothing tells.
      why: what says so, in words.
    """

    same: bool | None
    related: bool | None
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
    return Identity(made.weights_sha256, made.calibration_sha256, made.scheme, channels)


def _read(path: Path) -> tuple[bytes | str | None, dict[int, Array]]:
    """Returns a file's record of its making and its channels."""
    if path.suffix.lower() == ".tflite":
        content = path.read_bytes()
        kernels = tflite_kernels.kernels(flatbuffer.read(content))
        return flatbuffer.metadata_entry(content, provenance.KEY), channels_of(kernels)
    from edgekd.kernel_values import onnx as onnx_kernels  # imports onnx

    model = onnx_files.load(path)
    recorded = next((entry.value for entry in model.metadata_props if entry.key == provenance.KEY), None)
    return recorded, channels_of(onnx_kernels.kernels(model.graph))


def channels_of(kernels: Iterable[tuple[Array, int]]) -> dict[int, Array]:
    """Returns the output channels of integer kernels, by how many weights each has: {weights: [channels, integers]}.

    A channel is its integers in order of size, from 0 on: neither a format's order of axes nor its zero point counts.
    Where one weight is a step off, no place of this order is more than a step off. Of long channels the smallest, the
    largest and evenly distributed ones between them are kept.

    Args:
      kernels: each with the axis of its output channels; those of floats, and of fewer than 8 weights, are left out.
    """
    found: dict[int, list[Array]] = {}
    for kernel, axis in kernels:
        weights = kernel.size // max(kernel.shape[axis], 1)
        if kernel.dtype.kind in "iu" and weights >= _LEAST_WEIGHTS:
            rows = np.sort(np.moveaxis(kernel, axis, 0).reshape(-1, weights), axis=1)[:, _places(weights)]
            found.setdefault(weights, []).append(rows.astype(np.int64) - rows[:, :1].astype(np.int64))
    return {weights: np.concatenate(rows) for weights, rows in found.items()}


def _places(weights: int) -> Array:
    """Returns which places of a sorted channel are kept."""
    if weights <= _KEPT:
        return np.arange(weights)
    end = _KEPT // 4
    return np.unique(
        np.concatenate(
            [
                np.arange(end),
                np.linspace(end, weights - end - 1, _KEPT - 2 * end).astype(int),
                np.arange(weights - end, weights),
            ]
        )
    )


def likeness(first: Identity, second: Identity) -> Likeness:
    """Returns what is known of two files being one network."""
    if first.weights is not None and second.weights is not None:
        if first.weights != second.weights:
            return Likeness(False, False, "made from other weights, as both files record")
        if first.scheme != second.scheme:
            schemes = f"{first.scheme} and {second.scheme}"
            return Likeness(False, True, f"made from the same weights as {schemes}, as both files record")
        if first.calibration != second.calibration:
            return Likeness(False, True, "made from the same weights with another calibration, as both files record")
        return Likeness(True, True, "made from the same weights and calibration, as both files record")
    counts = [sum(map(len, each.channels.values())) for each in (first, second)]
    if not min(counts):
        return Likeness(None, None, "nothing tells whether it is one network")
    shared = sum(
        _matched(rows, second.channels[weights])
        for weights, rows in first.channels.items()
        if weights in second.channels
    )
    fraction = shared / max(counts)
    why = f"{100 * fraction:.3g} % of the kernels' channels are the same within a step"
    return Likeness(True, True, why) if fraction >= LEAST_SHARED else Likeness(False, None, why)


def _matched(first: Array, second: Sequence[Array] | Array) -> int:
    """Returns how many channels have a counterpart that is a step off at most, each counted once."""
    second = np.asarray(second)
    free = np.ones(len(second), bool)
    for row in first:
        allowed = _SPREAD if row[-1] >= _COARSE else 0
        # The length of the range decides cheaply against most.
        able = np.flatnonzero(free & (np.abs(second[:, -1] - row[-1]) <= allowed))
        near = able[np.ptp(second[able] - row, axis=1) <= allowed]
        if near.size:
            free[near[0]] = False
    return int(np.count_nonzero(~free))
