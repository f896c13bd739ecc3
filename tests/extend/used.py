"""What the pages of docs/extend/ add is used here: this runs where their files were dropped into a copy of edgekd."""

import os
import re
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import ruamel.yaml

import edgekd
from edgekd import recipe, registry
from edgekd.errors import RecipeError

FILTERS = [4, 8]


@pytest.fixture(scope="module")
def data():
    return edgekd.load_data("synthetic", samples=48, classes=3, shape=[8, 8, 1])


@pytest.fixture(scope="module")
def network(data):
    return edgekd.create_model("strided_cnn", data, filters=FILTERS)


@pytest.fixture(scope="module")
def file(network, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "student.tflite"
    return edgekd.export_model(network, path, scheme="int16x4", data=data)


def test_a_recipe_takes_loss_network_scheme_and_target():
    document = {
        "teacher": {"architecture": "strided_cnn"},
        "student": {"architecture": "strided_cnn", "filters": FILTERS},
        "distill": {"losses": [{"loss": "jensen_shannon", "temperature": 2.0}]},
        "export": [{"format": "tflite", "scheme": "wi4_ai16"}],
        "bench": {"targets": ["background"], "niceness": 19},
    }
    checked = recipe.from_document(document)
    assert checked.distill.losses[0].arguments == {"temperature": 2.0}
    assert checked.bench.settings_of("background")["niceness"] == 19
    with pytest.raises(RecipeError, match="jensen_shannon"):
        recipe.from_document({**document, "distill": {"losses": [{"loss": "jensen_shanon"}]}})


def test_the_fragments_on_the_pages_are_parts_of_recipes():
    base = {"teacher": {"architecture": "strided_cnn"}, "student": {"architecture": "strided_cnn"}}
    pages = [path.read_text(encoding="utf-8") for path in Path(os.environ["EDGEKD_TEST_PAGES"]).glob("*.md")]
    fragments = [found for page in pages for found in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)]
    assert len(fragments) > 2
    for fragment in fragments:
        recipe.from_document({**base, **ruamel.yaml.YAML(typ="safe", pure=True).load(fragment)})


def test_the_loss_teaches(network, data):
    student = edgekd.create_model("strided_cnn", data, filters=FILTERS, seed=1)
    before = [np.array(weights) for weights in student.get_weights()]
    losses = [{"loss": "jensen_shannon", "weight": 1.0}]
    (epoch,) = edgekd.distill_model(
        student, network, data, losses=losses, labels_weight=0.0, epochs=1, batch_size=16, weight_decay=0.0
    )
    assert epoch.loss > 0
    assert any(not np.array_equal(old, new) for old, new in zip(before, student.get_weights(), strict=True))


def test_the_file_stores_what_the_scheme_says(file, network, data):
    assert file.scheme == "int16x4"
    # 4 bits, symmetric: -7 to 7.
    assert file.kernels.distinct_per_channel <= 15
    assert edgekd.verify_model(network, file.path, data.test).outputs[0].sqnr_db > 10


def test_the_target_measures_at_low_priority(file, tmp_path, monkeypatch):
    log, real = tmp_path / "log", shutil.which("nice")
    shim = tmp_path / "bin" / "nice"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$1 $2" >> {log}\nexec {real} "$@"\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    quick = {"processes": 1, "blocks": 1, "min_runs": 5, "min_block_ms": 1.0, "min_warmup_seconds": 0.0}
    settings = {**quick, "max_warmup_seconds": 0.1, "niceness": 7}
    (measured,) = edgekd.bench_models([file.path], raw_folder=tmp_path, target="background", **settings)
    assert measured.target == "background"
    assert measured.latency_ms.p50 > 0
    assert log.read_text() == "-n 7\n"
    with pytest.raises(RecipeError, match="niceness is 20"):
        edgekd.bench_models([file.path], raw_folder=tmp_path, target="background", niceness=20)


def test_all_are_listed():
    assert "jensen_shannon" in registry.discover("edgekd.losses")
    assert registry.describe("edgekd.architectures", "strided_cnn", entry="build").constants["TAPS"]
