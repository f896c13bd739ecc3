"""How far one model's outputs are from another's, and how sure an accuracy is. Pure functions of arrays."""

import math
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.records import Interval

Array = np.ndarray[Any, Any]


def accuracy(predictions: Array, labels: Array) -> float:
    """Returns the fraction of samples whose predicted class is the label.

    Args:
      predictions: [samples] integer classes.
      labels: [samples] integer classes.

    Raises:
      ShapeError: no samples, different numbers of them, or not vectors of integers.
    """
    predictions, labels = _classes(predictions, labels)
    return float(np.mean(predictions == labels))


def agreement(reference: Array, candidate: Array) -> float:
    """Returns the fraction of samples for which both models predict the same class; arguments as in `accuracy`."""
    return accuracy(candidate, reference)


def accuracy_interval(predictions: Array, labels: Array, *, confidence: float = 0.95) -> Interval:
    """Returns the accuracy with its Wilson interval; arguments as in `accuracy`."""
    predictions, labels = _classes(predictions, labels)
    return wilson_interval(int(np.sum(predictions == labels)), len(labels), confidence=confidence)


def wilson_interval(successes: int, samples: int, *, confidence: float = 0.95) -> Interval:
    """Returns a proportion with its Wilson score interval (without continuity correction).

    Args:
      successes: from 0 to `samples`.
      samples: at least 1.
      confidence: between 0 and 1.

    Raises:
      ShapeError: there are no samples, or more successes than samples.

    References:
      Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    if not 0 <= successes <= samples or samples < 1:
        raise ShapeError(f"a proportion needs 0 <= successes <= samples and a sample, not {successes} of {samples}.")
    bounds = scipy.stats.binomtest(successes, samples).proportion_ci(confidence, method="wilson")
    value = successes / samples
    # Rounding may put a bound that equals the value an ulp on its wrong side.
    return Interval(
        value=value, low=min(float(bounds.low), value), high=max(float(bounds.high), value), confidence=confidence
    )


def paired_drop_interval(reference: Array, candidate: Array, labels: Array, *, confidence: float = 0.95) -> Interval:
    """Returns how much accuracy the candidate loses, with an interval that uses that both saw the same samples.

    The drop is (b - c) / n, with b samples that only the reference gets right and c that only the candidate does.
    The interval is Agresti and Min's: Wald's for paired proportions after adding half a sample to each of the four
    cells, so that it keeps its coverage when few predictions differ and has a width when none does. Its centre is
    shrunk by n / (n + 2); the value is the plain drop.

    Args:
      reference: [samples] predicted classes.
      candidate: [samples] predicted classes.
      labels: [samples] true classes.
      confidence: between 0 and 1.

    Raises:
      ShapeError: no samples, different numbers of them, or not vectors of integers.

    References:
      Agresti and Min, Simple Improved Confidence Intervals for Comparing Matched Proportions, 2005, Statistics in
      Medicine 24(5).
    """
    _classes(reference, candidate)
    reference, labels = _classes(reference, labels)
    only_reference = int(np.sum((reference == labels) & (candidate != labels)))
    only_candidate = int(np.sum((reference != labels) & (candidate == labels)))
    samples = len(labels)
    lost, gained, total = only_reference + 0.5, only_candidate + 0.5, samples + 2.0
    centre = (lost - gained) / total
    error = math.sqrt((lost + gained) - (lost - gained) ** 2 / total) / total
    half_width = float(scipy.special.ndtri(0.5 + confidence / 2)) * error
    value = (only_reference - only_candidate) / samples
    return Interval(
        value=value,
        low=max(-1.0, min(centre - half_width, value)),
        high=min(1.0, max(centre + half_width, value)),
        confidence=confidence,
    )


def max_abs(reference: Array, candidate: Array) -> float:
    """Returns the largest absolute difference of two arrays of one shape.

    Raises:
      ShapeError: empty arrays, or different shapes.
      NonFiniteError: NaN or infinity in either.
    """
    reference, candidate = _values(reference, candidate)
    return float(np.max(np.abs(reference - candidate)))


def max_lsb(reference: Array, candidate: Array, *, scale: float) -> float:
    """Returns the largest absolute difference in quantisation steps of size `scale`; raises as `max_abs` does."""
    if not (math.isfinite(scale) and scale > 0):
        raise NonFiniteError(f"a quantisation scale must be positive and finite, not {scale}.")
    return max_abs(reference, candidate) / scale


def beyond_lsb(reference: Array, candidate: Array, *, scale: float, steps: float = 1.0) -> float:
    """Returns the fraction of elements that are off by more than some quantisation steps of the candidate.

    Arguments and errors as in `are_beyond_lsb`.
    """
    return float(np.mean(are_beyond_lsb(reference, candidate, scale=scale, steps=steps)))


def are_beyond_lsb(reference: Array, candidate: Array, *, scale: float, steps: float = 1.0) -> Array:
    """Returns which elements are off by more than some quantisation steps of the candidate.

    A thousandth of a step more is allowed: two arrays that lie on the same steps differ by whole ones, but for float32.

    Args:
      reference: any shape, dequantised.
      candidate: the same shape, dequantised.
      scale: of the candidate's output.
      steps: how many steps an element may be off.

    Returns:
      Booleans of the same shape.

    Raises:
      ShapeError, NonFiniteError: as for `max_abs`; the scale is not positive.
    """
    max_lsb(reference, candidate, scale=scale)  # checks the arguments
    reference, candidate = _values(reference, candidate)
    return np.asarray(np.abs(reference - candidate) > (steps + 1e-3) * scale)


def clustered_interval(fractions: Array, *, elements: int, confidence: float = 0.95) -> Interval:
    """Returns the mean of fractions that units of several elements each have, with its Korn-Graubard interval.

    That is Clopper and Pearson's for the number of independent elements that would tell as much: elements of one unit,
    such as the logits of one sample, are off together more often than by chance. A single unit counts as one element.

    Args:
      fractions: [units] of the elements of each unit that have the property, from 0 to 1.
      elements: of each unit.
      confidence: between 0 and 1.

    Raises:
      ShapeError: there are no units or no elements.

    References:
      Korn and Graubard, Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated
      from Survey Data, Survey Methodology, 1998.
    """
    fractions = np.asarray(fractions, np.float64)
    units, total = fractions.size, fractions.size * elements
    if total < 1:
        raise ShapeError(f"{units} units of {elements} elements: nothing can be counted.")
    value = float(fractions.mean())
    tail = (1 - confidence) / 2
    count = _independent(fractions, total, tail)
    ones = value * count
    beta = scipy.stats.beta
    low = float(beta.ppf(tail, ones, count - ones + 1)) if ones > 0 else 0.0
    high = float(beta.ppf(1 - tail, ones + 1, count - ones)) if ones < count else 1.0
    return Interval(value=value, low=min(low, value), high=max(high, value), confidence=confidence)


def _independent(fractions: Array, total: int, tail: float) -> float:
    """Returns the number of independent elements that tell as much as these units do."""
    units, value = fractions.size, fractions.mean()
    if units == 1:
        return 1.0
    if value in (0, 1):  # nothing varies, so nothing says how much elements of a unit depend on each other
        return float(units if value == 1 else total)
    variance = fractions.var(ddof=1) / units
    if variance == 0:
        return float(total)
    student = scipy.stats.t.ppf(1 - tail, [total - 1, units - 1])
    return float(np.clip(value * (1 - value) / variance * (student[0] / student[1]) ** 2, 1, total))


def relative_l2(reference: Array, candidate: Array) -> float:
    """Returns ‖reference − candidate‖₂ / ‖reference‖₂ over all elements.

    Raises:
      ShapeError: empty arrays, or different shapes.
      NonFiniteError: NaN or infinity in either, or a reference of zeros only.
    """
    reference, candidate = _values(reference, candidate)
    return float(np.linalg.norm(reference - candidate) / _norm(reference, "reference"))


def cosine(reference: Array, candidate: Array) -> float:
    """Returns the cosine of the angle between two arrays seen as vectors.

    Raises:
      ShapeError: empty arrays, or different shapes.
      NonFiniteError: NaN or infinity in either, or an array of zeros only.
    """
    reference, candidate = _values(reference, candidate)
    # Each is normalised first: a product of norms could overflow.
    unit_reference, unit_candidate = (
        reference / _norm(reference, "reference"),
        candidate / _norm(candidate, "candidate"),
    )
    return float(np.clip(np.vdot(unit_reference, unit_candidate), -1.0, 1.0))


def sqnr_db(reference: Array, candidate: Array) -> float:
    """Returns the signal to quantisation noise ratio, 20 log10(‖reference‖₂ / ‖reference − candidate‖₂), in decibels.

    It is infinite where both are equal. Raises as `relative_l2` does.
    """
    ratio = relative_l2(reference, candidate)
    return math.inf if ratio == 0 else -20 * math.log10(ratio)


def _classes(first: Array, second: Array) -> tuple[Array, Array]:
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape:
        raise ShapeError(
            f"classes must be two vectors of one length, received {list(first.shape)} and {list(second.shape)}."
        )
    if len(first) == 0:
        raise ShapeError("there are no samples: nothing was compared.")
    for classes in (first, second):
        if classes.dtype.kind not in "iu":
            raise ShapeError(
                f"classes must be integers, received {classes.dtype.name}: take the argmax of logits first."
            )
    return first, second


def _values(reference: Array, candidate: Array) -> tuple[Array, Array]:
    reference, candidate = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    if reference.shape != candidate.shape:
        raise ShapeError(f"outputs have different shapes: {list(reference.shape)} and {list(candidate.shape)}.")
    if reference.size == 0:
        raise ShapeError(f"outputs of shape {list(reference.shape)} have no elements: nothing was compared.")
    for name, values in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise NonFiniteError(f"{count} of {values.size} outputs of the {name} are NaN or infinite.")
    return reference, candidate


def _norm(values: Array, name: str) -> float:
    norm = float(np.linalg.norm(values))
    if norm == 0:
        raise NonFiniteError(f"every output of the {name} is zero: an error relative to it is undefined.")
    return norm
