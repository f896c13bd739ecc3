"""Weights of 1024 elements or more are stored as int8, activations are quantised while running: no calibration.

The threshold is the TFLite converter's own: smaller weights stay float32, where int8 would save next to nothing. The
record of such a file names the operators that they belong to.
"""

WEIGHT_BITS = 8
ACTIVATION_BITS = 32
ARITHMETIC = "dynamic"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("wi8_afp32", "dynamic_wi8_afp32")
FORMATS = ("tflite",)
DTYPES = ("float32",)
RUNTIMES = ("litert",)
