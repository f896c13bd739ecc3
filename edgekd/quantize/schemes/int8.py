"""Weights (per channel) and activations (per tensor) are calibrated int8: integer arithmetic only."""

WEIGHT_BITS = 8
ACTIVATION_BITS = 8
NEEDS_CALIBRATION = True
ALIASES = ("wi8_ai8",)
FORMATS = ("tflite", "onnx")
