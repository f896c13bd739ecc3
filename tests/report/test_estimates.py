"""Estimates in the report: whole, apart from the measurements, and with nothing made up."""

import pytest

from edgekd.cli._tables import print_elsewhere
from edgekd.records import Bounded, Estimate, Figures
from edgekd.report import estimates, markdown
from edgekd.report import html as html_report
from edgekd.report.runs import ReportedRun


def estimate(target="cortex-m", *, artifact="a.tflite", refusal=None, **figures):
    made = None if refusal else Figures(**{"tool": "tool 1", "configuration": {"core": "m4"}, **figures})
    return Estimate(artifact=artifact, target=target, size_bytes=1, sha256="0" * 64, figures=made, refusal=refusal)


MANY = (
    estimate(latency_ms=Bounded(value=2.0, low=1.5, high=3.0), cycles=240_000, macs=100_000),
    estimate(
        "ethos-u", latency_ms=Bounded(value=0.5), sram_bytes=2048, cpu_operators=("QUANTIZE x",), notes=("Note.",)
    ),
    estimate("tflite-micro", arena_bytes=4096, output_lsb=2, differing_outputs=0.125),
    estimate("tflite-micro", artifact="b.tflite", arena_bytes=64, output_max_abs=1e-6, differing_outputs=0.5),
    estimate("tflite-micro", artifact="c.tflite", refusal="no kernel for X."),
)


def test_only_columns_that_say_something_are_shown_and_gaps_are_no_zeros():
    headers, rows = estimates.table(MANY)
    assert "DRAM" not in headers
    assert "Flash" not in headers
    cells = [dict(zip(headers, row, strict=True)) for row in rows]
    assert cells[0]["Estimated time, ms (band)"] == "2.00 (1.50 to 3.00)"
    assert cells[0]["Cycles"] == "240,000"
    assert cells[1]["Estimated time, ms (band)"] == "0.500 (band not stated)"
    assert cells[1]["Operators on the CPU"] == "1"
    assert cells[2]["Outputs differ from LiteRT"] == "up to 2 LSB, in 12 % of values"
    assert cells[3]["Outputs differ from LiteRT"] == "up to 1e-06, in 50 % of values"
    assert set(list(cells[4].values())[2:]) == {"–"}


def test_every_estimate_says_what_made_it_and_what_it_leaves_out():
    notes = estimates.notes(MANY)
    assert "a.tflite, cortex-m: tool 1 (core=m4)." in notes
    assert "a.tflite, b.tflite, tflite-micro: tool 1 (core=m4)." in notes
    assert "a.tflite, ethos-u: Note." in notes
    assert "a.tflite, ethos-u: Left to the CPU: QUANTIZE x." in notes
    assert "c.tflite, tflite-micro: cannot run there: no kernel for X." in notes


def test_a_run_says_at_once_which_files_cannot_run_where(summary, capsys):
    print_elsewhere(summary.model_copy(update={"estimates": MANY}))
    assert "warning: c.tflite cannot run on tflite-micro: no kernel for X.\n" in capsys.readouterr().out
    print_elsewhere(summary.model_copy(update={"estimates": MANY[:-1]}))
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("render", [markdown.render, html_report.render])
def test_estimates_have_a_section_of_their_own_where_there_are_any(summary, render):
    def rendered(found):
        return render([ReportedRun(found, found.name)])

    assert estimates.EXPLANATION not in rendered(summary)
    text = rendered(summary.model_copy(update={"estimates": MANY}))
    assert estimates.EXPLANATION in text
    assert "2.00 (1.50 to 3.00)" in text
    assert "<script>alert" not in rendered(
        summary.model_copy(update={"estimates": (estimate(artifact="<script>alert(1)</script>", cycles=1),)})
    )
