"""Every target: what the command line and the report count on."""

import dataclasses

import pytest

from edgekd import bench, registry
from edgekd.bench.plan import Plan

TARGETS = registry.discover(bench.TARGETS)
SETTINGS = {"on_progress": None}


def test_there_are_targets_to_check():
    assert "local" in TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_in_one_line_what_it_is(name):
    summary = registry.describe(bench.TARGETS, name, entry="measure").summary
    assert 10 < len(summary) <= 120


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_the_settings_that_every_target_takes(name):
    parameters = registry.describe(bench.TARGETS, name, entry="measure").parameters
    assert {key: parameters.get(key, "missing") for key in SETTINGS} == SETTINGS
    assert {field.name for field in dataclasses.fields(Plan)} <= set(parameters)
    assert registry.REQUIRED not in parameters.values()
