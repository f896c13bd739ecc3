"""The example repository's models, and records of them."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from edgekd.golden.checking import check_conversion
from edgekd.golden.records import Golden

EXAMPLE = Path(__file__).parents[1] / "pytest_plugin" / "example"


@pytest.fixture(scope="session")
def make() -> dict[str, Any]:
    """The functions of the example's make_models.py."""
    return runpy.run_path(str(EXAMPLE / "models" / "make_models.py"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, make: dict[str, Any]) -> Path:
    """The folder with the example's models, made anew."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("models", "tests/data"):
        (folder / name).mkdir(parents=True)
    make["main"](folder)
    return folder / "models"


@pytest.fixture(scope="session")
def float_path(models: Path) -> Path:
    """The golden record of the float file, on eight seeded samples."""
    path = models / "float.json"
    assert not check_conversion(models / "classifier-float32.tflite", path, seeded=8)
    return path


@pytest.fixture(scope="session")
def float_golden(float_path: Path) -> Golden:
    return Golden.read(float_path)


@pytest.fixture(scope="session")
def int8_golden(models: Path) -> Golden:
    path = models / "int8.json"
    assert not check_conversion(models / "classifier-int8.tflite", path, seeded=8)
    return Golden.read(path)
