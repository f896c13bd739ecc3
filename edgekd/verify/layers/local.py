"""One operator alone, on the reference's values."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.runtime.layers.graph import DEQUANTISE, MOVING, QUANTISE, Kernel, Operator
from edgekd.verify.layers import tolerances
from edgekd.verify.layers.execution import Execution, real, stored
from edgekd.verify.layers.layout import Layout
from edgekd.verify.layers.pairs import Pair

Array = np.ndarray[Any, Any]

_COMPUTING_NOTHING = frozenset({MOVING, DEQUANTISE, QUANTISE})


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What two operators gave on the same values.

    Attributes:
      wanted: [runs, ...] the reference's output.
      given: the candidate's, in the reference's layout.
      limit: root mean square error that rounding explains: (), or [channels] of `axis`.
      axis: of `wanted`, along which there are channels with limits of their own.
      merged: names of operators without a partner that took part.
      note: what else to know.
    """

    wanted: Array
    given: Array
    limit: Array
    axis: int | None
    merged: tuple[str, ...]
    note: str | None


class Bench:
    """Two models whose tensors are paired."""

    def __init__(
        self,
        reference: Execution,
        candidate: Execution,
        layouts: Mapping[Pair, Layout | None],
    ) -> None:
        """Takes the executions, and the layout of each pair, in order; None where shapes differ."""
        self._sides = (reference, candidate)
        self._layouts = layouts
        # Where an operator has no counterpart, the later pair is what the candidate's readers should read.
        self._pair_of = {pair.candidate.key: pair for pair in layouts}
        self._known = (
            frozenset(pair.reference.key for pair in layouts),
            frozenset(pair.candidate.key for pair in layouts),
        )

    def run(self, pair: Pair) -> Outcome:
        """Returns what both give for a pair's tensor.

        The candidate's operators read the reference's values, as their input tensors can hold them; the reference's
        then read the same numbers. So what is left is what happens in the operators themselves.

        Raises:
          EdgekdError: an engine cannot run them alone.
        """
        reference, candidate = self._sides
        layout = self._layouts[pair]
        if layout is None:
            raise AssertionError("tensors of different shapes cannot be compared")
        feeds = [side.leading_to(point.key, known) for side, point, known in self._ends(pair)]
        (wanted_keys, first), (given_keys, second) = feeds
        received: dict[str, Array] = {}
        passed_on: dict[str, Array] = {}
        for key in given_keys:
            partner = self._pair_of.get(key)
            between = None if partner is None else self._layouts[partner]
            if partner is None or between is None:
                raise EdgekdError(
                    f"nothing of the reference has the shape of {candidate.spec(key).name!r}, which it reads"
                )
            received[key] = stored(between.to_candidate(reference.real(partner.reference.key)), candidate.spec(key))
            passed_on[partner.reference.key] = between.to_reference(real(received[key], candidate.spec(key)))
        wanted = self._wanted(pair, wanted_keys, passed_on)
        given = layout.to_reference(
            real(candidate.model.part(received, pair.candidate.key), candidate.spec(pair.candidate.key))
        )
        limit, axis = self._limit(pair, first, second, wanted)
        return Outcome(
            wanted=wanted,
            given=given,
            limit=limit,
            axis=axis,
            merged=tuple(self._merged(pair, first, second)),
            note=self._note(set(wanted_keys), set(passed_on)),
        )

    def _ends(self, pair: Pair) -> Iterator[tuple[Execution, Any, frozenset[str]]]:
        yield from zip(self._sides, (pair.reference, pair.candidate), self._known, strict=True)

    def _wanted(self, pair: Pair, keys: Sequence[str], passed_on: Mapping[str, Array]) -> Array:
        reference = self._sides[0]
        feeds = {
            key: stored(passed_on[key], reference.spec(key)) if key in passed_on else reference.raw[key] for key in keys
        }
        key = pair.reference.key
        if all(np.array_equal(array, reference.raw[each]) for each, array in feeds.items()):
            return reference.real(key)
        return real(reference.model.part(feeds, key), reference.spec(key))

    def _merged(self, pair: Pair, first: Sequence[Operator], second: Sequence[Operator]) -> Iterator[str]:
        for side, operators, point in zip(self._sides, (first, second), (pair.reference, pair.candidate), strict=True):
            for each in reversed(operators):
                if each is not point.operator and each.kind not in _COMPUTING_NOTHING:
                    yield side.name(each)

    def _note(self, read: set[str], passed_on: set[str]) -> str | None:
        if read == passed_on:
            return None
        reference = self._sides[0]
        names = [", ".join(sorted(repr(reference.spec(key).name) for key in keys)) for keys in (read, passed_on)]
        return f"the reference's reads {names[0]}, the candidate's what belongs to {names[1]}"

    def _limit(
        self, pair: Pair, first: Sequence[Operator], second: Sequence[Operator], wanted: Array
    ) -> tuple[Array, int | None]:
        sides = list(zip(self._sides, (first, second), (pair.reference.key, pair.candidate.key), strict=True))
        kernels = [
            [(side, each, kernel) for each in operators if (kernel := side.kernel(each)) is not None]
            for side, operators, _ in sides
        ]
        norms = [float(np.max(_norms(kernel))) for made in kernels for _, _, kernel in made]
        steps = []
        for side, operators, target in sides:
            steps += [scale] if (scale := side.spec(target).scale) is not None else []
            for key in (key for each in operators if each.kind not in (MOVING, DEQUANTISE) for key in each.outputs):
                inner = side.spec(key).scale
                if inner is not None and key != target:
                    spread = max(float(np.std(side.real(key))), inner)
                    steps.append(inner * max(1.0, float(np.std(wanted)) / spread, *norms))
        reference = self._sides[0]
        passed = [reference.real(key) for each in first for key in each.outputs]
        limit = tolerances.local_limit(
            steps=steps,
            products=() if _are_equal(kernels) else [_product(*each) for made in kernels for each in made],
            magnitude=max(float(np.max(np.abs(each), initial=0)) for each in (wanted, *passed)),
            eps=self._eps(sides),
            halves=sum(each.halves for each in (*first, *second)),
            constants=sum(_constant_error(side, each) for side, operators, _ in sides for each in operators),
        )
        if kernels[0]:
            axis = kernels[0][0][2].axis
            axis = axis if axis < 0 else axis + 1
            channels = wanted.shape[axis] if axis < wanted.ndim else -1
            if channels == len(kernels[0][0][2].values) and limit.shape in ((), (channels,)):
                return np.broadcast_to(limit, (channels,)), axis
        return np.max(limit), None

    def _eps(self, sides: Sequence[tuple[Execution, Sequence[Operator], str]]) -> float:
        dtypes = {side.spec(key).dtype for side, operators, _ in sides for each in operators for key in each.outputs}
        return float(np.finfo(np.float16 if "float16" in dtypes else np.float32).eps)


