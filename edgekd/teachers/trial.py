"""The trial batch: what can only be seen in a teacher's outputs is checked before any training."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd.errors import ModelError
from edgekd.teachers.frozen import LOGITS, RECONSTRUCTION, Array, CheckedTeacher, Opened

_IMAGES = 2
_SUM_TOLERANCE = 1e-3  # float16 probabilities of many classes sum to 1 within this
_REPEAT_TOLERANCE = 1e-3  # of the largest value: far above rounding, far below what dropout does
_SQUASHING = ("softmax", "sigmoid")


def check(teacher: CheckedTeacher, opened: Opened, *, images: Array, outputs: str, layout: str) -> None:
    """Runs the teacher twice on the trial batch; sets its `sha256`, or why there is none.

    Args:
      teacher: to be checked.
      opened: what it is made of.
      images: the trial batch.
      outputs: what the user says that it returns: logits or probabilities.
      layout: of the images that it takes.

    Raises:
      ModelError: it gives probabilities where logits are expected, or the other way round; it gives different outputs
        for the same images; or running it changed its weights.
      ShapeError, NonFiniteError: see `FrozenTeacher.outputs`.
    """
    before = opened.variables_sha256() if opened.variables_sha256 else None
    received = [teacher.received(images) for _ in range(2)]
    first, second = (
        {key: np.asarray(value) for key, value in teacher.checked(each, images).items()} for each in received
    )
    if opened.variables_sha256 and opened.variables_sha256() != before:
        raise ModelError(
            f"running teacher {teacher.name!r} changes its weights or batch statistics, so that it is not frozen: "
            "export it in inference mode."
        )
    if outputs != RECONSTRUCTION:
        _check_kind(teacher.name, first[LOGITS], opened, outputs)
    exact = [_check_repeats(teacher.name, key, first[key], second[key]) for key in first]
    if opened.identity is None:
        return
    if opened.runs_own_code and not all(exact):
        teacher.uncacheable = (
            f"teacher {teacher.name!r} gives slightly different outputs each time it sees the same images, so its "
            "outputs cannot be cached: make its arithmetic deterministic."
        )
        return
    seen = _sha256(*received) if opened.runs_own_code else None
    parts = [opened.identity, seen, outputs, layout]
    teacher.sha256 = hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def trial_images(input_shape: tuple[int, ...]) -> Array:
    """Returns [2, *input_shape] float32 in [0, 1), always the same."""
    return np.random.default_rng(0).random((_IMAGES, *input_shape), dtype=np.float32)


def _sha256(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Returns the hash of all that repeats; whether what was asked for repeats is checked elsewhere."""
    digest = hashlib.sha256()
    for key in sorted(first):
        value = np.asarray(first[key])
        if key in second and np.array_equal(value, np.asarray(second[key])):
            digest.update(json.dumps([key, value.dtype.name, value.shape]).encode() + value.tobytes())
    return digest.hexdigest()


def _check_kind(name: str, values: Array, opened: Opened, outputs: str) -> None:
    tolerance = _SUM_TOLERANCE + (opened.step or 0.0) * (values.shape[1] / 2 + 1)
    looks_like_probabilities = bool(
        values.shape[1] > 1 and values.min() >= 0 and np.all(np.abs(values.sum(axis=1) - 1) <= tolerance)
    )
    if outputs == "probabilities":
        if not looks_like_probabilities:
            raise ModelError(
                f"teacher {name!r} is said to return probabilities, but for two trial images the outputs range from "
                f"{values.min():.4g} to {values.max():.4g} and sum to {_sums(values)}: leave outputs at 'logits'"
                f"{' (a sigmoid per class is not supported)' if opened.ends_in == 'sigmoid' else ''}."
            )
        return
    if opened.ends_in in _SQUASHING or looks_like_probabilities:
        seen = f"ends in {opened.ends_in}" if opened.ends_in in _SQUASHING else f"sums to {_sums(values)} per image"
        after = (
            "remove the activation and save or export it again"
            if opened.ends_in == "sigmoid"
            else "set the teacher's outputs to 'probabilities', and edgekd takes their logarithm (or remove the "
            "softmax and save or export it again)"
        )
        raise ModelError(f"teacher {name!r} {seen}: its outputs are not logits. To go on, {after}.")


def _check_repeats(name: str, key: str, first: Array, second: Array) -> bool:
    """Returns whether both are equal bit for bit; raises where they differ by more than rounding."""
    if np.array_equal(first, second):
        return True
    difference = float(np.abs(first - second).max())
    if difference > _REPEAT_TOLERANCE * max(1.0, float(np.abs(first).max())):
        raise ModelError(
            f"teacher {name!r} gives other outputs when it sees the same images again ({key!r} differs by up to "
            f"{difference:.3g}), so that it is not frozen: put it in inference mode (no dropout, batch statistics "
            "fixed, no random numbers)."
        )
    return False


def _sums(values: Array) -> str:
    totals: Any = values.sum(axis=1)
    return " and ".join(f"{total:.4g}" for total in totals)
