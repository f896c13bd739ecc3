"""What this machine is and which versions are installed."""

import hashlib
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

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

NOISY = 0.05  # relative scatter above which latencies are called uncertain

_VECTOR_FEATURES = ("sse4_1", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "neon", "asimd",
                    "asimddp", "i8mm", "sve")  # fmt: skip


def installed_version(package: str) -> str | None:
    """Returns a distribution's version, or None where it is not installed."""
    import importlib.metadata  # this and psutil cost every child process more than what it reads

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> Environment:
    """Returns the versions and the hardware of this machine, without importing any of the packages."""
    import psutil

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


def cpu_features() -> tuple[str, ...]:
    """Returns which vector instructions that speed up inference this CPU has, where the system tells (Linux)."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return ()
    words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").lower().split())
    return tuple(feature for feature in _VECTOR_FEATURES if feature in words)


def noise(*, repetitions: int = 200, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Measures how evenly this machine repeats a fixed piece of work of about a millisecond.

    Args:
      repetitions: how often it is timed.
      clock: returns seconds.

    Returns:
      `load_1min`, the system's load average; `median_ms`; `scatter`, the scaled median absolute deviation divided by
      the median (0.05 means that half of the repetitions lie within about 3.4 % of the median); `repetitions`.
    """
    work = bytes(1 << 20)  # hashed by one thread, so that thread pools add no noise of their own
    times = np.empty(repetitions)
    for position in range(repetitions):
        started = clock()
        hashlib.sha256(work).digest()
        times[position] = clock() - started
    median = float(np.median(times))
    scatter = 1.4826 * float(np.median(np.abs(times - median))) / median
    return {
        "load_1min": os.getloadavg()[0],
        "median_ms": 1e3 * median,
        "scatter": scatter,
        "repetitions": float(repetitions),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Model", "Hardware"}:
                return value.strip()
    return platform.processor() or platform.machine()