def _product(side: Execution, operator: Operator, kernel: Kernel) -> tolerances.Product:
    read = side.real(operator.inputs[0]).astype(np.float64)
    mean_square = np.asarray(np.mean(np.square(read)))
    if operator.kind == "depthwise":  # an output channel reads one channel alone
        axis = (kernel.axis if kernel.axis < 0 else kernel.axis + 1) % read.ndim
        channels = read.shape[axis]
        if len(kernel.values) % channels == 0:
            others = tuple(each for each in range(read.ndim) if each != axis)
            mean_square = np.repeat(np.mean(np.square(read), axis=others), len(kernel.values) // channels)
    return tolerances.Product(
        norms=_norms(kernel),
        steps=kernel.steps,
        read=kernel.values[0].size,
        mean_square=mean_square,
        input_step=float(np.max(np.abs(read), initial=0)) / 127 if kernel.rounds_input else 0.0,
    )


def _constant_error(side: Execution, operator: Operator) -> float:
    """Returns the most that half a step of an operator's constants makes of its output."""
    if not operator.constant_step:
        return 0.0
    largest = 1.0 if operator.kind == "shift" else float(np.max(np.abs(side.real(operator.inputs[0])), initial=0))
    return operator.constant_step / 2 * largest


def _norms(kernel: Kernel) -> Array:
    return np.linalg.norm(kernel.values.reshape(len(kernel.values), -1), axis=1)


def _are_equal(kernels: Sequence[Sequence[tuple[Execution, Operator, Kernel]]]) -> bool:
    """Whether both sides have one kernel, of equal numbers: then weights explain no difference."""
    if not len(kernels[0]) == len(kernels[1]) == 1:
        return False
    first, second = kernels[0][0][2], kernels[1][0][2]
    same = first.values.size == second.values.size and np.array_equal(np.ravel(first.values), np.ravel(second.values))
    return same and not (first.rounds_input or second.rounds_input)
