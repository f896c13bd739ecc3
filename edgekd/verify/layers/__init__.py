"""Two models operator by operator: intermediate tensors matched by the graphs' structure, and their errors.

Each model becomes a graph of canonical operators (`edgekd.runtime.layers`), operators become blocks that every format
cuts alike (`blocks`), blocks are aligned (`alignment`), their tensors paired (`pairs`), run alone on the reference's
values (`local`) and judged by tolerances that follow from how numbers are stored (`tolerances`).
"""

from edgekd.verify.layers.comparison import compare_layers
from edgekd.verify.layers.files import compare_files
from edgekd.verify.layers.records import (
    LayerComparison,
    LayeredVerification,
    LayerError,
    LayerRow,
    LayersNotCompared,
)

__all__ = [
    "LayerComparison",
    "LayerError",
    "LayerRow",
    "LayeredVerification",
    "LayersNotCompared",
    "compare_files",
    "compare_layers",
]
