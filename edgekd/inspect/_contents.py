"""What a file stores, for those who compare two."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Content = np.ndarray[Any, Any] | None
"""A constant's elements in its shape, or as a flat array where they do not fill it; None for a computed tensor."""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an inspection leaves out.

    Attributes:
      tensors: what is stored for each of the inspection's tensors.
      metadata: what no operator reads, by name: named entries, descriptions, who wrote the file.
    """

    tensors: tuple[Content, ...]
    metadata: Mapping[str, bytes]
