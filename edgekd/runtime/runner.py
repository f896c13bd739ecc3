"""The one interface that every engine offers, and the checks that they share."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from edgekd.errors import ModelError, ShapeError
from edgekd.records import Preprocessing, TensorSpec

Array = np.ndarray[Any, Any]


class Runner(Protocol):
    """A model that is ready to run. Use it as a context manager, or close it.

    Attributes:
      name: the file's name, for messages.
      inputs: what `run` takes, in order.
      outputs: what `run` returns, in order.
      preprocessing: what `predict` does to samples before it runs them, for each input that needs it.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: tuple[Preprocessing, ...]

    @property
    def stateful(self) -> bool:
        """Whether a run changes what the next one returns."""

    def reset(self) -> None:
        """Puts the state back to what it was when the model was opened; does nothing where there is none."""

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        """Returns the outputs for one batch, in the model's own dtypes.

        Args:
          arrays: one array per input, of exactly that input's dtype and shape (None matches any positive size).

        Raises:
          ShapeError: a wrong number of arrays, or a wrong shape.
          ModelError: a wrong dtype, or the engine failed.
        """

    def close(self) -> None:
        """Frees the engine's memory; the runner cannot run afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ClosingRunner:
    """What engines inherit: the context manager, and having no state."""

    @property
    def stateful(self) -> bool:
        return False

    def reset(self) -> None:
        return None

    preprocessing: tuple[Preprocessing, ...] = ()

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_arrays(name: str, inputs: Sequence[TensorSpec], arrays: Sequence[Array]) -> None:
    """Raises unless the arrays are what the inputs ask for; see `Runner.run`."""
    if len(arrays) != len(inputs):
        raise ShapeError(f"{name!r} takes {len(inputs)} input(s), received {len(arrays)} array(s).")
    for spec, array in zip(inputs, arrays, strict=True):
        if not shape_matches(spec.shape, array.shape):
            raise ShapeError(
                f"input {spec.name!r} of {name!r} has shape {list(spec.shape)}, received {list(array.shape)}: "
                "reshape the data, or use a model exported for that shape."
            )
        if array.dtype.name != spec.dtype:
            raise ModelError(
                f"input {spec.name!r} of {name!r} has dtype {spec.dtype}, received {array.dtype.name}: convert it "
                "first (edgekd.runtime.predict quantises float images for integer inputs)."
            )


def shape_matches(shape: Sequence[int | None], received: Sequence[int]) -> bool:
    """Returns whether a concrete shape fits one whose None dimensions may have any positive size."""
    return len(shape) == len(received) and all(
        size > 0 and expected in (None, size) for expected, size in zip(shape, received, strict=True)
    )
