"""Every engine: what `open_runner` counts on. How they run models is tests/runtime's."""

import pytest

from edgekd import registry, runtime
from edgekd.errors import ModelError, StorageError

PACKAGE = "edgekd.runtime"


def constants(name):
    return registry.describe(PACKAGE, name, entry=None).constants


ENGINES = [name for name in registry.discover(PACKAGE) if "SUFFIXES" in constants(name)]
SUFFIXES = [(name, suffix) for name in ENGINES for suffix in constants(name)["SUFFIXES"]]


def test_the_suite_finds_engines():
    assert {"keras", "litert", "onnxruntime"} <= set(ENGINES)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_describes_itself_without_being_imported(name):
    described = registry.describe(PACKAGE, name, entry="open_runner")
    assert described.summary.endswith(".")
    assert type(described.constants["NATIVE_PARSER"]) is bool
    assert described.parameters["num_threads"] == 1
    assert registry.REQUIRED not in described.parameters.values()


@pytest.mark.parametrize(("name", "suffix"), SUFFIXES)
def test_a_suffix_leads_to_its_engine(name, suffix, tmp_path):
    assert suffix.startswith(".")
    assert suffix == suffix.lower()
    assert runtime.engine_of(tmp_path / f"model{suffix}") == name


@pytest.mark.parametrize(("name", "suffix"), SUFFIXES)
def test_a_file_that_is_missing_empty_or_no_model_is_refused_by_name(name, suffix, tmp_path):
    path = tmp_path / f"{name}{suffix}"
    with pytest.raises(StorageError, match=path.name):
        runtime.open_runner(path)
    for content in (b"", b"only some text"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=path.name):
            runtime.open_runner(path)
