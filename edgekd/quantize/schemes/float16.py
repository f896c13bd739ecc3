"""Weights are stored as 16-bit floats, arithmetic stays float32: half the size, almost the same outputs."""

WEIGHT_BITS = 16
ACTIVATION_BITS = 32
NEEDS_CALIBRATION = False
ALIASES = ("wfp16_afp32",)
FORMATS = ("tflite",)
