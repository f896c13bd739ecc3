"""How well the errors of what a network gives back tell anomalies: their area under the ROC curve, with intervals."""

import dataclasses
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.records import Interval, Reconstruction

Array = np.ndarray[Any, Any]

_EDGE = 1e-12  # of what an interval of an area may reach


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
    """Mean squared errors of what a network gives back.

    Attributes:
      mse: over all samples that are normal.
      normal: [groups] float64, of each group of normal samples.
      anomalous: [groups] float64, of each group of others; empty where there are none.
    """

    mse: float
    normal: Array
    anomalous: Array

    def quality(self) -> Reconstruction:
        """Returns what a record tells of them; without anomalies there is no area."""
        return Reconstruction(
            mse=self.mse,
            auc=area(self.anomalous, self.normal) if len(self.anomalous) else None,
            normal=len(self.normal),
            anomalous=len(self.anomalous),
        )


def squared_errors(samples: Array, outputs: Array, is_anomalous: Array, groups: Array | None = None) -> Errors:
    """Returns the errors of a network's outputs.

    Args:
      samples: [n, ...] float, what the network was given.
      outputs: the same shape, what it gave back.
      is_anomalous: [n] booleans.
      groups: [n] integers, equal for samples whose errors are averaged, all of them anomalous or none; None: each
        sample stands for itself.

    Raises:
      ShapeError: different shapes, or no normal sample.
      NonFiniteError: NaN or infinity among the outputs.
    """
    if samples.shape != outputs.shape or is_anomalous.shape != samples.shape[:1]:
        raise ShapeError(
            f"samples of shape {list(samples.shape)}, outputs of {list(outputs.shape)} and {list(is_anomalous.shape)} "
            "flags: what gives back its input has the input's shape."
        )
    if not np.isfinite(outputs).all():
        raise NonFiniteError("there is NaN or infinity in what the network gives back: something before it is broken.")
    if is_anomalous.all():
        raise ShapeError("none of the samples is normal: expected some of a class that the training split has.")
    values = np.square(samples.astype(np.float64) - outputs).reshape(len(samples), -1).mean(axis=1)
    mse = float(values[~is_anomalous].mean())
    if groups is not None:
        _, first, of_sample = np.unique(groups, return_index=True, return_inverse=True)
        values = np.bincount(of_sample, values) / np.bincount(of_sample)
        is_anomalous = is_anomalous[first]
    return Errors(mse, values[~is_anomalous], values[is_anomalous])


def area(anomalous: Array, normal: Array, *, confidence: float = 0.95) -> Interval:
    """Returns the probability that an anomaly's error exceeds a normal one's, ties counting half, and its interval.

    The interval is of the θ from which the value is at most z standard deviations away: with m and n errors and
    N = (m + n) / 2 - 1 the variance is θ(1 - θ) [1 + N(1 - θ) / (2 - θ) + Nθ / (1 + θ)] / mn, that of Hanley and McNeil
    but for N. Unlike a bootstrap's it has a width where all anomalies exceed all that is normal.

    Args:
      anomalous: [m] float, one or more.
      normal: [n] float, one or more.
      confidence: between 0 and 1.

    References:
      R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2:
      asymptotic methods and evaluation", Statistics in Medicine 25, 2006, method 5. https://doi.org/10.1002/sim.2324
    """
    pairs = len(anomalous) * len(normal)
    z = scipy.special.ndtri(0.5 + confidence / 2)
    value = float(scipy.stats.mannwhitneyu(anomalous, normal, method="asymptotic").statistic) / pairs
    mean = (len(anomalous) + len(normal)) / 2 - 1

    def beyond(theta: float) -> float:
        factor = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        return float((value - theta) ** 2 - z**2 * theta * (1 - theta) * factor / pairs)

    # At 0 and at 1 there is no variance: a value there is a root of its own, which the brackets leave out.
    low = scipy.optimize.brentq(beyond, 0.0, min(value, 1 - _EDGE)) if value > 0 else 0.0
    high = scipy.optimize.brentq(beyond, max(value, _EDGE), 1.0) if value < 1 else 1.0
    return Interval(value=value, low=min(low, value), high=max(high, value), confidence=confidence)


def area_drop(reference: Errors, candidate: Errors, *, confidence: float = 0.95) -> Interval | None:
    """Returns by how much the candidate's area is smaller than the reference's, both on the same groups.

    The interval is DeLong's, which knows that both saw the same groups; it has no width where both order every pair of
    an anomalous and a normal group alike, and is wide of the mark for few groups.

    Returns:
      None where there are no anomalies, or too few groups to tell a variance: two of each kind are needed.

    References:
      DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
      characteristic curves: a nonparametric approach", Biometrics 44, 1988.
    """
    if min(len(reference.anomalous), len(reference.normal)) < 2:
        return None
    ours, theirs = _placements(reference), _placements(candidate)
    by_anomaly, by_normal = (mine - its for mine, its in zip(ours, theirs, strict=True))
    value = float(by_anomaly.mean())
    error = float(np.sqrt(by_anomaly.var(ddof=1) / len(by_anomaly) + by_normal.var(ddof=1) / len(by_normal)))
    half_width = float(scipy.special.ndtri(0.5 + confidence / 2)) * error
    return Interval(
        value=value,
        low=max(-1.0, value - half_width),
        high=min(1.0, value + half_width),
        confidence=confidence,
    )


def _placements(errors: Errors) -> tuple[Array, Array]:
    """Returns of each anomalous group the share of normal ones below it, and of each normal one that of those above."""
    anomalous, normal = errors.anomalous, errors.normal
    ranks = scipy.stats.rankdata(np.concatenate([anomalous, normal]))
    count = len(anomalous)
    below = (ranks[:count] - scipy.stats.rankdata(anomalous)) / len(normal)
    above = 1 - (ranks[count:] - scipy.stats.rankdata(normal)) / count
    return below, above
