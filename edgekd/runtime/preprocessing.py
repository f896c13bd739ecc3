"""What a file leaves to its caller: rescaling or normalisation of its inputs, which its metadata tells."""

import json

import numpy as np
import pydantic

from edgekd import provenance
from edgekd.errors import ModelError, ShapeError
from edgekd.records import Preprocessing
from edgekd.runtime.runner import Array


def preprocessed(images: Array, record: Preprocessing) -> Array:
    """Returns what the numbers of a file's input stand for: factor · x + shift, or x where the file computes that.

    Args:
      images: [samples, ..., channels] float32, as the network takes them that the file was made from.
      record: what became of the network's preprocessing.

    Returns:
      float32 of the same shape, computed in float64.

    Raises:
      ShapeError: there is neither one factor (or shift) for each channel nor one for all.
    """
    if not record.by_the_caller:
        return images
    for values in (record.factor, record.shift):
        if len(values) not in (1, images.shape[-1]):
            raise ShapeError(
                f"the metadata of input {record.input!r} has {len(values)} numbers of preprocessing for samples of "
                f"shape {list(images.shape[1:])}: expected one, or one for each of the last axis."
            )
    return (images * np.asarray(record.factor) + np.asarray(record.shift)).astype(np.float32)


def raw_range(low: float, high: float, record: Preprocessing) -> tuple[float, float]:
    """Returns from where to where samples may go before preprocessing, for all channels, so as to be from low to high.

    Args:
      low: what the file's input can stand for at least.
      high: and at most.
      record: what became of the network's preprocessing.
    """
    if not record.by_the_caller:
        return low, high
    factor, shift = np.asarray(record.factor), np.asarray(record.shift)
    first, second = (low - shift) / factor, (high - shift) / factor
    return float(np.max(np.minimum(first, second))), float(np.min(np.maximum(first, second)))


def from_metadata(text: str | bytes | None, *, name: str) -> tuple[Preprocessing, ...]:
    """Returns what the document under `edgekd.provenance.KEY` in a file's metadata tells of preprocessing.

    Args:
      text: the document; None where the file has none.
      name: the file's name, for the message.

    Raises:
      ModelError: it is damaged.
    """
    if text is None:
        return ()
    try:
        return tuple(Preprocessing.model_validate(each) for each in json.loads(text).get("preprocessing", ()))
    except (ValueError, TypeError, AttributeError, RecursionError, pydantic.ValidationError) as error:
        raise ModelError(f"{name!r} has damaged {provenance.KEY!r} metadata: export it again.") from error
