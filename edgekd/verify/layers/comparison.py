"""Two models operator by operator: where, and by how much, the candidate is not the reference."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from edgekd.errors import EdgekdError, ModelError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime.layers.graph import LayeredModel
from edgekd.verify import metrics
from edgekd.verify.layers import tolerances
from edgekd.verify.layers.alignment import align
from edgekd.verify.layers.blocks import INPUT, Point
from edgekd.verify.layers.execution import Execution
from edgekd.verify.layers.layout import Layout, Name, layouts
from edgekd.verify.layers.local import Bench, Outcome
from edgekd.verify.layers.pairs import Pair, pairs_of
from edgekd.verify.layers.records import LayerComparison, LayerError, LayerRow

Array = np.ndarray[Any, Any]


def compare_layers(
    reference: LayeredModel,
    candidate: LayeredModel,
    inputs: Sequence[Array],
    *,
    names: tuple[str, str],
    dataset: str,
    input_names: Sequence[str] | None = None,
) -> LayerComparison:
    """Returns how far each of the candidate's operators is from the reference's.

    Args:
      reference: what the candidate should compute.
      candidate: another model, of any format.
      inputs: [samples, ...] float32 for each input, in the layout of either.
      names: what to call the two in the record.
      dataset: what to call the samples.
      input_names: what the inputs are called. Several are given to the models by name where all are called so, else by
        position.

    Raises:
      ShapeError: no samples, fewer than a static batch, or of another shape than the models take.
      ModelError: the models take different numbers of inputs or different static batches, or cannot be run.
    """
    batch = _common_batch(reference, candidate)
    runs = min((len(each) for each in inputs), default=0) // batch
    if runs == 0:
        raise ShapeError(f"at least {batch} samples are needed to compare {names[0]!r} and {names[1]!r}.")
    if not len(reference.graph.inputs) == len(candidate.graph.inputs) == len(inputs):
        raise ModelError(
            f"{names[0]!r} has {len(reference.graph.inputs)} inputs, {names[1]!r} {len(candidate.graph.inputs)}, and "
            f"{len(inputs)} were given: all must be equal."
        )
    for model in (reference, candidate):
        if not set(model.graph.inputs) <= set(model.graph.tensors):
            raise ModelError(
                f"an input of {model.name!r} takes integers that stand for themselves, such as positions in a table, "
                "or texts: operators are compared on real numbers. Leave out --layers to compare it as a whole."
            )
    kept = [np.asarray(each[: runs * batch], np.float32) for each in inputs]
    orders, inputs_by = _orders(reference, candidate, input_names)
    first, second = ([kept[at] for at in order] for order in orders)
    sides = Execution(reference, first, batch=batch), Execution(candidate, second, batch=batch)
    matches = align(sides[0].side, sides[1].side, order=[orders[1].index(at) for at in orders[0]])
    pairs = pairs_of(matches, sides[0].side.blocks, sides[1].side.blocks)
    rows = _Comparing(sides, pairs, batch).rows()
    failed = [number for number, row in enumerate(rows) if row.passed is False]
    judged = [row for row in rows if row.passed is not None and row.kind != INPUT]
    unjudged = _unjudged(sides, pairs, rows)
    return LayerComparison(
        reference=names[0],
        candidate=names[1],
        dataset=dataset,
        samples=runs * batch,
        inputs_by=inputs_by,
        rows=rows,
        unmatched_reference=_unmatched(sides[0], {each.reference for each in matches}),
        unmatched_candidate=_unmatched(sides[1], {each.candidate for each in matches}),
        first=failed[0] if failed else None,
        ranking=tuple(sorted(range(len(rows)), key=lambda number: -_badness(rows[number]))),
        unjudged=unjudged,
        status="failed" if failed or not judged else "inconclusive" if unjudged else "passed",
        passed=bool(judged) and not failed and not unjudged,
    )


def _common_batch(reference: LayeredModel, candidate: LayeredModel) -> int:
    static = {model.batch for model in (reference, candidate) if model.batch is not None}
    if len(static) > 1:
        raise ModelError(
            f"{reference.name!r} takes batches of {reference.batch}, {candidate.name!r} of {candidate.batch}: export "
            "one of them again, with the other's batch."
        )
    batch = static.pop() if static else 1
    if batch < 1:
        name = next(model.name for model in (reference, candidate) if model.batch == batch)
        raise ModelError(f"{name!r} takes batches of {batch}: it is damaged. Export it again.")
    return batch


def _orders(
    reference: LayeredModel, candidate: LayeredModel, names: Sequence[str] | None
) -> tuple[tuple[list[int], list[int]], Literal["name", "position"]]:
    """Returns which of the given inputs each input of each model gets, and by which rule."""
    called = [[model.graph.tensors[key].name for key in model.graph.inputs] for model in (reference, candidate)]
    names = list(called[0] if names is None else names)
    if len(set(names)) == len(names) and all(set(each) == set(names) for each in called):
        return ([names.index(name) for name in called[0]], [names.index(name) for name in called[1]]), "name"
    positions = list(range(len(names)))
    return (positions, positions), "position"


def _unmatched(side: Execution, matched: set[int]) -> tuple[str, ...]:
    return tuple(
        side.name(block.operator)
        for number, block in enumerate(side.side.blocks)
        if number not in matched and block.operator is not None
    )


def _unjudged(sides: tuple[Execution, Execution], pairs: Sequence[Pair], rows: Sequence[LayerRow]) -> tuple[str, ...]:
    """Returns the operators with weights, of either model, that no row judges, alone or with another."""
    judged = [(pair, row) for pair, row in zip(pairs, rows, strict=True) if row.passed is not None]
    merged = {name for _, row in judged for name in row.merged}
    ends = (
        {id(pair.reference.operator) for pair, _ in judged},
        {id(pair.candidate.operator) for pair, _ in judged},
    )
    found = [
        side.name(each)
        for side, known in zip(sides, ends, strict=True)
        for each in side.model.graph.operators
        if side.kernel(each) is not None and id(each) not in known and side.name(each) not in merged
    ]
    return tuple(dict.fromkeys(found))


def _badness(row: LayerRow) -> float:
    if row.passed is False and row.excess is None:
        return math.inf
    return max(row.excess or 0.0, (row.saturated or 0.0) / tolerances.MAX_SATURATED)


class _Comparing:
    def __init__(self, sides: tuple[Execution, Execution], pairs: Sequence[Pair], batch: int) -> None:
        self._sides, self._batch = sides, batch
        possible = {pair: self._layouts(pair) for pair in pairs}
        clear = Counter(found[0].name for found in possible.values() if len(found) == 1 and found[0].is_seen)
        self._found = {pair: self._chosen(pair, found, clear) for pair, found in possible.items()}
        self._bench = Bench(*sides, {pair: found[0] if found else None for pair, found in self._found.items()})

    def rows(self) -> tuple[LayerRow, ...]:
        return tuple(self._row(pair) for pair in self._found)

    def _layouts(self, pair: Pair) -> tuple[Layout, ...]:
        reference, candidate = self._sides
        shapes = reference.shape(pair.reference.key), candidate.shape(pair.candidate.key)
        return layouts(*shapes, batch=self._batch)

    def _chosen(self, pair: Pair, found: tuple[Layout, ...], clear: Mapping[Name, int]) -> tuple[Layout, str] | None:
        """Returns a pair's layout and what told it: its shapes, else the model's other tensors, else the values."""
        if len(found) < 2:
            return (found[0], "shape") if found else None
        wanted, given = (side.real(key) for side, key in zip(self._sides, pair.keys, strict=True))
        errors = [float(np.linalg.norm(wanted - each.to_reference(given))) for each in found]
        usual = max(range(len(found)), key=lambda number: (clear.get(found[number].name, 0), -errors[number]))
        best = int(np.argmin(errors))
        if errors[best] < errors[usual] / 2 or not clear:
            return found[best], "values"
        return found[usual], "others"

    def _row(self, pair: Pair) -> LayerRow:
        reference, candidate = self._sides
        found = self._found[pair]
        spec = candidate.spec(pair.candidate.key)
        specs = reference.spec(pair.reference.key), spec
        about: dict[str, Any] = {
            "kind": pair.kind,
            "reference_operator": _type(pair.reference),
            "candidate_operator": _type(pair.candidate),
            "reference_tensor": reference.spec(pair.reference.key).name,
            "candidate_tensor": spec.name,
            "reference_shape": reference.shape(pair.reference.key),
            "candidate_shape": candidate.shape(pair.candidate.key),
            "candidate_dtype": spec.dtype,
            "matched_by": pair.by,
            "layout": "different" if found is None else found[0].name,
            "layout_by": "shape" if found is None else found[1],
        }
        if found is None:
            shapes = list(about["candidate_shape"]), list(about["reference_shape"])
            return LayerRow(**about, passed=False, reason=f"its output has shape {shapes[0]} instead of {shapes[1]}")
        wanted = reference.real(pair.reference.key)
        given = found[0].to_reference(candidate.real(pair.candidate.key))
        if not (np.isfinite(wanted).all() and np.isfinite(given).all()):
            return LayerRow(**about, passed=False, reason="its values are NaN or infinite")
        saturated = self._saturated(pair, wanted, given)
        if pair.kind == INPUT:
            limit = tolerances.local_limit(
                steps=[each.scale for each in specs if each.scale is not None],
                magnitude=float(np.max(np.abs(wanted))),
                eps=float(np.finfo(np.float32).eps),
            )
            about["cumulative"] = _error(wanted, given, spec, float(limit))
            return _judged(about, wanted, given, specs, limit, None, saturated=saturated)
        try:
            outcome = self._bench.run(pair)
        except EdgekdError as error:
            cumulative = _error(wanted, given, spec, 0.0)
            return LayerRow(**about, cumulative=cumulative, passed=None, reason=f"not compared locally: {error}")
        about |= {"merged": outcome.merged, "note": outcome.note}
        if broken := _not_finite(outcome):
            return LayerRow(**about, passed=False, reason=broken)
        about["cumulative"] = _error(wanted, given, spec, float(np.max(outcome.limit)))
        return _judged(about, outcome.wanted, outcome.given, specs, outcome.limit, outcome.axis, saturated=saturated)

    def _saturated(self, pair: Pair, wanted: Array, given: Array) -> float:
        """Returns the fraction of values of either that lie more than a step beyond what the other can hold.

        Where maxima alone are read of a tensor, its low values do not matter: converters cut them, and what becomes of
        the maxima is judged there.
        """
        reference, candidate = self._sides
        pooled = reference.is_read_for_maxima(pair.reference.key) or candidate.is_read_for_maxima(pair.candidate.key)
        beyond = _beyond(wanted, candidate.spec(pair.candidate.key), above_only=pooled)
        return float(np.mean(beyond | _beyond(given, reference.spec(pair.reference.key), above_only=pooled)))


def _not_finite(outcome: Outcome) -> str:
    """Returns what is NaN or infinite where two operators ran on the same values, in words."""
    if not (np.isfinite(outcome.wanted).all() and np.isfinite(outcome.given).all()):
        return "on the reference's values it gives NaN or infinity"
    if not np.isfinite(outcome.limit).all():
        return "what rounding explains is not finite: its weights, or what it reads, are too large for float32"
    return ""


def _judged(
    about: dict[str, Any],
    wanted: Array,
    given: Array,
    specs: tuple[TensorSpec, TensorSpec],
    limit: Array,
    axis: int | None,
    *,
    saturated: float,
) -> LayerRow:
    spec = specs[1]
    held = _held(wanted, spec) & _held(given, specs[0])
    held = held if held.any() else np.ones_like(held)
    square = np.where(held, np.square(given.astype(np.float64) - wanted), 0.0)
    if axis is None:
        rms = np.sqrt(np.atleast_1d(square.sum() / held.sum()))
    else:
        axes = tuple(each for each in range(wanted.ndim) if each != axis % wanted.ndim)
        rms = np.sqrt(square.sum(axis=axes) / np.maximum(1, held.sum(axis=axes)))
    # An output of zeros alone explains no error at all.
    limits = np.maximum(np.broadcast_to(limit, rms.shape), np.finfo(np.float64).tiny)
    channel = int(np.argmax(np.minimum(rms / limits, 1e300)))
    excess = float(min(rms[channel] / limits[channel], 1e300))
    reasons = []
    if excess > 1:
        size = f"{rms[channel]:.3g}" if spec.scale is None else f"{rms[channel] / spec.scale:.3g} steps"
        where = "" if axis is None else f" in channel {channel}"
        reasons.append(f"its error of {size} rms{where} is {excess:.3g} times what rounding explains")
    lost = metrics.wilson_interval(round(saturated * wanted.size), wanted.size)
    if lost.low > tolerances.MAX_SATURATED:
        reasons.append(f"{100 * saturated:.1f} % of the values lie beyond what its output can hold")
    return LayerRow(
        **about,
        local=_error(wanted, given, spec, float(np.max(limit))),
        limit=float(limits[channel]),
        excess=excess,
        channel=None if axis is None else channel,
        saturated=saturated,
        passed=not reasons,
        reason="; ".join(reasons) or None,
    )


def _held(values: Array, spec: TensorSpec) -> Array:
    """Returns which values lie in a tensor's range: the others are clipped as they are rounded."""
    low, high = _range(spec)
    return (values >= low) & (values <= high)


