"""What all tests share."""

import os
from pathlib import Path

import pytest

# Debian's package dataset-fashion-mnist puts the four official files here.
_FASHION_MNIST = Path(os.environ.get("EDGEKD_FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))
_REQUIRED = os.environ.get("EDGEKD_REQUIRE_FASHION_MNIST") == "1"


def pytest_configure() -> None:
    # TensorFlow reads it when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_report_header() -> str:
    where = str(_FASHION_MNIST) if _FASHION_MNIST.is_dir() else "absent: its tests are left out"
    return f"official Fashion-MNIST files: {where}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of the official files where these are absent, unless they are required (as in CI)."""
    if _FASHION_MNIST.is_dir() or _REQUIRED:
        return
    left_out = [item for item in items if item.get_closest_marker("fashion_mnist")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def fashion_mnist_files() -> Path:
    """The folder with the four official gzipped IDX files of Fashion-MNIST."""
    assert _FASHION_MNIST.is_dir(), f"{_FASHION_MNIST} is missing: apt-get install dataset-fashion-mnist"
    return _FASHION_MNIST
