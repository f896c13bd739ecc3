"""The picture of a report that the README shows."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd import report
from edgekd.report.runs import read

RECORD = Path(__file__).parents[2] / "models" / "fashion_mnist" / "resnet8" / "results"


def test_a_wrong_path_is_one_line_and_leaves_the_picture(tmp_path: Path, script: Any, capsys: Any) -> None:
    tool: ModuleType = script("make_report_picture")
    out = tmp_path / "picture.png"
    out.write_bytes(b"of before")
    (tmp_path / "report.html").write_text("<p>no report")
    absent = str(tmp_path / "absent")
    for arguments, told in (
        ([absent], f"error: report {absent!r} does not exist: check the path.\n"),
        ([str(tmp_path / "report.html"), "--chromium", absent], "error: the program of --chromium"),
    ):
        assert tool.main([*arguments, "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(told)
    assert out.read_bytes() == b"of before"


@pytest.mark.chromium
@pytest.mark.slow
def test_it_shows_three_parts_of_the_page(tmp_path: Path, script: Any, chromium_program: str, capsys: Any) -> None:
    tool: ModuleType = script("make_report_picture")
    (page,) = report.write(read([RECORD]), tmp_path, formats=["html"])
    out = tmp_path / "picture.png"
    assert tool.main([str(page), "--out", str(out), "--chromium", chromium_program]) == 0
    (tmp_path / "other.html").write_text("<p>no report")
    before = out.read_bytes()
    assert tool.main([str(tmp_path / "other.html"), "--out", str(out), "--chromium", chromium_program]) == 2
    assert "does not have the parts that are pictured" in capsys.readouterr().err
    assert out.read_bytes() == before
    pixels = np.asarray(Image.open(out).convert("RGB"))
    assert pixels.shape[1] == 860
    rows = np.abs(pixels - np.asarray(tool.GREY)).max(axis=(1, 2)) < 16
    starts = np.flatnonzero(np.diff(rows.astype(int)) == 1)
    assert len(starts) == 2, "one line between two parts"
    for part in np.split(pixels, starts + 1):
        assert len(np.unique(part.reshape(-1, 3), axis=0)) > 16, "not a blank one"
