"""Edgekd's own quantisation-aware training against that of tensorflow-model-optimization, on small data."""

import importlib.util
import sys
from pathlib import Path

import pytest

from edgekd import data


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "compare_quantisation_oracle.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def compared(tool, architecture, arguments, *, float_epochs, epochs):
    dataset = data.load("synthetic", arguments={"samples": 600, "classes": 3, "shape": (12, 12, 1)})
    return tool.compare(
        dataset,
        architecture=architecture,
        arguments=arguments,
        float_epochs=float_epochs,
        epochs=epochs,
        learning_rate=0.01,
        seed=0,
    )


@pytest.mark.slow
def test_both_ways_give_the_same_accuracy(tool):
    pair = compared(tool, "light_cnn", {}, float_epochs=10, epochs=2)
    assert abs(pair.difference) <= 0.003
    assert pair.oracle.accuracy > 0.95
    assert f"| {pair.seed} | {pair.float_accuracy:.2%} |" in tool.page([pair], "command")


@pytest.mark.slow
def test_both_ways_give_the_same_operators_in_the_same_order(tool):
    pair = compared(tool, "ds_cnn", {"filters": 4, "blocks": 1, "kernel": (3, 3)}, float_epochs=1, epochs=1)
    assert pair.native.operators == pair.oracle.operators
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"} <= set(pair.native.operators)
