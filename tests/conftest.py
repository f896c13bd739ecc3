"""What all tests share."""

import contextlib
import copy
import dataclasses
import functools
import gc
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import filelock
import pytest

if TYPE_CHECKING:
    from edgekd.pipeline import RunResult

pytest_plugins = ("tests.kept_children",)

_TESTS = Path(__file__).parent
_TOOLS = _TESTS.parent / "tools"
# They take longest and begin first, so that no process works on one of them when the others have nothing left.
_LONGEST = tuple(
    _TESTS / name
    for name in (
        "conformance/test_int8_networks.py",
        "verify/test_every_kind.py",
        "bench/targets/test_ssh.py",
        "pipeline/test_workers.py",
        "test_docs.py",
        "end_to_end/test_real_data.py",
        "pipeline/test_ways.py",
        "cli/test_commands.py",
        "end_to_end/test_interruptions.py",
        "quantize/aware/test_same_as_the_file.py",
        "pipeline/test_sparsifying.py",
        "pytest_plugin/test_plugin.py",
        "conformance/test_exports.py",
        "report/test_browser.py",
        "tools/test_compare_quantisation.py",
        "cli/test_verify.py",
        "bench/test_measure.py",
        "pipeline/test_run.py",
        "tools/test_scripts.py",
        "pipeline/test_quantizing.py",
        "distill/test_distribution.py",
    )
)
# Debian's package dataset-fashion-mnist puts the four official files here.
_FASHION_MNIST = Path(os.environ.get("EDGEKD_FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))
_SSHD = "/usr/sbin/sshd"
_CHROMIUM = "/usr/bin/chromium"


@dataclasses.dataclass(frozen=True)
class _Debian:
    """What tests of one marker need from a Debian package; in CI it is required, elsewhere they are left out."""

    package: str
    present: bool
    where: str

    @property
    def required(self) -> bool:
        return os.environ.get("EDGEKD_REQUIRE_DEBIAN_PACKAGES") == "1"


_DEBIAN = {
    "fashion_mnist": _Debian("dataset-fashion-mnist", _FASHION_MNIST.is_dir(), str(_FASHION_MNIST)),
    "chromium": _Debian("chromium", Path(_CHROMIUM).is_file(), _CHROMIUM),
    "sshd": _Debian("openssh-server", Path(_SSHD).is_file() and shutil.which("ssh") is not None, _SSHD),
}


def pytest_configure() -> None:
    # TensorFlow reads it when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # The hundreds of processes that tests start would each compile the package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Not the cache of whoever runs the tests.
    os.environ["EDGEKD_CACHE_DIR"] = tempfile.mkdtemp(prefix="edgekd-test-cache-")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["EDGEKD_CACHE_DIR"], ignore_errors=True)


def pytest_report_header() -> list[str]:
    return [
        f"Debian's {each.package}: {each.where if each.present else 'absent: its tests are left out'}"
        for each in _DEBIAN.values()
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the longest files first, and leaves out the tests of what is absent, unless it is required (as in CI)."""
    places = {path: place for place, path in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    absent = [marker for marker, each in _DEBIAN.items() if not each.present and not each.required]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in absent)]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def longest_files() -> tuple[Path, ...]:
    """The files of tests that begin first."""
    return _LONGEST


def pytest_collection_finish() -> None:
    """Spares the garbage collector what lives until the end: the modules of TensorFlow, and the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def fashion_mnist_files() -> Path:
    """The folder with the four official gzipped IDX files of Fashion-MNIST."""
    assert _FASHION_MNIST.is_dir(), f"{_FASHION_MNIST} is missing: apt-get install dataset-fashion-mnist"
    return _FASHION_MNIST


@pytest.fixture(scope="session")
def sshd_program() -> str:
    """OpenSSH's server; there is a client too."""
    assert _DEBIAN["sshd"].present, f"{_SSHD} or ssh is missing: apt-get install openssh-server openssh-client"
    return _SSHD


@pytest.fixture(scope="session")
def chromium_program() -> str:
    """The browser."""
    assert _DEBIAN["chromium"].present, f"{_CHROMIUM} is missing: apt-get install chromium"
    return _CHROMIUM


MadeOnce = Callable[[str], contextlib.AbstractContextManager[tuple[Path, bool]]]


@contextlib.contextmanager
def _made_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """Yields a folder that all test processes of this session share, and whether this one is to fill it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with filelock.FileLock(f"{folder}.lock"):
        mark = folder.with_suffix(".done")
        yield folder, not mark.exists()
        mark.touch()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Returns a function that opens a folder of a name, which all test processes share and the first one fills."""
    return functools.partial(_made_once, tmp_path_factory)


@pytest.fixture(scope="session")
def prepared_fashion_mnist(tmp_path_factory: pytest.TempPathFactory, fashion_mnist_files: Path) -> Path:
    """A TFDS data folder in which fashion_mnist is prepared from the official files, as PNGs without compression."""
    import tensorflow as tf

    from edgekd.data.tfds_import import import_dataset

    with _made_once(tmp_path_factory, "tfds") as (data_dir, to_fill):
        if to_fill:
            data_dir.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                # Compressing 70,000 images takes longer than all else; what is read from them is the same.
                patch.setattr(tf.image, "encode_png", lambda image: tf.raw_ops.EncodePng(image=image, compression=0))
                import_dataset("fashion_mnist", source=fashion_mnist_files, data_dir=data_dir)
    return data_dir


TINY_RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "data": {
        "dataset": "synthetic",
        "samples": 400,
        "classes": 3,
        "shape": [16, 16, 1],
        "batch_size": 32,
        "augment": {"shift": 1},
    },
    # Few layers, since making graphs costs more than running them; the student has batch normalisation.
    "teacher": {"architecture": "lab_cnn", "filters": [8, 8], "epochs": 3, "optimizer": "adam", "learning_rate": 0.01},
    "student": {
        "architecture": "ds_cnn",
        "filters": 8,
        "blocks": 1,
        "kernel": [3, 3],
        "stem_stride": 1,
        "stem_dropout": 0.1,
        "dropout": 0.0,
        "epochs": 3,
        "learning_rate": 0.5,
    },
    "distill": {
        "losses": [
            {"loss": "soft_logits", "weight": 0.9},
            {"loss": "attention_transfer", "weight": 10.0, "taps": [["block1", "relu2"]]},
            {
                "loss": "fitnet_hint",
                "weight": {"schedule": "linear", "from": 0.0, "to": 1.0, "end_epoch": 2},
                "taps": [["stem", "relu1"]],
            },
        ],
        "cache": {"views": 2},
    },
    "export": [
        {"format": "tflite", "scheme": "float32"},
        {"format": "tflite", "scheme": "int8"},
        {"format": "onnx", "scheme": "float32"},
    ],
    "calibration": {"samples": 50},
    "verify": {"max_accuracy_drop": 1.0, "min_agreement": 0.5, "layer_samples": 4},
    "bench": {"processes": 1, "min_warmup_seconds": 0.05, "max_warmup_seconds": 0.1},
}


@pytest.fixture
def tiny_recipe() -> dict[str, Any]:
    """A recipe's document that walks the whole road in seconds; each test gets its own copy."""
    return copy.deepcopy(TINY_RECIPE)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> "RunResult":
    """A finished run of the tiny recipe; tests read it, and copy its folder before they change anything."""
    from edgekd import recipe
    from edgekd.pipeline import RunResult, run
    from edgekd.records import Summary

    with _made_once(tmp_path_factory, "finished") as (folder, to_fill):
        worked = folder / "worked.json"
        if to_fill:
            result = run(recipe.from_document(copy.deepcopy(TINY_RECIPE)), out=folder / "run")
            worked.write_text(json.dumps(result.worked))
            return result
    summary = Summary.read(folder / "run" / "summary.json")
    return RunResult(summary=summary, folder=folder / "run", worked=tuple(json.loads(worked.read_text())))


@pytest.fixture
def finished_copy(finished: "RunResult", tmp_path: Path) -> Path:
    """A copy of the finished run's folder, for tests that change it."""
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


@dataclasses.dataclass(frozen=True)
class CommandResult:
    """What a command did."""

    status: int
    out: str
    err: str


@pytest.fixture
def edgekd_command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Runs the command line in this process and returns its exit status and what it printed."""
    from edgekd.cli import main

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr("sys.argv", ["edgekd", *map(str, arguments)])
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as exit_:
                main()
        finally:
            logging.getLogger("edgekd").setLevel(logging.NOTSET)  # --debug has lowered it for this process
        out, err = capfd.readouterr()
        return CommandResult(int(exit_.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Returns a script of tools/ by its name, as a module that finds its neighbours, as when it is run."""

    @functools.cache
    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, _TOOLS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        sys.path.insert(0, str(_TOOLS))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(_TOOLS))
        return module

    return load
