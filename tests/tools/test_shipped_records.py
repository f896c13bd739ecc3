"""What is shipped tells nobody's folders and kernels: records and cards of the zoo, and of any run that is shipped."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("shipped_records")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("by /nowhere/at/all.", "/nowhere/at/all."),
        ("file:///srv/x", "///srv/x"),
        ("--dir=/data", "/data"),
        ("npz:/mnt/a.npz", "/mnt/a.npz"),
        ("'~/runs/one'", "~/runs/one"),
        ("~somebody/x", "~somebody/x"),
        (r"C:\Users\me", r"C:\Users\me"),
        ("in D:/data", "D:/data"),
        (r"\\server\share\x", r"\\server\share\x"),
    ],
)
def test_places_of_any_machine_are_found_whether_they_exist_or_not(tool, text, found):
    assert tool.places(text) == (found,)
    assert tool.places_in({"key": ["of no note", {text: 1}]}) == (found,)


def test_a_place_is_told_by_its_last_name_alone(tool):
    text = r"not finite: '/srv/me/runs', /srv/me/runs/w.npz and C:\Users\me\a.npz; see https://example.org/a (3 of 5)"
    assert tool.without_places(text) == "not finite: 'runs', w.npz and a.npz; see https://example.org/a (3 of 5)"


@pytest.mark.parametrize(
    "text",
    [
        *("T-shirt/top", "pixel / 255: float32", "(x - 3)/255", "tfds:fashion_mnist/3.0.1", "../../teacher.keras"),
        *(
            "teacher/model.keras",
            "https://example.org/a/b",
            "stem/Relu;stem_bn/batchnorm",
            "~5 ms",
            "image/png",
            "a: b",
        ),
    ],
)
def test_what_only_looks_like_a_place_is_none(tool, text):
    assert tool.places(text) == ()


@pytest.mark.parametrize(
    ("system", "machine", "told"),
    [
        ("Linux-6.18.44-fc-v657-x86_64-with-glibc2.36", "x86_64", "Linux-6.18.44-x86_64-with-glibc2.36"),
        ("Linux-6.18.44-x86_64-with-glibc2.36", "x86_64", "Linux-6.18.44-x86_64-with-glibc2.36"),
        ("Linux-6.1.0.9+rpt-rpi-v8-aarch64-with-glibc2.36", "aarch64", "Linux-6.1.0-aarch64-with-glibc2.36"),
        ("Linux 6.18.44-fc-v657", "x86_64", "Linux 6.18.44"),
        ("Windows-10-10.0.19045-SP0", "AMD64", "Windows-10-AMD64"),
        ("Plan9 of somebody", "x86_64", "Plan9"),
    ],
)
def test_of_a_kernel_three_numbers_are_told_and_no_build(tool, system, machine, told):
    assert tool.without_build(system, machine=machine) == told
    record = {"environment": {"platform": system, "machine": machine, "cpu": "C"}, "names": [system]}
    assert tool.without_builds(record) == {
        "environment": {"platform": told, "machine": machine, "cpu": "C"},
        "names": [system],
    }
    assert tool.without_builds([{"system": system, "architecture": machine}])[0]["system"] == told


def test_the_cards_and_records_of_the_zoo_tell_neither(tool, capsys):
    known = {path.relative_to(ROOT).as_posix() for path in tool.shipped(ROOT / "models")}
    assert {"models/fashion_mnist/card.md", "models/fashion_mnist/results/methods.json"} <= known
    status = tool.main(["--zoo", str(ROOT / "models")])
    assert (status, capsys.readouterr().out) == (0, f"{len(known)} cards and records tell nothing of that\n")


def test_a_build_is_mended_and_a_place_is_not(tool, tmp_path, capsys):
    record = tmp_path / "one" / "results" / "summary.json"
    record.parent.mkdir(parents=True)
    text = '{ "platform":  "Linux-1.2.3-mine-arm64",\n  "machine": "arm64", "note": "µ" }\n'
    record.write_text(text, encoding="utf-8")
    (tmp_path / "one" / "card.md").write_text("Taught by `/srv/teacher.keras`.\n")
    arguments = ["--zoo", str(tmp_path)]
    assert tool.main(arguments) == 1
    card, build = capsys.readouterr().out.splitlines()
    assert "card.md: names /srv/teacher.keras, a place" in card
    assert "says 'Linux-1.2.3-mine-arm64'" in build
    assert tool.main([*arguments, "--mend"]) == 1
    assert record.read_text(encoding="utf-8") == text.replace("-mine", "")
    assert json.loads(record.read_text(encoding="utf-8"))["note"] == "µ"
    (tmp_path / "one" / "card.md").unlink()
    assert tool.main(arguments) == 0
    record.write_text("{'platform':")
    for mend in ([], ["--mend"]):
        assert tool.main([*arguments, *mend]) == 2
        assert f"error: {str(record)!r} is no JSON" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main(["--zoo", str(tmp_path / "nothing")])
