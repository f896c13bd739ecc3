"""What of a network each target cannot carry, found by trying, and what to write instead.

Nothing here needs a trained network: weights and calibration decide what a file computes, not whether it can be made.
Importing this package imports no TensorFlow.
"""

from edgekd.portability.aware import layers_left_out
from edgekd.portability.checking import check_file, check_model, default_targets
from edgekd.portability.owners import Owners
from edgekd.portability.targets import TARGETS, parse
from edgekd.portability.wanted import Wanted, merged, problems, refuse

__all__ = [
    "TARGETS",
    "Owners",
    "Wanted",
    "check_file",
    "check_model",
    "default_targets",
    "layers_left_out",
    "merged",
    "parse",
    "problems",
    "refuse",
]
