"""Several arrays read as one, without a copy of any of them."""

from collections.abc import Sequence

import numpy as np

from edgekd.errors import DataError


class Joined:
    """Arrays of the same row shape and dtype, one after the other; rows are copied from them only when they are read.

    So a split can be made of a part in memory and a memory map that is larger than the memory.

    Attributes:
      shape: [n, ...] of the whole.
      dtype: of every part.

    Raises:
      DataError: no parts, or parts whose rows differ in shape or dtype.
    """

    def __init__(self, parts: "Sequence[np.ndarray | Joined]") -> None:
        forms = {(part.shape[1:], part.dtype) for part in parts}
        if len(forms) != 1:
            described = ", ".join(sorted(f"{dtype} {list(shape)}" for shape, dtype in forms)) or "nothing"
            raise DataError(f"rows of {described} cannot be read as one array: expected one shape and one dtype.")
        row_shape, dtype = forms.pop()
        self.dtype: np.dtype = dtype
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *row_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the rows of a slice (a view, where they are contiguous in one part) or at positions [k], 0 or more.

        Raises:
          IndexError: positions outside the array.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return self._range(start, stop) if step == 1 else self._take(np.arange(start, stop, step))
        return self._take(np.asarray(rows))

    def _range(self, start: int, stop: int) -> np.ndarray:
        pieces = [
            part[max(start - first, 0) : stop - first]
            for part, first in zip(self._parts, self._starts.tolist(), strict=False)
            if start < first + len(part) and stop > first
        ]
        if not pieces:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _take(self, rows: np.ndarray) -> np.ndarray:
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise IndexError(f"positions of dtype {rows.dtype} and shape {list(rows.shape)}: expected integers [k]")
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"positions {rows.min()}..{rows.max()} in an array of {len(self)} rows")
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._starts[1:], rows, side="right")
        for number, part in enumerate(self._parts):
            here = np.flatnonzero(part_of == number)
            if here.size:
                taken[here] = part[rows[here] - self._starts[number]]
        return taken