def _beyond(values: Array, spec: TensorSpec, *, above_only: bool) -> Array:
    """Returns which values are more than a step beyond a tensor's range; a value nearer than that is healthy."""
    low, high = _range(spec)
    step = spec.scale or 0.0
    above = values > high + step
    return above if above_only else above | (values < low - step)


def _range(spec: TensorSpec) -> tuple[float, float]:
    if spec.scale is None or spec.zero_point is None:
        return -math.inf, math.inf
    limits = np.iinfo(spec.dtype if np.dtype(spec.dtype).kind in "iu" else "int8")
    return (limits.min - spec.zero_point) * spec.scale, (limits.max - spec.zero_point) * spec.scale


def _error(wanted: Array, given: Array, spec: TensorSpec, tolerance: float) -> LayerError:
    difference = np.abs(given.astype(np.float64) - wanted)
    rms, largest = float(np.sqrt(np.mean(np.square(difference)))), float(np.max(difference))
    norm = float(np.linalg.norm(wanted.astype(np.float64)))
    relative = float(np.linalg.norm(difference)) / norm if norm > 0 else None
    beyond = tolerance if spec.scale is None else (1 + 1e-3) * spec.scale
    return LayerError(
        rms=rms,
        max_abs=largest,
        relative_l2=relative,
        sqnr_db=-20 * math.log10(relative) if relative else None,
        rms_lsb=None if spec.scale is None else rms / spec.scale,
        max_lsb=None if spec.scale is None else largest / spec.scale,
        mismatch=float(np.mean(difference > beyond)),
    )


def _type(point: Point) -> str:
    return "input" if point.operator is None else point.operator.type
