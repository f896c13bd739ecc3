"""Arm Cortex-M cores: time reckoned from the multiply-accumulates of each kind of operator, within a wide band."""

from pathlib import Path

from edgekd import inspect
from edgekd.bench import cortex_m_model
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Bounded, Figures

SUFFIXES = (".tflite",)

_CLOCKS_MHZ = (0.001, 100_000.0)  # beyond which no such core runs, and a time is no number any more
_KINDS = {"CONV_2D": "convolution", "DEPTHWISE_CONV_2D": "depthwise", "FULLY_CONNECTED": "dense"}


def estimate(
    path: Path, *, core: str = "cortex-m4", kernels: str = "optimised", clock_mhz: float | None = None
) -> Figures:
    """Returns what an int8 file would take on a core, from what MLPerf Tiny's four networks took on one of its kind.

    cycles = Σ_k c_k · MACs_k over convolutions, depthwise convolutions and dense layers. All else (pooling, additions,
    softmax, memory) is in the coefficients c_k as far as those four networks have it. How they are found, and how wide
    the band must be, is in `edgekd.bench.cortex_m_model`.

    Args:
      path: an int8 TFLite file.
      core: cortex-m4, cortex-m7 or cortex-m85.
      kernels: `optimised` (the vendor's library or CMSIS-NN) or `reference` (TFLM's own; cortex-m4 only).
      clock_mhz: of the core; by default that of the board which the coefficients come from.

    Raises:
      RecipeError: a core or kernels that nothing is known of, or a clock that no core has.
      ModelError: a file that is not int8, or whose arithmetic is not known.
    """
    library = cortex_m_model.library(core, kernels)
    clock = library.clock_mhz if clock_mhz is None else clock_mhz
    if not _CLOCKS_MHZ[0] <= clock <= _CLOCKS_MHZ[1]:
        raise RecipeError(f"clock_mhz is {clock_mhz}: expected a number from {_CLOCKS_MHZ[0]:g} to {_CLOCKS_MHZ[1]:g}.")
    macs, notes = _macs(path)
    fit = cortex_m_model.fitted(library)
    cycles = cortex_m_model.cycles(fit, macs)
    value = cycles / (clock * 1e3)
    return Figures(
        tool="edgekd's estimate from MACs, after MLPerf Tiny results",
        configuration={"core": core, "kernels": kernels, "clock_mhz": clock, "band_factor": round(fit.band_factor, 2)},
        latency_ms=Bounded(value=value, low=value / fit.band_factor, high=value * fit.band_factor),
        cycles=round(cycles),
        macs=sum(macs.values()),
        notes=notes,
    )


def _macs(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns the multiply-accumulates of each kind, and what a reader must know of them."""
    inspection = inspect.inspect_model(path)
    if inspection.macs is None:
        raise ModelError(f"the arithmetic of {path.name!r} is not known, so its time cannot be: {inspection.macs_note}")
    found = dict.fromkeys(cortex_m_model.KINDS, 0)
    others: dict[str, int] = {}
    for node in inspection.nodes:
        if not node.macs:
            continue
        weights = inspection.tensors[node.inputs[1]] if len(node.inputs) > 1 and node.inputs[1] is not None else None
        made = inspection.tensors[node.outputs[0]] if node.outputs[0] is not None else None
        if made is None or made.dtype != "int8" or weights is None or weights.dtype != "int8":
            raise ModelError(
                f"{path.name!r} computes {node.operator} in {made.dtype if made else 'an unknown type'}: what is known "
                "of Cortex-M cores is of int8 arithmetic. Export the scheme int8."
            )
        if node.operator in _KINDS:
            found[_KINDS[node.operator]] += node.macs
        else:
            found["convolution"] += node.macs
            others[node.operator] = others.get(node.operator, 0) + node.macs
    if not sum(found.values()):
        raise ModelError(f"{path.name!r} multiplies nothing: there is nothing to reckon its time from.")
    notes = [
        f"{count:,} MACs of {name} are counted as those of a convolution: the four networks have no such operator."
        for name, count in others.items()
    ]
    return found, tuple(notes)
