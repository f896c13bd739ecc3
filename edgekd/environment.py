"""What this machine is and which versions are installed."""

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from edgekd.records import Environment

PACKAGES = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow-model-optimization",
    "tensorflow-datasets",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
    "scipy",
)


def installed_version(package: str) -> str | None:
    """Returns a distribution's version, or None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> Environment:
    """Returns the versions and the hardware of this machine, without importing any of the packages."""
    versions = {package: installed_version(package) for package in PACKAGES}
    return Environment(
        edgekd=installed_version("edgekd") or "not installed",
        python=platform.python_version(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpu=_cpu_model(),
        logical_cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        packages={package: version for package, version in versions.items() if version is not None},
    )


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Model", "Hardware"}:
                return value.strip()
    return platform.processor() or platform.machine()
