"""What a file stores for a tensor."""

from typing import Any

import numpy as np

Content = np.ndarray[Any, Any] | None
"""A constant's elements in its shape, or as a flat array where they do not fill it; None for a tensor that is computed,
or that is kept in another file."""
