"""Profiles and outputs of other processors in the report: whole, and with nothing made up."""

import json
import re

import plotly.graph_objects
import pytest

from edgekd.cli._tables import print_elsewhere
from edgekd.records import Interval, OperatorTime, OutputParity, Parity, ParityFindings, Profile
from edgekd.report import html as html_report
from edgekd.report import markdown, parities, profiles
from edgekd.report.runs import ReportedRun

HOSTILE = "<script>alert(1)</script>"


def timed(number, operator, microseconds, *, place="n"):
    time = Interval(value=microseconds, low=microseconds * 0.9, high=microseconds * 1.1)
    return OperatorTime(
        number=number, operator=operator, place=place, in_delegate=False, time_us=time, share=microseconds / 100
    )


def profile(*operators, **changes):
    whole = Interval(value=100.0, low=90.0, high=110.0)
    share = sum(each.share for each in operators)
    made = Profile(
        model="a.tflite",
        sha256="0" * 64,
        runtime="ai-edge-litert 2.3",
        processes=5,
        runs=100,
        whole_us=whole,
        plain_us=whole,
        operators=operators,
        share_of_operators=share,
        share_lost_to_rounding=0.03,
        adds_up=True,
    )
    return made.model_copy(update=changes)


def rendered(page, summary, **changes):
    return page.render([ReportedRun(summary.model_copy(update=changes), "a run")])


THREE = profile(timed(0, "Conv", 60.0), timed(1, "Add", 5.0), timed(2, "Conv", 30.0, place=HOSTILE))


def test_bars_lie_within_bars_and_are_as_wide_as_their_time():
    drawn = profiles.figure(THREE)
    plotly.graph_objects.Figure(drawn)  # which checks every name and value
    (icicle,) = drawn["data"]
    widths = dict(zip(icicle["ids"], icicle["values"], strict=True))
    assert widths == {
        "all": 95.0,
        "kind Conv": 90.0,
        "kind Add": 5.0,
        "operator 0": 60.0,
        "operator 1": 5.0,
        "operator 2": 30.0,
    }
    above = dict(zip(icicle["ids"], icicle["parents"], strict=True))
    assert above["operator 2"] == above["operator 0"] == "kind Conv"
    assert above["kind Add"] == "all"
    assert "<script>" not in "".join([*icicle["labels"], *icicle["text"]])


def test_the_graph_tells_the_shares_of_the_table():
    (icicle,) = profiles.figure(THREE)["data"]
    told = dict(zip(icicle["ids"], icicle["customdata"], strict=True))
    assert told == pytest.approx(
        {"all": 0.95, "kind Conv": 0.9, "kind Add": 0.05, "operator 0": 0.6, "operator 1": 0.05, "operator 2": 0.3}
    )
    assert "%{customdata:.1%}" in icicle["hovertemplate"]
    assert "percent" not in icicle["hovertemplate"]  # which would be of the operators' sum


def test_a_node_is_drawn_as_a_number_below_its_operator_and_said_with_its_name():
    (icicle,) = profiles.figure(profile(timed(2, "Conv", 1.0, place="2"), timed(3, "Add", 1.0, place="sum")))["data"]
    assert icicle["labels"][-2:] == ["2", "3"]
    assert icicle["text"][-2:] == ["2 Conv", "3 Add, sum"]


def test_the_page_of_its_own_says_whether_the_shares_mislead(tmp_path):
    doubtful = profile(timed(0, "Conv", 10.0), adds_up=False)
    profiles.write_page([THREE, doubtful], tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert text.count("shares mislead") == 1
    assert text.index("add up to 95.0% of the whole") < text.index("shares mislead")


def test_the_table_begins_with_the_longest():
    assert [row[2] for row in profiles.rows(THREE)] == ["60.0", "30.0", "5.0"]
    assert "add up to 95.0% of the whole" in profiles.total(THREE)
    assert "shares mislead" in profiles.total(profile(timed(0, "Conv", 10.0), adds_up=False))


def test_the_page_has_graph_and_table_of_each_profile(summary):
    assert 'id="profile"' not in rendered(html_report, summary)
    text = rendered(html_report, summary, profiles=(THREE, THREE))
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])
    assert [figures[f"plot-profile-{number}"]["data"][0]["type"] for number in (0, 1)] == ["icicle"] * 2
    for number in (0, 1):
        assert f'<div class="plot" id="plot-profile-{number}"' in text
    assert text.count("the operators add up to 95.0% of the whole") == 2
    assert "54.0 to 66.0" in text
    assert HOSTILE not in text
    assert "Time, µs" in text
    assert "100 µs a profiled inference (100 µs without profiling)" in text
    pages = rendered(markdown, summary, profiles=(THREE,))
    assert "| Conv | n | 60.0 | 54.0 to 66.0 |" in pages
    assert HOSTILE not in pages


def found(*outputs, artifact="a.tflite"):
    findings = ParityFindings(
        emulator="qemu-aarch64 7.2",
        cpu="cortex-a76",
        runtime="tflite-runtime 2.14",
        delegate=None,
        python="3.11",
        numpy="1.26",
        reference="ai-edge-litert 2.3, x86_64",
        samples=8,
        seed=0,
        outputs=outputs,
    )
    return Parity(artifact=artifact, target="qemu-aarch64", size_bytes=1, sha256="0" * 64, findings=findings)


def output(**numbers):
    fields = {"output": "y", "dtype": "int8", "elements": 200, "differing": 0.0, "agreement": 1.0}
    return OutputParity(**{**fields, "max_lsb": None, "beyond_one_lsb": None, "max_abs": None, **numbers})


PARITIES = (
    found(output(differing=0.25, max_lsb=2, beyond_one_lsb=0.01, agreement=0.5)),
    found(output(dtype="float32", differing=1.0, max_abs=1.25e-6, agreement=None), artifact="b.onnx"),
    found(output(max_lsb=0, beyond_one_lsb=0.0), artifact="c.tflite"),
    Parity(artifact="d.tflite", target="qemu-aarch64", size_bytes=1, sha256="0" * 64, refusal="no kernel."),
)


def test_differences_are_told_in_the_outputs_own_unit_and_gaps_are_no_zeros():
    cells = [row[2:] for row in parities.rows(PARITIES)]
    assert cells[0] == ("y (int8)", "25 % of 200", "2 LSB", "1 %", "50.00 %")
    assert cells[1] == ("y (float32)", "100 % of 200", "1.25e-06", "–", "–")
    assert cells[2] == ("y (int8)", "none", "0", "0 %", "100.00 %")
    assert set(cells[3]) == {"–"}
    notes = parities.notes(PARITIES)
    assert notes[-1] == "d.tflite, qemu-aarch64: cannot be run there: no kernel."
    assert notes[0].startswith("a.tflite, b.onnx, c.tflite, qemu-aarch64: tflite-runtime 2.14 on Python 3.11")


def test_a_run_prints_them_too(summary, capsys):
    print_elsewhere(summary.model_copy(update={"estimates": (), "parities": PARITIES}))
    printed = capsys.readouterr().out
    assert "25 % of 200" in printed
    assert printed.endswith(f"{parities.EXPLANATION}\n")


@pytest.mark.parametrize("page", [markdown, html_report])
def test_they_have_a_section_of_their_own_where_there_are_any(summary, page):
    assert parities.EXPLANATION not in rendered(page, summary)
    assert "25 % of 200" in rendered(page, summary, parities=PARITIES)
    assert HOSTILE not in rendered(page, summary, parities=(found(output(max_lsb=0), artifact=HOSTILE),))
