"""Prints what edgekd reckons for MLPerf Tiny's four networks, beside what was published for them.

    .venv/bin/python tools/reckon_mlperf_tiny.py

The networks are edgekd's own, untrained: weights decide neither arithmetic nor arena. They do decide how well Vela
compresses them, and with that its time, where reading weights from flash takes longer than computing. Exit status 1
where the multiplications are not the published ones. Takes some minutes and needs the extra `microcontroller`.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import cast

import numpy as np

from edgekd import bench, registry
from edgekd.export import export_model
from edgekd.quantize import aware
from edgekd.records import Bounded, Figures

_ARCHITECTURES = {
    "keyword spotting": "ds_cnn",
    "visual wake words": "mobilenet_v1",
    "image classification": "resnet",
    "anomaly detection": "autoencoder",
}

# MLPerf Tiny's reference files and published results: MACs in millions, file and arena in bytes, Vela's milliseconds
# and SRAM in KiB for Ethos-U55-128, and milliseconds on a Cortex-M4 of 120 MHz with ST's library.
_PUBLISHED = {
    "keyword spotting": (2.657, 53_936, 24_272, 0.180, 21.7, 43.4),
    "visual wake words": (7.490, 333_288, 103_680, 0.442, 72.7, 89.4),
    "image classification": (12.50, 98_496, 55_984, 0.403, 50.6, 165.7),
    "anomaly detection": (0.264, 276_976, 3_984, 0.402, 0.75, 4.79),
}


def main() -> int:
    """Exports the four networks in int8 and prints one Markdown table; returns the exit status."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    say, same = sys.stdout.write, True
    say("| network | MACs, M | file, bytes | arena, bytes | Vela U55-128, ms | Vela SRAM, KiB | Cortex-M4, ms |\n")
    say("|---|---|---|---|---|---|---|\n")
    for name, published in _PUBLISHED.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.tflite")
            _export(name, path)
            micro, npu, core = (_figures(path, target) for target in ("tflite-micro", "ethos-u", "cortex-m"))
            ours = (
                f"{(micro.macs or 0) / 1e6:.3f}",
                f"{path.stat().st_size:,}",
                f"{micro.arena_bytes or 0:,}",
                f"{_of(npu).value:.3f}",
                f"{(npu.sram_bytes or 0) / 1024:.2f}",
                f"{_of(core).value:.1f} ({_of(core).low:.1f} to {_of(core).high:.1f})",
            )
        same &= round((micro.macs or 0) / 1e6, 2) == round(published[0], 2)
        cells = [f"{mine} / {theirs:,}" for mine, theirs in zip(ours, published, strict=True)]
        say(f"| {name} | {' | '.join(cells)} |\n")
    return 0 if same else 1


def _export(name: str, path: Path) -> None:
    architecture = _ARCHITECTURES[name]
    module = registry.load("edgekd.architectures", architecture)
    model = module.build(module.INPUT_SHAPE, module.NUM_CLASSES)
    samples = np.random.default_rng(0).normal(size=(64, *module.INPUT_SHAPE)).astype(np.float32)
    # The published anomaly file has one scale for each dense kernel, as what is trained quantisation-aware has.
    trainable = architecture == "autoencoder"
    export_model(
        aware.quantize_aware(model, samples) if trainable else model,
        path,
        format="tflite",
        scheme="int8",
        name=name,
        source=architecture,
        calibration=None if trainable else samples,
        input_dtype="int8",
        output_dtype="int8",
    )


def _figures(path: Path, target: str) -> Figures:
    (found,) = bench.estimate([path], target=target)
    return cast(Figures, found.figures)


def _of(figures: Figures) -> Bounded:
    return cast(Bounded, figures.latency_ms)


if __name__ == "__main__":
    sys.exit(main())
