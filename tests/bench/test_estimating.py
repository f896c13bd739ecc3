import shutil

import pytest

from edgekd import bench
from edgekd.bench import availability, estimating
from edgekd.errors import ModelError, RecipeError, StorageError, TargetError
from edgekd.records import Estimate


def test_a_record_names_file_and_target_and_is_no_measurement(int8_tflite):
    (found,) = bench.estimate([int8_tflite], target="cortex-m", core="cortex-m7")
    assert (found.artifact, found.target, found.refusal) == ("int8.tflite", "cortex-m", None)
    assert found.size_bytes == int8_tflite.stat().st_size
    assert found.figures.configuration["core"] == "cortex-m7"
    assert Estimate.model_validate_json(found.model_dump_json()) == found


def test_dashes_and_underscores_name_the_same_target(int8_tflite):
    one, other = (bench.estimate([int8_tflite], target=name)[0] for name in ("cortex-m", "cortex_m"))
    assert one.figures == other.figures
    assert bench.is_estimate("tflite-micro")
    assert not bench.is_estimate("local")


def test_a_refused_file_gives_a_record_only_where_that_is_asked_for(dense_tflite, int8_tflite):
    with pytest.raises(ModelError, match="Export the scheme int8"):
        bench.estimate([dense_tflite, int8_tflite], target="cortex-m")
    refused, found = bench.estimate([dense_tflite, int8_tflite], target="cortex-m", keep_refused=True)
    assert refused.figures is None
    assert "Export the scheme int8" in refused.refusal
    assert found.figures is not None


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ("cortex-n", {}, "unknown target 'cortex-n'. Did you mean 'cortex-m'"),
        ("local", {}, r"target 'local' is measured on \(edgekd.bench.measure\), not reckoned for"),
        ("cortex-m", {"cores": 3}, "unknown setting of target 'cortex-m' 'cores'. Did you mean 'core'"),
        ("cortex-m", {"clock_mhz": "fast"}, "clock_mhz must be a finite number or null, got 'fast'"),
    ],
)
def test_what_is_no_estimate_or_setting_is_refused(int8_tflite, target, settings, words):
    with pytest.raises(RecipeError, match=words):
        bench.estimate([int8_tflite], target=target, **settings)


def test_files_are_checked_first(tmp_path, dense_onnx, int8_tflite):
    with pytest.raises(RecipeError, match="received no model"):
        bench.estimate([], target="cortex-m")
    with pytest.raises(RecipeError, match="given more than once"):
        bench.estimate([int8_tflite, int8_tflite], target="cortex-m")
    with pytest.raises(StorageError, match="does not exist"):
        bench.estimate([tmp_path / "gone.tflite"], target="cortex-m")
    with pytest.raises(ModelError, match=r"dense\.onnx' cannot be reckoned for 'cortex-m': expected .*\.tflite"):
        bench.estimate([dense_onnx], target="cortex-m")


def test_an_estimate_cannot_be_measured_on(tmp_path, int8_tflite):
    with pytest.raises(RecipeError, match="'ethos-u' is reckoned for and cannot be measured on"):
        bench.measure([int8_tflite], raw_folder=tmp_path, target="ethos-u")


def test_what_is_missing_is_named_with_what_installs_it(monkeypatch, int8_tflite, tmp_path):
    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    with pytest.raises(TargetError, match=r"'tflite-micro' needs the module tflite_micro \(pip install 'edgekd\[micro"):
        bench.estimate([int8_tflite], target="tflite-micro")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(TargetError, match=r"'ssh' needs the program ssh \(OpenSSH's client, Debian: openssh-client\)"):
        bench.measure([int8_tflite], raw_folder=tmp_path, target="ssh://pi@board")


def test_targets_and_estimates_have_different_names():
    from edgekd import registry

    both = set(registry.discover(bench.TARGETS)) & set(registry.discover(estimating.ESTIMATES))
    assert both == set()
