"""Cycles of int8 networks on Cortex-M cores, from published latencies of MLPerf Tiny's four reference networks.

The published numbers are latencies of whole networks, so three unknowns (cycles per multiply-accumulate of a
convolution, of a depthwise one and of a dense layer) are found from four numbers for each core and library. How wrong
that may be for another network is asked of the data: each network is predicted from the other three, and the worst of
these four ratios is the band's factor, both ways.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported when they are used

from edgekd.errors import RecipeError

KINDS = ("convolution", "depthwise", "dense")

NETWORKS: Mapping[str, Mapping[str, int]] = {
    "keyword_spotting": {"convolution": 2_368_000, "depthwise": 288_000, "dense": 768},
    "visual_wake_words": {"convolution": 6_690_816, "depthwise": 798_336, "dense": 512},
    "image_classification": {"convolution": 12_500_992, "depthwise": 0, "dense": 640},
    "anomaly_detection": {"convolution": 0, "depthwise": 0, "dense": 264_192},
}
"""Multiply-accumulates of MLPerf Tiny's four networks by kind of operator; pointwise convolutions are convolutions."""

# Pulls a library's three coefficients together, where the networks leave one open: an odd ratio of e between two of
# them costs as much as an error of 10 % in one latency.
_RIDGE = 0.1


@dataclasses.dataclass(frozen=True)
class Library:
    """What one board with one kernel library took, in milliseconds, for each of NETWORKS.

    Attributes:
      core: the processor.
      kernels: whose kernels.
      clock_mhz: of that board.
      milliseconds: by network.
    """

    core: str
    kernels: str
    clock_mhz: float
    milliseconds: Mapping[str, float]


def _published(core: str, kernels: str, clock_mhz: float, *milliseconds: float) -> Library:
    return Library(core, kernels, clock_mhz, dict(zip(NETWORKS, milliseconds, strict=True)))


# Results of MLPerf Tiny (MLCommons): keyword spotting, visual wake words, image classification, anomaly detection.
LIBRARIES = (
    _published("cortex-m4", "reference", 120.0, 181.9, 600.6, 704.2, 10.05),  # TFLM's reference kernels
    _published("cortex-m4", "optimised", 120.0, 43.4, 89.4, 165.7, 4.79),  # ST's library
    _published("cortex-m7", "optimised", 280.0, 11.3, 23.8, 40.8, 1.23),  # ST's library
    _published("cortex-m85", "optimised", 480.0, 3.46, 13.4, 8.48, 0.53),  # with Helium
)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Cycles per multiply-accumulate by kind, and the factor by which an estimate may be off, both ways."""

    cycles_per_mac: Mapping[str, float]
    band_factor: float


def library(core: str, kernels: str) -> Library:
    """Returns what is known of a core with some kernels.

    Raises:
      RecipeError: nothing is.
    """
    for each in LIBRARIES:
        if (each.core, each.kernels) == (core, kernels):
            return each
    known = ", ".join(f"{each.core} with {each.kernels}" for each in LIBRARIES)
    raise RecipeError(f"nothing is known of {core!r} with {kernels!r} kernels: choose one of {known}.")


@functools.cache
def _all_fits() -> dict[tuple[str, str], Fit]:
    return {(each.core, each.kernels): _fit(each) for each in LIBRARIES}


def fitted(known: Library) -> Fit:
    """Returns the coefficients of a library and the band that leaving out one network at a time asks for."""
    return _all_fits()[known.core, known.kernels]


def cycles(fit: Fit, macs: Mapping[str, int]) -> float:
    """Returns Σ_k c_k · MACs_k."""
    return sum(fit.cycles_per_mac[kind] * macs[kind] for kind in KINDS)


def coefficients(known: Library, networks: Collection[str]) -> npt.NDArray[np.float64]:
    """Returns the cycles per multiply-accumulate, in the order of KINDS, that fit the latencies of some networks.

    Minimises Σ_n log²(predicted_n / published_n) + (0.1)² · Σ_k (log c_k − mean_j log c_j)².

    Args:
      known: the library.
      networks: at least one of NETWORKS.
    """
    macs = np.array([[NETWORKS[name][kind] for kind in KINDS] for name in networks], float)
    published = np.array([known.milliseconds[name] for name in networks]) * known.clock_mhz * 1e3

    def residuals(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        errors = np.log(macs @ np.exp(logs) / published)
        return np.concatenate([errors, _RIDGE * (logs - logs.mean())])

    start = np.full(len(KINDS), np.log(published.sum() / macs.sum()))
    return np.exp(scipy.optimize.least_squares(residuals, start, xtol=1e-12, ftol=1e-12, gtol=1e-12).x)


def left_out_ratios(known: Library) -> dict[str, float]:
    """Returns predicted / published latency of each network, predicted from the other three."""
    ratios = {}
    for name, macs in NETWORKS.items():
        found = coefficients(known, [other for other in NETWORKS if other != name])
        predicted = sum(c * macs[kind] for c, kind in zip(found, KINDS, strict=True))
        ratios[name] = float(predicted / (known.milliseconds[name] * known.clock_mhz * 1e3))
    return ratios


def _fit(known: Library) -> Fit:
    worst = max(max(ratio, 1 / ratio) for ratio in left_out_ratios(known).values())
    found = coefficients(known, list(NETWORKS))
    return Fit(dict(zip(KINDS, map(float, found), strict=True)), float(worst))
