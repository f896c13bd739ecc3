"""What every teacher offers, whatever it is made of, and the checks that each batch passes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from edgekd.errors import ModelError, NonFiniteError, ShapeError

Array = np.ndarray[Any, Any]

LOGITS = "logits"
OUTPUTS = ("logits", "probabilities")
RECONSTRUCTION = "reconstruction"
"""What a network gives that gives back its input; nobody chooses that for a teacher, the task does."""
LAYOUTS = ("channels_last", "channels_first")


class FrozenTeacher(Protocol):
    """A teacher that is ready to answer, in inference mode; nothing that it does changes its weights.

    Attributes:
      name: what to call it in messages.
      loader: which library runs it, such as `Keras 3.15.1` or `tf_keras 2.21.0`.
      taps: what `outputs` returns besides the logits.
      sha256: hash of everything that determines its outputs; None where that cannot be known.
      uncacheable: why there is no hash, and what to do about it; empty where there is one.
    """

    name: str
    loader: str
    taps: tuple[str, ...]
    sha256: str | None
    uncacheable: str

    def outputs(self, images: Array) -> dict[str, Any]:
        """Returns the teacher's outputs for one batch. Several threads may ask at once.

        Args:
          images: [batch, ...] float32.

        Returns:
          Tensors of float32: "logits" ([batch, classes], or as the images where networks reconstruct) and each tap by
          its name ([batch, ...], channels last).

        Raises:
          ShapeError: images of another shape than it was opened for, or outputs of another shape than promised.
          NonFiniteError: an output with NaN or infinity; the message names it and the samples' positions.
          ModelError: the engine failed.
        """


def output_shape(input_shape: Sequence[int], num_classes: int | None) -> tuple[int, ...]:
    """Returns the shape of what a network gives for one sample: logits, or without classes the sample."""
    return tuple(input_shape) if num_classes is None else (num_classes,)


def wrong_output(received: Sequence[int | None], input_shape: Sequence[int], num_classes: int | None) -> str:
    """Returns what to say of an output of another shape, after the teacher's name."""
    if num_classes is None:
        return (
            f"has outputs of shape {list(received)} for samples of shape {list(input_shape)}: where the task is "
            "reconstruction, teacher and student must give back what they get."
        )
    return (
        f"has outputs of shape {list(received)}, but the data has {num_classes} classes: teacher, student and data "
        "must have the same classes."
    )


@dataclasses.dataclass(frozen=True)
class Opened:
    """What a loader knows of a teacher before its outputs are checked.

    Attributes:
      name: what to call it in messages.
      loader: which library runs it.
      run: from [batch, ...] float32 images to `logits` and the taps; each value an array or tensor.
      identity: hash of what the loader read: a file, or weights and configuration; None where it cannot be known.
      uncacheable: why `identity` is None.
      runs_own_code: whether Python code of the user's takes part, whose data no hash of ours can see. Then the outputs
        for the trial batch count as a part of the teacher's identity.
      variables_sha256: hashes the weights as they are in memory now; None where there are none to be changed.
      ends_in: name of the last operation, as far as it can be seen.
      step: of quantised logits, the smallest difference that they can show.
    """

    name: str
    loader: str
    run: Callable[[Array], Mapping[str, Any]]
    identity: str | None
    uncacheable: str = ""
    runs_own_code: bool = False
    variables_sha256: Callable[[], str] | None = None
    ends_in: str | None = None
    step: float | None = None


