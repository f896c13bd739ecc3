"""Network families: one file each, with `build(input_shape, num_classes, *, ...) -> keras.Model` and `TAPS`.

A family's module states what can be known without importing it:

  TAPS: layer names of the default taps, from input to output, as they exist with default arguments.
  INPUT_SHAPE, NUM_CLASSES: what its reference was published for.
  OUTPUT: only where the last layer does not give one logit per class, such as `reconstruction`.

Every layer has a fixed name, so a file written of a network depends on nothing but the network.
"""

from edgekd.architectures._create import check, create, default_taps
from edgekd.architectures._saved import brings_ranges, check_model_file, load_model, save_model, weights_sha256

__all__ = [
    "brings_ranges",
    "check",
    "check_model_file",
    "create",
    "default_taps",
    "load_model",
    "save_model",
    "weights_sha256",
]
