"""Model files that others made: wake words that keep state between inferences, and a classifier of file contents.

They are in the wheels pymicro-wakeword and magika, installed with the tests for the sake of these files; neither is
imported.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage

import edgekd
from edgekd import bench, runtime
from edgekd.diff import diff_models
from edgekd.inspect import inspect_model
from tests.bench.shortest import SHORTEST

WAKE_WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")


def installed(package):
    found = importlib.util.find_spec(package)
    assert found is not None, f"{package} is missing: make setup, or pip install '.[test]'"
    (folder,) = found.submodule_search_locations
    return Path(folder) / "models"


@pytest.fixture(scope="module")
def wake_words():
    return {name: installed("pymicro_wakeword") / f"{name}.tflite" for name in WAKE_WORDS}


@pytest.fixture(scope="module")
def magika():
    (path,) = installed("magika").glob("*/model.onnx")
    return path


@pytest.mark.parametrize("name", WAKE_WORDS)
def test_a_streaming_model_is_inspected_whole(name, wake_words):
    with_arena = name == "alexa"  # one of them, since looking for it takes a second
    found = inspect_model(wake_words[name], delegates=True, arena=with_arena)
    assert [graph.name for graph in found.subgraphs] == ["main", "NoOp"]
    assert len(found.variables) == 6
    assert all(each.dtype == "int8" and each.size_bytes == np.prod(each.shape) for each in found.variables)
    assert found.macs == sum(node.macs for node in found.nodes) > 10_000
    assert found.memory.peak_bytes > sum(each.size_bytes for each in found.variables)
    assert found.microcontroller.lacking == ()
    if with_arena:
        assert 8 * 1024 < found.microcontroller.arena_bytes < 64 * 1024
    main = [node.operator for node in found.nodes if node.subgraph == 0]
    taken = {main[position] for position in found.delegation.operators}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"} <= taken
    assert "CALL_ONCE" not in taken


def test_a_streaming_model_remembers(wake_words):
    heard = {}
    for first in (-128, 127):
        with runtime.open_runner(wake_words["hey_mycroft"], check=False) as runner:
            (spec,) = runner.inputs
            rng = np.random.default_rng(0)
            steps = [np.full(spec.shape, first, spec.dtype)] * 10
            steps += [rng.integers(-20, 60, spec.shape).astype(spec.dtype) for _ in range(20)]
            heard[first] = np.concatenate([runner.run([step])[0].ravel() for step in steps])[10:].astype(int)
    assert len(set(heard[127])) > 2
    assert (heard[127] != heard[-128]).any(), "what came before should matter"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Smooth noise in the range of the features, to which all wake words react: 200 steps of 3 frames of 40."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((600, 40)), (12, 3))
    path = tmp_path_factory.mktemp("sounds") / "sounds.npz"
    np.savez(path, input_audio=np.clip(noise / noise.std() * 8 + 12, 0, 26).reshape(200, 3, 40).astype(np.float32))
    return path


@pytest.mark.parametrize(
    ("name", "limits"), [(name, {}) for name in WAKE_WORDS[:3]] + [("okay_nabu", {"max_lsb": 2.0})]
)
def test_a_streaming_model_is_the_same_in_every_runtime(name, limits, wake_words, sounds):
    options = {"data": sounds, "reset_every": 200, "runtimes": ["all"], "matrix": True}
    found = edgekd.verify_models(wake_words[name], [], **options, **limits)
    assert [model.runtime for model in found.models] == ["litert", "litert_builtin", "tflite_micro"]
    assert all(model.stateful for model in found.models)
    assert found, [verdict.reason for verdict in found.verdicts]
    # Its last step is a sigmoid, of which one step before is several after: up to ten were seen.
    assert max(each.outputs[0].max_lsb for each in found.comparisons) > 1
    assert {verdict.tolerance.activation for verdict in found.verdicts} == {"logistic"}


def test_two_streaming_models_are_compared_by_structure(wake_words):
    assert diff_models(wake_words["alexa"], wake_words["alexa"]).identical
    found = diff_models(wake_words["alexa"], wake_words["hey_jarvis"])
    assert set(found.kinds) >= {"state", "quantisation", "weights"}
    assert found.matched > 40


def test_a_model_of_dynamic_shapes_is_inspected_and_run(magika):
    found = inspect_model(magika)
    assert found.inputs[0].shape == (None, 2048)
    assert found.macs > 300_000_000
    assert found.macs_note is None
    assert found.memory is not None
    samples = np.random.default_rng(0).integers(0, 257, (3, 2048)).astype(np.int32)
    with runtime.open_runner(magika) as runner:
        (together,) = runner.run([samples])
        alone = [runner.run([sample[None]])[0] for sample in samples]
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-5)


def test_a_model_of_dynamic_shapes_is_the_same_without_optimisations(magika):
    options = {"seeded": 16, "ranges": {"bytes": (0, 256)}, "runtimes": ["all"], "matrix": True}
    found = edgekd.verify_models(magika, [], **options)
    assert [model.runtime for model in found.models] == ["onnxruntime", "onnxruntime_unoptimised"]
    assert found, [verdict.reason for verdict in found.verdicts]
    assert found.comparisons[0].outputs[0].max_abs > 0, "two ways to compute should round differently"


def test_foreign_files_are_measured(wake_words, magika, tmp_path):
    measured = bench.measure([wake_words["alexa"], magika], raw_folder=tmp_path / "samples", **SHORTEST)
    assert [each.latency_ms.p50 > 0 for each in measured] == [True, True]
