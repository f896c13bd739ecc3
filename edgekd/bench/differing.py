"""How far outputs are apart, counted batch by batch. Pure functions of arrays."""

import dataclasses

import numpy as np

from edgekd.errors import ModelError
from edgekd.records import OutputParity, TensorSpec
from edgekd.runtime.runner import Array


@dataclasses.dataclass(frozen=True)
class Differences:
    """What is known of one output so far.

    Attributes:
      spec: of the output.
      elements: values that were compared.
      unequal: those of them that differ.
      beyond_one: those that differ by more than one step of an integer.
      largest: the largest difference.
      finite: whether all values were.
      vectors: along the last axis, of more than one value.
      same: those whose largest value is at the same place.
    """

    spec: TensorSpec
    elements: int = 0
    unequal: int = 0
    beyond_one: int = 0
    largest: float = 0.0
    finite: bool = True
    vectors: int = 0
    same: int = 0

    def plus(self, expected: Array, found: Array) -> "Differences":
        """Returns the differences with those of one batch more.

        Args:
          expected: the output here.
          found: the output elsewhere.

        Raises:
          ModelError: they have different shapes or types.
        """
        if expected.shape != found.shape or expected.dtype != found.dtype:
            raise ModelError(
                f"output {self.spec.name!r} is {list(expected.shape)} {expected.dtype} here and {list(found.shape)} "
                f"{found.dtype} there: nothing can be compared."
            )
        kind = np.int64 if expected.dtype.kind in "iub" else np.float64
        ours, theirs = expected.astype(kind), found.astype(kind)
        finite = bool(np.isfinite(ours).all() and np.isfinite(theirs).all())
        distance = np.abs(ours - theirs) if finite else np.zeros_like(ours)
        vectors = ours.reshape(-1, ours.shape[-1]) if ours.ndim and ours.shape[-1] > 1 else None
        same = 0 if vectors is None else int(np.sum(vectors.argmax(1) == theirs.reshape(vectors.shape).argmax(1)))
        return dataclasses.replace(
            self,
            elements=self.elements + ours.size,
            unequal=self.unequal + int(np.count_nonzero(distance)),
            beyond_one=self.beyond_one + int(np.count_nonzero(distance > 1)),
            largest=max(self.largest, float(distance.max(initial=0))),
            finite=self.finite and finite,
            vectors=self.vectors + (0 if vectors is None else len(vectors)),
            same=self.same + same,
        )

    def record(self, name: str) -> OutputParity:
        """Returns what was found.

        Args:
          name: of the file, for messages.

        Raises:
          ModelError: nothing was compared, or not all values were numbers.
        """
        if not self.finite:
            raise ModelError(f"{name!r} makes NaN or infinity of random inputs in {self.spec.name!r}: compare nothing.")
        if not self.elements:
            raise ModelError(f"output {self.spec.name!r} of {name!r} has no values to compare.")
        integers = np.dtype(self.spec.dtype).kind in "iu"
        return OutputParity(
            output=self.spec.name,
            dtype=self.spec.dtype,
            elements=self.elements,
            differing=self.unequal / self.elements,
            max_lsb=int(self.largest) if integers else None,
            beyond_one_lsb=self.beyond_one / self.elements if integers else None,
            max_abs=None if integers else self.largest,
            agreement=self.same / self.vectors if self.vectors else None,
        )
