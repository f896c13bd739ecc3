"""Every source of data: what a recipe, the command line and `data.load` count on."""

import subprocess
import sys

import pytest

from edgekd import data, registry
from edgekd.errors import DataError, RecipeError

SOURCES = registry.discover(data.SOURCES)


def plugin(name):
    return registry.describe(data.SOURCES, name, entry="load")


def test_the_suite_finds_sources():
    assert {"embedded", "npz"} <= set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_describes_itself_without_being_imported(name):
    described = plugin(name)
    assert described.summary.endswith((".", "..."))
    assert described.constants["LOCATION"] is None or described.constants["LOCATION"]
    assert registry.REQUIRED not in described.parameters.values()
    registry.check_types(described, described.parameters, kind="default")


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_or_superfluous_location_is_refused(name):
    dataset = f"{name}:somewhere" if plugin(name).constants["LOCATION"] is None else name
    with pytest.raises(RecipeError, match=r"takes no location|lacks its location"):
        data.load(dataset)


@pytest.mark.parametrize("name", [name for name in SOURCES if plugin(name).constants["LOCATION"] is not None])
def test_a_location_that_does_not_exist_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        data.load(f"{name}:nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SOURCES)
def test_an_unknown_option_is_refused(name):
    location = "" if plugin(name).constants["LOCATION"] is None else ":somewhere"
    with pytest.raises(RecipeError, match=f"unknown option of dataset source '{name}' 'no_such_option'"):
        data.load(f"{name}{location}", arguments={"no_such_option": 1})


@pytest.mark.parametrize("name", [name for name in SOURCES if plugin(name).constants["LOCATION"] is None])
def test_a_source_without_a_location_gives_the_same_data_every_time(name):
    first, again = (data.load(name, train_limit=100) for _ in range(2))
    assert first.fingerprint == again.fingerprint


def test_importing_the_sources_imports_no_tensorflow():
    code = (
        "import sys; from edgekd import data, registry\n"
        "for name in registry.discover(data.SOURCES): registry.load(data.SOURCES, name)\n"
        "assert not {'keras', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
