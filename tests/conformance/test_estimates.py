"""Every estimate: what the command line, the recipe and the report count on."""

import inspect

import pytest

from edgekd import bench, registry
from edgekd.records import Figures

ESTIMATES = registry.discover(bench.ESTIMATES)


def test_there_are_estimates_to_check():
    assert {"cortex_m", "ethos_u", "tflite_micro"} <= set(ESTIMATES)


@pytest.mark.parametrize("name", ESTIMATES)
def test_an_estimate_says_what_it_is_and_what_it_takes(name):
    plugin = registry.describe(bench.ESTIMATES, name, entry="estimate")
    assert 10 < len(plugin.summary) <= 120
    assert plugin.constants["SUFFIXES"]
    assert registry.REQUIRED not in plugin.parameters.values()
    assert not {"num_threads", "processes", "address", "on_progress"} & set(plugin.parameters)


@pytest.mark.parametrize("name", ESTIMATES)
def test_an_estimate_is_never_called_a_measurement(name):
    function = registry.load(bench.ESTIMATES, name).estimate
    assert inspect.signature(function).return_annotation in (Figures, "Figures")
    assert "measure" not in registry.describe(bench.ESTIMATES, name, entry="estimate").summary.lower()
    assert "measure" not in inspect.getdoc(function).lower()