class CheckedTeacher:
    """A `FrozenTeacher` around what a loader opened."""

    def __init__(
        self,
        opened: Opened,
        *,
        taps: Sequence[str],
        input_shape: Sequence[int],
        num_classes: int | None,
        outputs: str,
        layout: str,
    ) -> None:
        self.name = opened.name
        self.loader = opened.loader
        self.taps = tuple(taps)
        self.sha256: str | None = None
        self.uncacheable = opened.uncacheable
        self._opened = opened
        self._input_shape = tuple(input_shape)
        self._num_classes = num_classes
        self._takes_logarithm = outputs == "probabilities"
        self._channels_first = layout == "channels_first"

    def outputs(self, images: Array) -> dict[str, Any]:
        """See `FrozenTeacher.outputs`."""
        found = self.raw_outputs(images)
        if self._takes_logarithm:
            found[LOGITS] = self._logarithm(found[LOGITS])
        return found

    def raw_outputs(self, images: Array) -> dict[str, Any]:
        """Returns the outputs as the teacher gives them: probabilities are left as they are."""
        return self.checked(self.received(images), images)

    def received(self, images: Array) -> Mapping[str, Any]:
        """Returns all that the teacher gives for the images, wanted or not, as it gives it."""
        self._check_images(images)
        return self._opened.run(np.ascontiguousarray(np.moveaxis(images, -1, 1)) if self._channels_first else images)

    def checked(self, received: Mapping[str, Any], images: Array) -> dict[str, Any]:
        """Returns of what was received the logits and the taps, checked and with channels last."""
        import keras

        found = {}
        for name in dict.fromkeys((LOGITS, *self.taps)):
            if name not in received:
                raise ModelError(
                    f"teacher {self.name!r} returned no {name!r}. It returned: {', '.join(map(repr, received))}."
                )
            array = keras.ops.cast(keras.ops.convert_to_tensor(received[name]), "float32")
            is_map = len(array.shape) > 2
            found[name] = keras.ops.moveaxis(array, 1, -1) if self._channels_first and is_map else array
            self._check_shape(name, tuple(found[name].shape), len(images))
            self._check_finite(name, array)
        return found

    def _check_images(self, images: Array) -> None:
        if images.dtype != np.float32:
            raise ModelError(f"the images for teacher {self.name!r} are {images.dtype.name}, expected float32.")
        if images.shape[1:] != self._input_shape or len(images) == 0:
            raise ShapeError(
                f"teacher {self.name!r} was opened for images [batch, {', '.join(map(str, self._input_shape))}], "
                f"received {list(images.shape)}."
            )

    def _check_shape(self, name: str, shape: tuple[int, ...], batch: int) -> None:
        if name != LOGITS:
            if len(shape) < 2 or shape[0] != batch:
                raise ShapeError(
                    f"tap {name!r} of teacher {self.name!r} has shape {list(shape)} for {batch} images: "
                    "[batch, ...] with at least one more dimension is needed."
                )
        elif shape[:1] != (batch,) or shape[1:] != output_shape(self._input_shape, self._num_classes):
            if self._num_classes is None:
                raise ShapeError(f"teacher {self.name!r} {wrong_output(shape[1:], self._input_shape, None)}")
            raise ShapeError(
                f"teacher {self.name!r} returned logits of shape {list(shape)} for {batch} images, expected "
                f"[{batch}, {self._num_classes}]: teacher, student and data must have the same classes."
            )

    def _check_finite(self, name: str, array: Any) -> None:
        import keras

        if bool(keras.ops.all(keras.ops.isfinite(array))):
            return
        flat = np.isfinite(np.asarray(array)).reshape(len(array), -1)
        positions = np.flatnonzero(~flat.all(axis=1))
        raise NonFiniteError(
            f"output {name!r} of teacher {self.name!r} has NaN or infinity in {int((~flat).sum())} of {flat.size} "
            f"values, for the images at positions {', '.join(map(str, positions[:8]))}"
            f"{', …' if len(positions) > 8 else ''} of the batch: check those images, or the teacher's weights."
        )

    def _logarithm(self, probabilities: Any) -> Any:
        """Returns log p, which is logits up to a constant per sample: softmax(log p / T) = softmax(z / T).

        A probability of 0 was rounded to 0: half a quantisation step, or the smallest normal float32, stands for it.
        """
        import keras

        smallest = self._opened.step / 2 if self._opened.step else float(np.finfo(np.float32).tiny)
        return keras.ops.log(keras.ops.maximum(probabilities, smallest))
