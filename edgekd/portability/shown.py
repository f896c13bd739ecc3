"""Samples that stand in for calibration where there are no data."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgekd.records import Finding

_SAMPLES = 4
_BYTES = 256


@dataclasses.dataclass(frozen=True)
class Shown:
    """Samples of one kind.

    Attributes:
      kind: what they are, for notes.
      samples: [samples, ...] float32; None for a model with several inputs.
    """

    kind: str
    samples: np.ndarray[Any, Any] | None


def made_up(shapes: Sequence[tuple[int, ...]], *, bytes_too: bool) -> tuple[Shown, ...]:
    """Returns samples that show a range, of each kind that is to be tried.

    Args:
      shapes: one sample's shape, for each input of the model.
      bytes_too: whether bytes are tried beside floats from 0 to 1: whole numbers from 0 to 255, and those over 255.
    """
    floats = "floats"
    if len(shapes) != 1:
        return (Shown(floats, None),)
    generator, shape = np.random.default_rng(0), (_SAMPLES, *shapes[0])
    kinds = [Shown(floats, generator.random(shape, np.float32))]
    if bytes_too:
        numbers = generator.integers(0, _BYTES, shape).astype(np.float32)
        kinds += [
            Shown("whole numbers from 0 to 255", numbers),
            Shown("whole numbers from 0 to 255, divided by 255", numbers / np.float32(_BYTES - 1)),
        ]
    return tuple(kinds)


def tried_with(
    shown: Sequence[Shown], trial: Callable[[Any], list[Finding]], *, what: str
) -> tuple[list[Finding], list[str]]:
    """Returns what a trial finds with the first kind of samples, or nothing where it finds nothing with another kind.

    Args:
      shown: samples of each kind, the usual ones first.
      trial: from samples to findings.
      what: is tried, for the note that says which kind it was.
    """
    first: list[Finding] = []
    for each in shown:
        found = trial(each.samples)
        if not found:
            note = f"{what}: only where the inputs are {each.kind}"
            return [], [] if each is shown[0] else [note]
        first = first or found
    return first, []
