"""What TensorFlow Lite for Microcontrollers (TFLM) makes of a TFLite file: its operators, and the arena it needs."""

from edgekd.microcontroller.arena import arena_bytes, is_installed, require_installed, require_runs
from edgekd.microcontroller.operators import lacking, methods

__all__ = ["arena_bytes", "is_installed", "lacking", "methods", "require_installed", "require_runs"]
