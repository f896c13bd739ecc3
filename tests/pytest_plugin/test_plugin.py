"""The plugin as a user's repository has it: the example is copied and run by a pytest of its own."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest_plugins = ("pytester",)
pytestmark = pytest.mark.usefixtures("kept_children")

EXAMPLE = Path(__file__).parent / "example"
ROOT = Path(__file__).parents[2]
OPTIONS = ("-p", "edgekd.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:xdist")
MORE_TESTS = """
    import pytest

    FLOAT = "models/classifier-float32.tflite"
    BENCH = {"blocks": 1, "min_runs": 5, "min_block_ms": 1.0, "min_warmup_seconds": 0.0, "max_warmup_seconds": 0.1}

    def test_too_slow(conversion):
        bench = {**BENCH, "processes": 3}
        conversion.check(FLOAT, baseline="models/classifier.onnx", max_latency_ratio=1e-6, bench_settings=bench)

    def test_not_known(conversion):
        bench = {**BENCH, "processes": 1}
        conversion.check(FLOAT, baseline="models/classifier.onnx", max_latency_ratio=1e6, bench_settings=bench)

    def test_misspelt(conversion):
        conversion.check(FLOAT, max_size_byte=3000)

    @pytest.mark.parametrize("model", ["models/absent.tflite"])
    def test_no_such_file(conversion, model):
        conversion.check(model)
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded_once() -> None:
    """Pytester forgets modules that a run imported, and some cannot be imported twice into one process."""
    import onnx  # noqa: F401
    from ai_edge_litert import schema_py_generated  # noqa: F401

    import edgekd.golden.checking  # noqa: F401


@pytest.fixture
def example(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    # OPTIONS name the one that is wanted; of all others pytest would rewrite the modules, in each run again.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True)
    pytester.makeini("[pytest]\naddopts = --strict-config --strict-markers\nfilterwarnings = error\ntestpaths = tests")
    return pytester.path


@pytest.fixture(scope="module")
def make() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE / "models" / "make_models.py"))


def records(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text(encoding="utf-8") for each in (folder / "tests" / "test_models").iterdir()}


def test_the_committed_files_are_those_that_the_script_makes(example: Path, make: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in (example / "models").iterdir()}
    make["main"](example)
    assert {path: path.read_bytes() for path in before} == before
    assert sum(path.suffix in {".tflite", ".onnx"} for path in before) == 3


def test_an_unchanged_repository_passes_with_its_committed_records(pytester: pytest.Pytester, example: Path) -> None:
    before = records(example)
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(passed=3)
    assert records(example) == before


def test_changes_fail_with_their_place_and_are_regenerated(
    pytester: pytest.Pytester, example: Path, make: dict[str, Any]
) -> None:
    kernels = make["kernels"]()
    kernels[1][2, 5] += 4.0
    make["write_tflite"](example / "models" / "classifier-float32.tflite", kernels)
    (example / "tests" / "test_models" / "test_the_int8_file-classifier-int8.tflite.json").unlink()
    (example / "tests" / "test_dtype.py").write_text(
        'def test_it(conversion):\n    conversion.check("models/classifier-int8.tflite", name="classifier")\n'
    )
    (example / "tests" / "test_dtype").mkdir()
    record = json.loads(records(example)["test_the_float_file-classifier-float32.tflite.json"])
    (example / "tests" / "test_dtype" / "test_it-classifier.json").write_text(json.dumps(record))

    x = np.random.default_rng([0, 0]).uniform(0, 1, (16, make["FEATURES"])).astype(np.float32)
    moved = np.abs(make["activations"](kernels, x)[-1] - make["activations"](make["kernels"](), x)[-1])
    place = [int(each) for each in np.unravel_index(moved.argmax(), moved.shape)]

    result = pytester.runpytest_inprocess(*OPTIONS, "--deselect", "tests/test_models.py::test_the_onnx_file")
    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    assert "dtype of input 0 (window) float32 -> int8" in text
    assert f"{np.count_nonzero(moved)} of 48 values are off, by up to {moved.max():.4g}, most at {place}" in text
    assert "weights kernel2 of FULLY_CONNECTED: other numbers" in text
    assert "test_the_int8_file-classifier-int8.tflite.json did not exist and was written" in text
    assert "Traceback" not in text
    written = records(example)
    assert len(written) == 3

    chosen = ("tests/test_dtype.py",)
    again = pytester.runpytest_inprocess(*OPTIONS, "--edgekd-regen", *chosen)
    again.assert_outcomes(failed=1)
    assert "test_it-classifier.json was regenerated" in again.stdout.str()
    assert "dtype of input 0 (window) float32 -> int8" in again.stdout.str()
    pytester.runpytest_inprocess(*OPTIONS, *chosen).assert_outcomes(passed=1)


def test_slow_unknown_and_absent_files_never_pass(pytester: pytest.Pytester, example: Path) -> None:
    pytester.makepyfile(**{"tests/test_more": MORE_TESTS})
    kept = json.loads(records(example)["test_the_float_file-classifier-float32.tflite.json"])
    kept["metrics"] = {}  # no reference here
    folder = example / "tests" / "test_more"
    folder.mkdir()
    for name in ("test_too_slow", "test_not_known"):
        (folder / f"{name}-classifier-float32.tflite.json").write_text(json.dumps(kept))
    result = pytester.runpytest_inprocess(*OPTIONS, "--edgekd-inconclusive", "skip", "-rs", "tests/test_more.py")
    result.assert_outcomes(failed=3, skipped=1)
    text = result.stdout.str()
    assert "at most 1e-06 is allowed" in text
    assert "inconclusive, which is no pass" in text
    assert "1 processes are too few for an interval" in text
    assert "edgekd: model 'models/absent.tflite' does not exist" in text
    assert "edgekd: unknown option 'max_size_byte'. Did you mean 'max_size_bytes'?" in text
    assert "Traceback" not in text
    assert "During handling" not in text
    pytester.runpytest_inprocess(*OPTIONS, "tests/test_more.py::test_not_known").assert_outcomes(failed=1)


def test_processes_write_records_side_by_side_and_the_entry_point_loads_once(
    pytester: pytest.Pytester, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(example / "tests" / "test_models")
    # As pip would note it; named by -p too.
    installed = pytester.mkdir("site") / "example_edgekd-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: example-edgekd\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nedgekd.pytest_plugin = edgekd.pytest_plugin\n")
    monkeypatch.setenv("PYTHONPATH", f"{installed.parent}:{ROOT}")
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    result = pytester.runpytest_subprocess(*OPTIONS[:4], "-n", "2")
    result.assert_outcomes(failed=3)
    assert "warning" not in result.stdout.str().lower()
    assert sorted(records(example)) == sorted(records(EXAMPLE))
    assert {name: json.loads(text)["values"] for name, text in records(example).items()} == {
        name: json.loads(text)["values"] for name, text in records(EXAMPLE).items()
    }
    assert not list(example.rglob(".partial-*"))


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import edgekd.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["edgekd", "edgekd.pytest_plugin"]


def test_the_guide_shows_the_example() -> None:
    guide = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert len(shown) == 1
    assert shown[0] in (EXAMPLE / "tests" / "test_models.py").read_text(encoding="utf-8")
