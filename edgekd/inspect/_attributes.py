"""Attributes of operators as JSON's types."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_LONGEST = 64


def plain(value: Any) -> Any:
    """Returns an attribute's value as JSON holds it.

    Texts and bytes become text, numbers that JSON lacks become `nan`, `inf` or `-inf`, and what has more than 64
    elements becomes its shape and the SHA-256 of its bytes.
    """
    if isinstance(value, bytes | bytearray):
        text = bytes(value)
        return text.decode(errors="replace") if len(text) <= _LONGEST else _summary((len(text),), text)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        elements = np.asarray(value)
        if elements.size > _LONGEST:
            return _summary(elements.shape, np.ascontiguousarray(elements).tobytes())
        return [plain(each) for each in value]
    scalar = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, float):
        return scalar if math.isfinite(scalar) else str(scalar)
    return scalar if scalar is None or isinstance(scalar, bool | int | str) else plain(vars(scalar))


def _summary(shape: tuple[int, ...], content: bytes) -> dict[str, Any]:
    return {"shape": list(shape), "sha256": hashlib.sha256(content).hexdigest()}
