"""The guide docs/your-own-model.md works as it stands, in an empty folder; its file goes on to a microcontroller."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import recipe
from edgekd.pipeline import load_data, preflight
from edgekd.pipeline.stage import STUDENT_DISTILLED

DOCS = Path(__file__).parents[1] / "docs"
GUIDE, MICROCONTROLLER = DOCS / "your-own-model.md", DOCS / "microcontroller.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return tmp_path


@pytest.mark.slow
def test_the_guide_works_from_top_to_bottom(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"(?:^`(\S+)`:\n\n)?^```(python|yaml)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert [file for file, _, _ in blocks] == ["", "my_networks.py", "", "mine.yaml"]
    for file, _, code in blocks:
        if file:
            (folder / file).write_text(code, encoding="utf-8")
        else:
            exec(compile(code, GUIDE.name, "exec"), names)  # noqa: S102 - our own page
    told = capsys.readouterr().out
    (accuracy,) = re.findall(r"best validation accuracy ([\d.]+)", told)
    assert float(accuracy) > 0.8  # of three classes
    (agreement,) = re.findall(r"^\d+ bytes, agreement ([\d.]+)$", told, flags=re.MULTILINE)
    assert float(agreement) > 0.9
    assert np.load(folder / "photos.npz")["x"].shape == (600, 16, 16)

    (to_c,) = re.findall(r"```python\n(.*?)```", MICROCONTROLLER.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(to_c, MICROCONTROLLER.name, "exec"), {})  # noqa: S102 - our own page
    header = (folder / "firmware" / "model.h").read_text(encoding="utf-8")
    assert re.search(r"#define MODEL_ARENA_BYTES \d{4}", header)
    assert "model_resolver() {" in (folder / "firmware" / "model_resolver.h").read_text(encoding="utf-8")

    mine = recipe.load("mine.yaml")
    assert Path(mine.teacher[0].model).name == "teacher.keras"
    preflight.check(mine, load_data(mine.data), stages={STUDENT_DISTILLED})
