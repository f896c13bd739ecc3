"""How much two computations of one network may differ, derived from the number format."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd.errors import NonFiniteError, RecipeError, ShapeError
from edgekd.verify.activations import Activation
from edgekd.verify.identity import Likeness
from edgekd.verify.records import FLOAT16, FLOAT32, INTEGER, Tolerance

FLOAT_MULTIPLE = 64
"""Multiples of epsilon that a different order of the same float sums may cost.

Rounding errors of a sum of K products grow like the square root of K where they are independent, and 64 is the square
root of 4096 terms, more than most layers of an edge network add up; errors of several layers partly cancel."""

MAX_LSB = 1.0
"""Steps that an element may be off where two kernels do the same integer arithmetic: one rounds a tie the other way."""

MAX_MISMATCH = 0.001
"""The fraction of elements that may be off by more: a rounding that differs early may be carried on."""

MIN_SQNR_DB = 10.0
"""What an output that was quantised on one side only must have where nothing else judges it: noise of a tenth of the
signal's power. It tells a working model from a broken one; how good is good enough, accuracy says."""

MAX_ACCURACY_DROP = 0.01
MIN_AGREEMENT = 0.98

UNKNOWN = Likeness(None, None, "nothing tells whether it is one network")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a user asks for; None stands for what is derived or for the default.

    Attributes:
      epsilons: multiples of epsilon that a float output may be off, relative to the largest output.
      max_abs: an absolute tolerance of float outputs, instead.
      max_lsb: steps that an element of an integer output may be off.
      max_mismatch: the fraction of elements of an integer output that may be off by more.
      min_sqnr_db: the least signal-to-noise ratio, of every output.
      max_accuracy_drop: the reference's accuracy minus the candidate's may be at most this, where there are labels.
      min_agreement: the least fraction of samples with the same class. By default it is asked for where there are
        labels only, since only then the outputs are known to be classes.
      expect: `same` judges every pair as two computations of one network; `close` as one that was quantised on one
        side; `auto` decides by how the two compute.
      by_interval: whether gates judge the 95 % intervals (with the outcome inconclusive where the limit lies inside),
        or the measured values.
      only_these_samples: whether a mismatch fraction above the limit fails as it is, since nothing is to be said of
        other samples; else it is inconclusive where too few values were compared to tell.

    Raises:
      RecipeError: a limit that nothing could fail, or everything: NaN, infinity, below 0, a fraction above 1.
    """

    epsilons: float | None = None
    max_abs: float | None = None
    max_lsb: float | None = None
    max_mismatch: float | None = None
    min_sqnr_db: float | None = None
    max_accuracy_drop: float | None = None
    min_agreement: float | None = None
    expect: str = "auto"
    by_interval: bool = False
    only_these_samples: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and low <= value <= high):
                least = "" if math.isinf(low) else f" of {low:g} or more" if math.isinf(high) else f" from {low:g} to 1"
                raise RecipeError(f"{name} is {value!r}: expected a finite number{least}.")


_RANGES: Mapping[str, tuple[float, float]] = {
    "epsilons": (0, math.inf),
    "max_abs": (0, math.inf),
    "max_lsb": (0, math.inf),
    "max_mismatch": (0, 1),
    "min_sqnr_db": (-math.inf, math.inf),
    "max_accuracy_drop": (0, 1),
    "min_agreement": (0, 1),
}
"""What each of `Limits` may be."""


def derive(
    reference: np.ndarray[Any, Any],
    *,
    arithmetics: tuple[str, str],
    steps: tuple[float | None, float | None],
    judged_by_class: bool,
    limits: Limits,
    likeness: Likeness = UNKNOWN,
    activation: Activation | None = None,
) -> Tolerance:
    """Returns the tolerance of one output, with the words that say where it comes from.

    Args:
      reference: the reference's output, any shape.
      arithmetics: of the reference and of the candidate, see `edgekd.verify.arithmetic`.
      steps: of this output of the reference and of the candidate; None where it is a float.
      judged_by_class: whether gates on accuracy or agreement judge this output.
      limits: what a user asks for.
      likeness: whether both are one network.
      activation: the steep function that this output comes out of, if it does.

    Raises:
      NonFiniteError: as `float_tolerance`.
    """
    found = _derived(reference, arithmetics, steps, judged_by_class, limits, likeness, activation)
    if limits.min_sqnr_db is None or found.kind in {"exact", "quantised"}:
        return found
    also = f"{found.origin}; min_sqnr_db {limits.min_sqnr_db:g} as given"
    return found.model_copy(update={"min_sqnr_db": limits.min_sqnr_db, "origin": also})


def is_decided_by(tolerance: Tolerance, *, arithmetics: tuple[str, str], limits: Limits, likeness: Likeness) -> bool:
    """Returns whether an output within its tolerance is thereby the reference's.

    It is not where only the default signal-to-noise ratio judges it and the files are not known to hold one network: of
    other weights, as they record, or both of integers with other kernels. A model that was trained apart for the same
    task, or was rounded wrongly, may well have this ratio. Labels, a ratio that is given and `expect` decide.

    Args:
      tolerance: what `derive` returned.
      arithmetics: as for `derive`.
      limits: likewise.
      likeness: likewise.
    """
    if tolerance.kind != "quantised" or tolerance.min_sqnr_db is None:
        return True  # held to what rounding explains, or judged by gates
    if limits.min_sqnr_db is not None or limits.expect != "auto" or likeness.related:
        return True
    return not (likeness.related is False or (likeness.same is False and set(arithmetics) == {INTEGER}))


def _derived(
    reference: np.ndarray[Any, Any],
    arithmetics: tuple[str, str],
    steps: tuple[float | None, float | None],
    judged_by_class: bool,
    limits: Limits,
    likeness: Likeness,
    activation: Activation | None,
) -> Tolerance:
    if reference.dtype.kind in "iub":
        mismatch, origin = _or_default(limits.max_mismatch, 0.0, "max_mismatch")
        return Tolerance(
            kind="exact",
            max_mismatch=mismatch,
            origin=f"integers without a scale stand for themselves ({origin})",
        )
    floats = {FLOAT32, FLOAT16}
    if limits.expect != "close" and (set(arithmetics) <= floats or (limits.expect == "same" and None in steps)):
        return _of_floats(reference, arithmetics, limits)
    of_one_scale = _are_of_one_scale(arithmetics, steps)
    if limits.expect == "same":
        return _of_steps(steps[1], limits, activation, "one network, as given (expect same)")
    if limits.expect == "auto" and of_one_scale and likeness.same is not False:
        why = "both outputs have this scale" if likeness.same is None else likeness.why
        return _of_steps(steps[1], limits, activation, f"one network ({why})")
    why = _in_words(arithmetics, limits, likeness)
    if judged_by_class and limits.min_sqnr_db is None:
        return Tolerance(kind="quantised", origin=f"{why}: judged by accuracy and agreement")
    ratio, origin = _or_default(limits.min_sqnr_db, MIN_SQNR_DB, "min_sqnr_db")
    return Tolerance(kind="quantised", min_sqnr_db=ratio, origin=f"{why}: signal-to-noise ratio ({origin})")


def _in_words(arithmetics: tuple[str, str], limits: Limits, likeness: Likeness) -> str:
    """Returns why an output is not held to what rounding explains."""
    if limits.expect == "close":
        return "to be close, as given"
    if likeness.related is False:
        return f"another network ({likeness.why})"
    if set(arithmetics) != {INTEGER}:
        return "quantised on one side"
    if likeness.related:
        return f"quantised otherwise ({likeness.why})"
    if likeness.same is False:
        return f"not known to be one network ({likeness.why})"
    return "quantised with another scale"


def _of_steps(step: float | None, limits: Limits, activation: Activation | None, why: str) -> Tolerance:
    lsb, lsb_origin = _or_default(limits.max_lsb, MAX_LSB, "max_lsb")
    mismatch, origin = _or_default(limits.max_mismatch, MAX_MISMATCH, "max_mismatch")
    before = ""
    if activation is not None:
        before = f" or as many of the scale {activation.step:.6g} before its {activation.function}"
    return Tolerance(
        kind="integer",
        step=step,
        activation=None if activation is None else activation.function,
        activation_step=None if activation is None else activation.step,
        max_lsb=lsb,
        max_mismatch=mismatch,
        origin=f"{why}: steps of the candidate's output scale {step:.6g}{before} ({lsb_origin}), fraction beyond "
        f"({origin})",
    )


def _of_floats(reference: np.ndarray[Any, Any], arithmetics: tuple[str, str], limits: Limits) -> Tolerance:
    if limits.max_abs is not None:
        return Tolerance(kind="float", max_abs=limits.max_abs, origin="max_abs as given")
    dtype = FLOAT16 if FLOAT16 in arithmetics else FLOAT32
    multiple, origin = _or_default(limits.epsilons, FLOAT_MULTIPLE, "epsilons")
    allowed = float_tolerance(reference, dtype=dtype, multiple=multiple)
    largest = float(np.max(np.abs(reference)))
    return Tolerance(
        kind="float",
        max_abs=allowed,
        origin=f"{multiple:g} x epsilon of {dtype} x the reference's largest output {largest:.4g} ({origin})",
    )


def _are_of_one_scale(arithmetics: tuple[str, str], steps: tuple[float | None, float | None]) -> bool:
    first, second = steps
    if set(arithmetics) != {INTEGER} or first is None or second is None:
        return False
    return bool(np.isclose(first, second, rtol=1e-5, atol=0))  # scales are float32, and may be written in decimals


def _or_default(given: float | None, default: float, name: str) -> tuple[float, str]:
    return (default, f"{name} {default:g} by default") if given is None else (given, f"{name} {given:g} as given")


def float_tolerance(
    reference: np.ndarray[Any, Any], *, dtype: str = "float32", multiple: float = FLOAT_MULTIPLE
) -> float:
    """Returns the largest absolute difference that rounding explains: multiple * epsilon(dtype) * max |reference|.

    Args:
      reference: the reference's outputs, any shape.
      dtype: the coarsest float format on the way: float32, or float16 where weights are stored so.
      multiple: how many epsilons.

    Raises:
      ShapeError: an empty reference.
      NonFiniteError: NaN or infinity in the reference, or zeros only (no tolerance can be derived from them).
    """
    reference = np.asarray(reference)
    if reference.size == 0:
        raise ShapeError("the reference is empty: nothing can be compared with it.")
    magnitude = float(np.max(np.abs(reference)))
    if not np.isfinite(magnitude) or magnitude == 0:
        raise NonFiniteError(f"the reference's largest magnitude is {magnitude}: no tolerance can be derived from it.")
    return multiple * float(np.finfo(np.dtype(dtype)).eps) * magnitude
