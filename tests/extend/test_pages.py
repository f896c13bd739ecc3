"""The files that docs/extend/ shows work: they are dropped into a copy of edgekd, tested there and used."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "extend").glob("add-a-*.md"))
NEW = "jensen_shannon or strided_cnn or background"


def files(page: Path) -> dict[str, str]:
    """Returns the files that a page shows, by the paths that stand before them."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the files of all pages."""
    root = tmp_path_factory.mktemp("repository")
    heavy = shutil.ignore_patterns("__pycache__", "*.npz", "zoo")
    shutil.copytree(ROOT / "edgekd", root / "edgekd", ignore=heavy)
    shutil.copytree(ROOT / "tests" / "conformance", root / "tests" / "conformance", ignore=heavy)
    for name in ("setup.cfg", "pyproject.toml", "tests/conftest.py", "tests/kept_children.py"):
        shutil.copy(ROOT / name, root / name)
    shutil.copy(ROOT / "tests" / "extend" / "used.py", root / "tests" / "test_added.py")
    for page in PAGES:
        shown = files(page)
        assert shown, page.name
        for path, text in shown.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            assert not (root / path).exists(), f"{page.name}: {path} is there already"
            (root / path).write_text(text, encoding="utf-8")
    return root


def run(copy: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy), "EDGEKD_TEST_PAGES": str(PAGES[0].parent)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_in_the_style_of_the_others(copy: Path) -> None:
    shown = [str(copy / path) for page in PAGES for path in files(page)]
    assert len(shown) > 5
    run(copy, "ruff", "check", "--no-cache", *shown)


@pytest.mark.slow
def test_they_pass_their_tests_and_the_suites_and_are_used(copy: Path) -> None:
    suites = [f"tests/conformance/test_{kind}.py" for kind in ("losses", "architectures", "targets")]
    own = [path for page in PAGES for path in files(page) if path.startswith("tests/")]
    told = run(
        copy,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *suites,
        *own,
        "tests/test_added.py",
        "-k",
        f"{NEW} or test_added",
    )
    (passed,) = re.findall(r"^(\d+) passed", told, flags=re.MULTILINE)
    assert int(passed) > 30
    assert "skipped" not in told
