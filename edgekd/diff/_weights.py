"""How far the constants of two files are apart."""

from typing import Any

import numpy as np

from edgekd.diff.records import QuantisationChange, WeightChange
from edgekd.inspect import Quantisation, Tensor

Array = np.ndarray[Any, Any]

_EPSILONS = 4  # a factor of batch normalisation that is folded into a kernel is a product, a quotient and a root


def weight_change(old: tuple[Tensor, Array], new: tuple[Tensor, Array], *, operator: str) -> WeightChange | None:
    """Returns how a constant changed, or None where its numbers are the same.

    Args:
      old: the tensor and what is stored for it.
      new: the same of the newer file.
      operator: the kind of operator that reads it.
    """
    (before, stored_before), (after, stored_after) = old, new
    found = WeightChange(
        name=after.name,
        operator=operator,
        old_dtype=before.dtype,
        new_dtype=after.dtype,
        old_shape=before.shape,
        new_shape=after.shape,
        elements=stored_after.size,
    )
    if stored_before.shape != stored_after.shape:
        return found
    real_before, real_after = real(stored_before, before.quantisation), real(stored_after, after.quantisation)
    one_dtype = before.dtype == after.dtype
    differs = stored_before != stored_after if one_dtype else real_before != real_after
    if one_dtype and stored_before.dtype.kind == "f":
        differs &= ~(np.isnan(stored_before) & np.isnan(stored_after))
    if one_dtype and not differs.any() and _same(real_before, real_after):
        return None
    errors = _errors(differs, real_before, real_after)
    rounded = one_dtype and (stored_before.dtype.kind == "f" or not differs.any())
    if rounded and errors.get("max_abs") is not None:
        epsilon = _epsilon(stored_before.dtype)
        errors["within_rounding"] = errors["max_abs"] <= _EPSILONS * epsilon * float(np.max(np.abs(real_before)))
    return found.model_copy(update=errors)


def quantisation_change(name: str, old: Quantisation | None, new: Quantisation | None) -> QuantisationChange | None:
    """Returns how a tensor's scales and zero points changed, or None where they are the same."""
    if old == new:
        return None
    found = QuantisationChange(name=name, old=_described(old), new=_described(new))
    if old is None or new is None or len(old.scales) != len(new.scales) or not old.scales:
        return found
    before, after = np.asarray(old.scales), np.asarray(new.scales)
    update: dict[str, Any] = {"zero_points_changed": int(np.sum(np.not_equal(old.zero_points, new.zero_points)))}
    if (before > 0).all() and (after > 0).all():
        update["scale_ratio"] = float(np.max(np.maximum(after / before, before / after)))
        same_zeros = not update["zero_points_changed"] and old.axis == new.axis
        update["within_rounding"] = same_zeros and within_rounding(before, after)
    return found.model_copy(update=update)


def within_rounding(old: Array | float, new: Array | float) -> bool:
    """Returns whether scales, which are positive, are the same but for the rounding of float32."""
    limit = _EPSILONS * _epsilon(np.dtype(np.float32))
    return bool(np.all(np.abs(np.subtract(new, old, dtype=np.float64)) <= limit * np.asarray(old)))


def real(stored: Array, quantisation: Quantisation | None) -> Array:
    """Returns the real numbers that a constant stands for, as float64; of texts, the texts."""
    if stored.dtype == object:
        return stored
    numbers = stored.astype(np.float64)
    if quantisation is None or not quantisation.scales or stored.dtype.kind not in "iu":
        return numbers
    scales, zero_points = np.asarray(quantisation.scales), np.asarray(quantisation.zero_points, np.float64)
    axis = quantisation.axis
    if axis is not None:
        if not -numbers.ndim <= axis < numbers.ndim or numbers.shape[axis] != len(scales):
            return numbers  # what the file says cannot be, or is meant otherwise: its integers are compared
        shape = [1] * numbers.ndim
        shape[axis] = len(scales)
        scales, zero_points = scales.reshape(shape), zero_points.reshape(shape)
    return np.asarray((numbers - zero_points) * scales)


def _same(before: Array, after: Array) -> bool:
    return bool(np.array_equal(before, after, equal_nan=before.dtype != object))


def _epsilon(dtype: np.dtype[Any]) -> float:
    """Returns the distance of 1 to the next number of a dtype; of integers that of their scales, float32."""
    return float(np.finfo(dtype if dtype.kind == "f" else np.float32).eps)


def _errors(differs: Array, before: Array, after: Array) -> dict[str, Any]:
    changed = float(np.mean(differs)) if differs.size else 0.0
    if object in (before.dtype, after.dtype) or not before.size:
        return {"changed_fraction": changed}
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return {"changed_fraction": changed}
    error = after - before
    norm = float(np.linalg.norm(before))
    relative = float(np.linalg.norm(error)) / norm if norm > 0 else None
    finite = {"max_abs": float(np.max(np.abs(error))), "relative_l2": relative}
    kept = {name: value for name, value in finite.items() if value is not None and np.isfinite(value)}
    return {"changed_fraction": changed, **kept}


def _described(quantisation: Quantisation | None) -> str | None:
    if quantisation is None:
        return None
    if not quantisation.scales:
        return quantisation.granularity
    low, high = min(quantisation.scales), max(quantisation.scales)
    scales = f"scale {low:.6g}" if low == high else f"{len(quantisation.scales)} scales {low:.4g} to {high:.4g}"
    zeros = sorted(set(quantisation.zero_points))
    zero = f"zero point {zeros[0]}" if len(zeros) == 1 else f"zero points {zeros[0]} to {zeros[-1]}"
    axis = "" if quantisation.axis is None else f", axis {quantisation.axis}"
    return f"{scales}, {zero}{axis}"
