"""Runs a TFLite file in TFLM once, in a process of its own: `python -m edgekd.microcontroller.trial_probe FILE`."""

import sys
from pathlib import Path

from edgekd import child_process
from edgekd.microcontroller import arena_probe

if __name__ == "__main__":
    child_process.answer(arena_probe.sufficient, Path(sys.argv[1]))
