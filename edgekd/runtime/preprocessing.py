"""What a file leaves to its caller: rescaling or normalisation of its inputs, which its metadata tells."""

import json

import numpy as np
import pydantic

from edgekd import provenance
from edgekd.errors import ModelError
from edgekd.records import Preprocessing
from edgekd.runtime.runner import Array


def preprocessed(images: Array, record: Preprocessing) -> Array:
    """Returns what the numbers of a file's input stand for: factor · x + shift, or x where the file computes that.

    Args:
      images: [samples, ..., channels] float32, as the network takes them that the file was made from.
      record: what became of the network's preprocessing.

    Returns:
      float32 of the same shape, computed in float64.
    """
    if not record.by_the_caller:
        return images
    return (images * np.asarray(record.factor) + np.asarray(record.shift)).astype(np.float32)


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
    except (ValueError, TypeError, AttributeError, pydantic.ValidationError) as error:
        raise ModelError(f"{name!r} has damaged {provenance.KEY!r} metadata: export it again.") from error
