"""What edgekd says about the machine it runs on."""

import importlib.metadata
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from packaging.specifiers import SpecifierSet

from edgekd import environment


@pytest.fixture(scope="module")
def described():
    return environment.describe()


def test_the_versions_are_those_that_are_installed(described):
    assert described.packages["numpy"] == np.__version__
    assert described.edgekd == importlib.metadata.version("edgekd")
    assert described.python == platform.python_version()
    for package, version in described.packages.items():
        assert importlib.metadata.version(package) == version


def test_every_package_that_edgekd_needs_is_looked_for_and_found_here(described):
    assert tuple(described.packages) == environment.PACKAGES
    assert {"tensorflow", "keras", "onnxruntime", "ai-edge-litert"} <= set(environment.PACKAGES)


def test_a_package_that_is_not_installed_has_no_version():
    assert environment.installed_version("no-such-distribution-at-all") is None


def test_the_machine_is_described(described):
    assert described.machine == platform.machine()
    assert described.cpu
    assert described.logical_cores == os.cpu_count()
    # The kernel's own figure, in units of 1024 bytes.
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert described.memory_bytes == int(total.split()[1]) * 1024


def test_a_description_survives_being_written_and_read(described, tmp_path):
    described.write(tmp_path / "environment.json")
    assert environment.Environment.read(tmp_path / "environment.json") == described


def test_vector_instructions_are_those_that_the_kernel_lists():
    features = environment.cpu_features()
    listed = Path("/proc/cpuinfo").read_text().lower()
    assert all(f" {feature}" in listed for feature in features)
    assert ("avx2" in features) == (" avx2" in listed)
    assert len(set(features)) == len(features)


def test_noise_is_measured_as_often_as_asked():
    noise = environment.noise(repetitions=5)
    assert noise["repetitions"] == 5
    assert noise["median_ms"] > 0
    assert noise["scatter"] >= 0
    assert noise["load_1min"] >= 0


def test_scatter_is_the_scaled_median_deviation_over_the_median():
    ticks = iter(np.cumsum([0, 1] * 10) * 1e-3)  # ten repetitions of 1 ms
    even = environment.noise(repetitions=10, clock=ticks.__next__)
    assert even["median_ms"] == pytest.approx(1.0)
    assert even["scatter"] == pytest.approx(0.0, abs=1e-9)
    ticks = iter(np.cumsum([0, 1, 0, 3] * 5) * 1e-3)  # 1 ms and 3 ms in turn: the median is 2, every deviation 1
    uneven = environment.noise(repetitions=10, clock=ticks.__next__)
    assert uneven["median_ms"] == pytest.approx(2.0)
    assert uneven["scatter"] == pytest.approx(1.4826 * 1.0 / 2.0)


def test_every_package_that_is_installed_takes_the_oldest_python_that_edgekd_takes():
    """Pip looks for minutes for a version that is pinned and asks for a newer Python than the machine has."""
    oldest = SpecifierSet(importlib.metadata.metadata("edgekd")["Requires-Python"])
    assert oldest == SpecifierSet(">=3.11")
    asked = {each.name: each.metadata["Requires-Python"] for each in importlib.metadata.distributions()}
    assert len(asked) > 100
    assert not {name: wanted for name, wanted in asked.items() if wanted and "3.11.0" not in SpecifierSet(wanted)}
