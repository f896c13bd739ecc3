"""Weights are stored as 16-bit floats, arithmetic stays float32: half the size, almost the same outputs."""

WEIGHT_BITS = 16
ACTIVATION_BITS = 32
ARITHMETIC = "float"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("wfp16_afp32",)
FORMATS = ("tflite",)
DTYPES = ("float32",)
RUNTIMES = ("litert",)
