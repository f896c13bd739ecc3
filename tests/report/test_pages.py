"""What the HTML page and the Markdown promise."""

import html.parser
import itertools
import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest

from edgekd import report
from edgekd.errors import StorageError
from edgekd.records import Gate, Interval, KernelValues, Reconstruction, Summary
from edgekd.report import anatomy, headline, markdown, plots, requirements, tensors, tradeoff, training
from edgekd.report import html as html_report
from edgekd.report.runs import ReportedRun
from edgekd.verify import gates

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>|`a`\n# b"
MAX_BYTES = 6_000_000


class Page(html.parser.HTMLParser):
    """The text, tags and attributes of a page; the content of scripts and styles is kept apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts, self._open = [], [], [], []
        self.feed(source)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in {"script", "style"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self.texts.append(data)


def alone(summary: Summary) -> list[ReportedRun]:
    return [ReportedRun(summary, summary.name)]


def figures_of(source: str) -> dict[str, dict[str, Any]]:
    return json.loads(source.partition('<script type="application/json" id="figures">')[2].partition("</script>")[0])


@pytest.fixture
def hostile(summary: Summary) -> Summary:
    """A summary in which whatever comes from outside tries to be markup."""
    return summary.model_copy(
        update={
            "name": HOSTILE,
            "artifacts": tuple(a.model_copy(update={"name": HOSTILE, "path": HOSTILE}) for a in summary.artifacts),
            "comparisons": tuple(c.model_copy(update={"candidate": HOSTILE}) for c in summary.comparisons),
            "measurements": tuple(
                m.model_copy(update={"artifact": HOSTILE, "warnings": (HOSTILE,)}) for m in summary.measurements
            ),
            "gates": tuple(g.model_copy(update={"subject": HOSTILE, "name": HOSTILE}) for g in summary.gates),
            "models": {**summary.models, HOSTILE: summary.models["teacher"].model_copy(update={"role": HOSTILE})},
            "curves": {**summary.curves, HOSTILE: summary.curves["teacher"]},
            "stages": tuple(row.model_copy(update={"name": HOSTILE}) for row in summary.stages),
            "layers": tuple(each.model_copy(update={"candidate": HOSTILE}) for each in summary.layers),
            "seconds": {HOSTILE: 1.0},
        }
    )


# Each is a number of the summary of conftest.py as a reader should see it.
TABLE_NUMBERS = (
    *("92.31 %", "91.1 to 93.5 %", "−2.38", "309,450", "38.1 M"),
    *("89.50 %", "88.3 to 90.7 %", "+0.43", "19,834", "2.51 M", "89.93 %"),
    *("89.92 %", "+0.01", "99.98 %", "48.0 KiB", "0.125", "0.119 to 0.131", "0.134", "0.203"),
    *("89.61 %", "+0.32", "98.74 %", "29.2 KiB", "0.0731", "0.0698 to 0.0767", "0.0782", "0.118"),
    *("89.58 %", "+0.35", "98.69 %", "37.5 KiB", "0.147", "0.140 to 0.154", "0.157", "0.237"),
)
OTHER_NUMBERS = (
    *("0.35 points", "≤ 0.33 points", "98.69 %", "≥ 98 %", "Drop of accuracy", "accuracy_drop"),  # gates
    *("33.4", "0.0213", "0.999780", "float output", "identical", "0.4127"),  # exactness
    *("0.0517", "51.8 MiB", "8,214", "1.82", "0.446"),  # latency in detail
    *("2 min 22 s", "38.4 s", "4 min 58 s"),  # time
    *("29,864", "4" * 64, "export/student-int8.tflite"),  # files
    *("Python 3.11.7", "tensorflow 2.21.0", "Example CPU @ 2.60GHz, 2 logical cores", "24.0 GiB"),
    *("55,000 for training, 5,000 for validation, 10,000 for the test", "ab12" * 16, "c0ffee" * 10 + "beef"),
    *("1.416", "0.3541", "69.47 %", "68.82 %", "attention_transfer", "soft_logits"),  # curves
    *("Process medians spread by 13.4% of their median", "SQNR", "1 of 12 gates failed"),
)


@pytest.mark.parametrize("expected", [*TABLE_NUMBERS, *OTHER_NUMBERS])
def test_the_page_shows_every_number(summary, page, expected):
    assert expected in page.text


@pytest.mark.parametrize("expected", [*TABLE_NUMBERS, *OTHER_NUMBERS])
def test_the_markdown_shows_every_number(summary, expected):
    assert expected in re.sub(r"\\(.)", r"\1", markdown.render(alone(summary)))


@pytest.fixture(scope="module")
def page(summary) -> Page:
    return Page(html_report.render(alone(summary)))


def test_the_same_summary_gives_the_same_bytes(summary):
    again = Summary.model_validate_json(summary.model_dump_json())
    assert html_report.render(alone(summary)) == html_report.render(alone(again))
    assert markdown.render(alone(summary)) == markdown.render(alone(again))


def test_the_page_needs_no_network(summary, page):
    assert not [tag for tag in page.tags if tag in {"link", "iframe", "object", "embed", "base", "img"}]
    addresses = [value for _, name, value in page.attributes if name in {"src", "href", "srcset", "action", "data"}]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    styles = (report.html._FOLDER / "page.css").read_text()
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_page_is_small_enough_and_holds_plotly_once(summary):
    source = html_report.render(alone(summary))
    assert len(source.encode()) <= MAX_BYTES
    assert source.count("plotly.js v") == 1


def test_hostile_names_stay_text_in_the_page(hostile):
    source = html_report.render(alone(hostile))
    page = Page(source)
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "alert('x')" in page.text
    figures = source.partition('<script type="application/json" id="figures">')[2].partition("</script>")[0]
    assert "\\u0026lt;script" in figures
    assert "<" not in figures


def test_hostile_names_stay_text_in_the_markdown(hostile):
    text = markdown.render(alone(hostile))
    assert "<" not in text
    assert "\n# b" not in text
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 11 for line in _table_after(text, "## Results"))


def test_tables_of_the_markdown_are_whole(summary):
    text = markdown.render(alone(summary))
    for heading in (
        "## Results",
        "## Accuracy by method",
        "## Gates",
        "## Accuracy stage by stage",
        "### Distilled student",
        "## Latency",
        "## Exactness",
        "## Files",
    ):
        lines = _table_after(text, heading)
        assert len(lines) > 2
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def _table_after(text: str, heading: str) -> list[str]:
    lines = text[text.index(heading) :].splitlines()[2:]
    return lines[: next(index for index, line in enumerate([*lines, ""]) if not line.startswith("|"))]


def test_nothing_measured_is_said_and_never_none_or_zero(unmeasured):
    page = Page(html_report.render(alone(unmeasured)))
    text = markdown.render(alone(unmeasured))
    for words in (page.text, text):
        assert "not measured" in words
        assert "None" not in words
        assert "nan" not in words.lower().replace("provenance", "")
        assert "0.00 %" not in words
    assert "No latency was measured in this run." in page.text
    assert "No file was compared in this run." in page.text


def test_a_target_without_samples_leaves_its_cells_unmeasured(summary):
    unknown = {"p90": None, "p95": None, "p99": None, "scaled_mad": None}
    measurements = tuple(
        each.model_copy(update={"latency_ms": each.latency_ms.model_copy(update=unknown), "peak_memory_bytes": None})
        for each in summary.measurements
    )
    told = summary.model_copy(update={"measurements": measurements})
    count = len(measurements)
    text = Page(html_report.render(alone(told))).text
    assert text.count("not measured") - Page(html_report.render(alone(summary))).text.count("not measured") >= 4 * count
    assert "None" not in text
    assert "None" not in markdown.render(alone(told))


def test_a_run_without_anything_still_gives_pages(summary):
    empty = summary.model_copy(
        update={
            "models": {},
            "curves": {},
            "artifacts": (),
            "comparisons": (),
            "measurements": (),
            "gates": (),
            "seconds": {},
        }
    )
    page = Page(html_report.render(alone(empty)))
    assert "Nothing was trained in this run." in page.text
    assert "No gate was checked" in page.text
    assert "No gate was checked" in markdown.render(alone(empty))


def test_every_plot_has_words_and_a_figure(summary, page):
    ids = {value for tag, name, value in page.attributes if tag == "div" and name == "id"}
    assert ids == set(figures_of(html_report.render(alone(summary))))
    labels = [value for tag, name, value in page.attributes if tag == "div" and name == "aria-label"]
    assert len([label for label in labels if "epoch" in label]) >= 4
    assert page.tags.count("figcaption") == len(ids) == 13


def test_tables_have_captions_and_scoped_headers(page):
    assert page.tags.count("caption") == page.tags.count("table") > 5
    headers = page.tags.count("th")
    assert headers == len([name for tag, name, _ in page.attributes if tag == "th" and name == "scope"])


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_links_of_the_page_lead_to_its_sections(page):
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value for _, name, value in page.attributes if name == "href"]
    assert links
    assert {link.removeprefix("#") for link in links} <= ids


def test_plotly_accepts_every_figure(summary):
    for figure in figures_of(html_report.render(alone(summary))).values():
        plotly.graph_objects.Figure(figure)


LABELS_ALONE = "on labels alone, the baseline that distillation must beat"


@pytest.mark.parametrize(
    ("roles", "way", "told"),
    [
        (("teacher",), "offline", "The teacher is trained on labels."),
        (("teacher", "student_labels"), "offline", f"The student is trained {LABELS_ALONE}."),
        (
            ("teacher", "teacher_2", "student_labels", "student_distilled"),
            "offline",
            "2 teachers are trained on labels. "
            f"The student is trained twice: {LABELS_ALONE}, and taught by 2 teachers.",
        ),
        (
            ("student_labels", "student_distilled"),
            "born again",
            f"The student is trained twice: {LABELS_ALONE}, and taught by that one, from other weights.",
        ),
        (
            ("student_labels", "student_distilled", "generation_1"),
            "born again",
            f"The student is trained 3 times: {LABELS_ALONE}, and taught in 2 generations, the first by that one and "
            "each further one by the one before. Its curves are those of the last generation.",
        ),
        (
            ("student_distilled", "peer_1", "peer_2"),
            "online",
            "The student is taught by 2 peers, while it teaches them.",
        ),
        (
            ("student_labels", "student_distilled"),
            "self",
            f"The student is trained twice: {LABELS_ALONE}, and taught by its own logits, at early exits.",
        ),
        (
            ("student_distilled", "student_sparse", "student_quantized"),
            "offline",
            "The student is taught. The sparse student is the distilled student, trained on as it becomes sparse. "
            "The int8 student is the sparse student, trained on with rounding.",
        ),
    ],
)
def test_how_a_run_taught_is_told_as_it_was(summary, roles, way, told):
    trained = [role for role in roles if not role.startswith(("peer_", "generation_"))]
    curves = dict.fromkeys(trained, summary.curves["teacher"])
    models = {role: summary.models["teacher"].model_copy(update={"role": role}) for role in roles}
    run = summary.model_copy(update={"taught": f"{way}: 1.0 × labels", "models": models, "curves": curves})
    assert " ".join(training.sentences(run)).endswith(told)
    page = Page(html_report.render(alone(run))).text
    assert told in page
    assert told in markdown.render(alone(run))
    assert ("A student distilled on" in page) is ("student_distilled" in roles)
    assert "exported to 6 files" in page


def test_a_teacher_of_elsewhere_was_not_trained(summary):
    given = summary.model_copy(update={"curves": {**summary.curves, "teacher": ()}, "artifacts": ()})
    assert training.sentences(given)[0] == "The teacher is given."
    page = Page(html_report.render(alone(given))).text
    assert "exported to" not in page
    assert "The exported files are compared" not in page


def test_the_curves_hold_every_epoch_and_every_term(summary):
    figure = plots.loss_by_epoch(summary.curves["student_distilled"])
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert set(traces) == {"training", "validation", "term attention_transfer", "term labels", "term soft_logits"}
    curve = summary.curves["student_distilled"]
    assert traces["training"]["x"] == list(range(1, 9))
    assert traces["training"]["y"] == [row.loss for row in curve]
    assert traces["validation"]["y"] == [row.validation_loss for row in curve]
    assert traces["term soft_logits"]["y"] == [row.terms["soft_logits"] for row in curve]


# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009.
SEEN = {
    "all": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of an sRGB colour, as an eye sees it."""
    coded = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
    x, y, z = np.cbrt(to_xyz @ np.clip(seen @ linear, 0.001, 1) / np.array([0.9505, 1.0, 1.0888]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_lines_of_a_loss_can_be_told_apart_by_colour_by_dash_and_by_mark(summary):
    row = summary.curves["student_distilled"][0]
    terms = dict.fromkeys(("labels", "soft_logits", "dist", "dkd", "hint"), 1.0)
    lines = plots.loss_by_epoch([row.model_copy(update={"terms": terms})])["data"]
    assert len(lines) == 2 + 5
    assert len({line["line"]["dash"] for line in lines}) == len({line["marker"]["symbol"] for line in lines}) == 7
    colours = [line["line"]["color"] for line in lines]
    for seen in SEEN.values():
        apart = [np.linalg.norm(lab(a, seen) - lab(b, seen)) for a, b in itertools.combinations(colours, 2)]
        assert min(apart) > 12  # a just noticeable difference is about 2


def test_marks_of_many_epochs_do_not_hide_the_dashes(summary):
    row = summary.curves["student_distilled"][0]
    many = [row.model_copy(update={"epoch": epoch}) for epoch in range(1, 101)]
    assert {line["mode"] for line in plots.loss_by_epoch(many)["data"]} == {"lines"}
    assert {line["mode"] for line in plots.loss_by_epoch(many[:8])["data"]} == {"lines+markers"}


def test_the_accuracies_of_a_network_share_an_entry_of_the_legend(summary):
    lines = plots.accuracy_by_epoch(summary)["data"]
    assert [line["name"] for line in lines if line.get("showlegend", True)] == [
        "Teacher",
        "Student on labels",
        "Distilled student",
    ]
    assert [line["legendgroup"] for line in lines[::2]] == [line["legendgroup"] for line in lines[1::2]]
    assert lines[0]["y"] == [100 * row.validation_accuracy for row in summary.curves["teacher"]]
    assert "Teacher, validation" in lines[0]["hovertemplate"]
    assert "Teacher, training" in lines[1]["hovertemplate"]
    assert lines[0]["line"]["dash"] == "solid" != lines[1]["line"]["dash"]


def test_a_legend_of_long_names_has_one_column_and_the_room_for_it(summary):
    (size,) = (cost for cost in tradeoff.COSTS if cost.key == "size")
    layouts = []
    for labels in (("a", "b"), ("a", "mlperf_tiny-anomaly_detection, seed 0")):
        drawn = tradeoff.graph([ReportedRun(summary, label) for label in labels], size)
        layouts.append((drawn["layout"]["legend"]["entrywidth"], drawn["layout"]["height"]))
    assert [width for width, _ in layouts] == [0.5, 1.0]
    assert layouts[1][1] > layouts[0][1]


def test_the_pieces_of_a_bar_are_the_operators_and_add_up_to_the_file(summary):
    data = plots.size_by_operator(summary)["data"]
    pieces = [(trace["x"][trace["y"].index("student-int8.onnx")], trace) for trace in data]
    assert [size for size, _ in pieces] == pytest.approx(
        [38_442 / 4 / 1024, 38_442 / 2 / 1024, 38_442 / 4 / 1024], rel=1e-3
    )
    assert sum(size for size, _ in pieces) == pytest.approx(38_442 / 1024)
    assert [trace["text"][0] for _, trace in pieces[:2]] == ["CONV_2D stem", "FULLY_CONNECTED logits"]
    assert "structure and metadata" in pieces[2][1]["hovertemplate"]


def test_the_memory_of_every_operator_is_drawn_in_order(summary):
    (trace,) = [each for each in plots.memory_by_operator(summary)["data"] if each["name"] == "student-int8.tflite"]
    assert trace["y"] == [784 / 1024, 12_544 / 1024, 320 / 1024]
    assert trace["x"] == pytest.approx([100 / 6, 50, 500 / 6])
    assert trace["text"][1] == "CONV_2D stem"


def test_the_table_of_size_and_memory_holds_the_same_numbers(summary, page):
    row = anatomy.rows(summary)[5]
    assert row[:5] == ("student-int8.onnx", "3", "28.2 KiB", "18.8 KiB, FULLY_CONNECTED", "9.39 KiB")
    assert row[5:] == ("12.2 KiB", "CONV_2D")
    assert "18.8 KiB, FULLY_CONNECTED" in page.text
    # Operator by operator, as the graphs of size and of memory have it.
    assert anatomy.operators(summary.artifacts[5]) == (
        ("1 QUANTIZE", "–", "0 bytes", "784 bytes"),
        ("2 CONV_2D", "stem", "9.38 KiB", "12.2 KiB"),
        ("3 FULLY_CONNECTED", "logits", "18.8 KiB", "320 bytes"),
        ("Structure and metadata", "–", "9.39 KiB", "–"),
    )
    assert page.text.count("2 CONV_2D stem") == len(summary.artifacts)
    assert "2 CONV_2D stem 9.38 KiB 12.2 KiB" in page.text
    assert "| student-int8.onnx | 3 | 28.2 KiB |" in markdown.render(alone(summary))


def test_the_largest_tensors_are_shown_and_the_others_added_up_to_the_file(summary, page):
    (found,) = [file for file in tensors.files(summary) if file.name == "student-int8.onnx"]
    # By hand: of 38,442 bytes 9,610 and 4,805, ten and two times 100, and what is left.
    assert [part.size_bytes for part in found.parts] == [9_610, 4_805, *([100] * 10), 200, 22_827]
    assert [found.parts[at].name for at in (0, -2, -1)] == [
        "kernel0",
        "2 other tensors together",
        "Structure and metadata",
    ]
    assert [found.parts[at].share for at in (0, -1)] == pytest.approx([0.25, 0.5938], rel=1e-3)
    assert [found.parts[at].length for at in (0, -1)] == pytest.approx([9_610 / 22_827, 1.0])
    assert "student-int8.onnx: 37.5 KiB, 14 tensors" in page.text
    assert "kernel0 3 × 3 × 8 int8 9.38 KiB 25.0 %" in page.text
    text = markdown.render(alone(summary))
    assert "| student-int8.onnx | kernel0 | 3 × 3 × 8 | int8 | 9.38 KiB | 25.0 % |" in text
    assert "| student-int8.onnx | 9 other tensors together | – | – | 900 bytes | 2.3 % |" in text
    few = summary.artifacts[0].model_copy(update={"tensors": summary.artifacts[0].tensors[:1]})
    assert [part.name for part in tensors.files(summary.model_copy(update={"artifacts": (few,)}))[0].parts] == [
        "kernel0",
        "Structure and metadata",
    ]


def test_a_run_of_before_has_no_section_of_size_and_memory(summary):
    unsized = tuple(artifact.model_copy(update={"tensors": ()}) for artifact in summary.artifacts)
    source = html_report.render(alone(summary.model_copy(update={"artifacts": unsized})))
    assert "did not note what each tensor takes" in source
    assert "Size by tensor" not in source
    artifacts = tuple(artifact.model_copy(update={"operators": ()}) for artifact in summary.artifacts)
    old = summary.model_copy(update={"artifacts": artifacts})
    assert "Size and memory" not in Page(html_report.render(alone(old))).text + markdown.render(alone(old))
    open_sizes = tuple(cost.model_copy(update={"live_bytes": None}) for cost in summary.artifacts[0].operators)
    unknown = summary.model_copy(update={"artifacts": (artifacts[0].model_copy(update={"operators": open_sizes}),)})
    assert plots.memory_by_operator(unknown) is None
    assert anatomy.rows(unknown)[0][5:] == ("not measured", "not measured")


@pytest.mark.parametrize(
    ("name", "observed", "limit", "samples", "told"),
    [
        ("agreement_with_int8_student", 59 / 60, 0.995, 60, ("98.33 %", "59 of 60 samples", "≥ 99.5 %")),
        ("accuracy_drop", -0.0182, 0.01, 2000, ("−1.82 points", "36 more right, of 2,000 samples", "≥ 1 point")),
        (
            "accuracy_drop",
            1200 / 10_000,
            0.01,
            10_000,
            ("12 points", "1,200 fewer right, of 10,000 samples", "≥ 1 point"),
        ),
        ("accuracy_drop", 0.0, 0.0, 60, ("0 points", "as many right, of 60 samples", "≥ 0 points")),
        ("beyond_one_lsb", 0.0, 0.001, None, ("0 %", "", "≥ 0.1 %")),
        ("zeros", 15_571, 15_571, None, ("15,571", "", "≥ 15,571")),
        ("training_warnings", 2, 0, None, ("2", "", "≥ 0")),
        ("latency_ratio", 1.0625, 1.05, None, ("1.062", "", "≥ 1.05")),
        ("agreement", None, 0.98, None, ("not measured", "", "≥ 98 %")),
    ],
)
def test_gates_are_told_in_words_and_units_of_a_reader(name, observed, limit, samples, told):
    found = Gate(
        name=name, passed=False, observed=observed, limit=limit, relation=">=", subject="a file", samples=samples
    )
    assert (requirements.observed(found), requirements.counted(found), requirements.limit(found)) == told
    assert requirements.title(found) != name
    assert requirements.limit(found.model_copy(update={"relation": "<="})).startswith("≤ ")


def test_every_gate_of_a_file_has_a_name_for_readers(summary):
    comparison = summary.comparisons[3]
    held = KernelValues(
        weights=4,
        zeros=2,
        sparsity=0.5,
        distinct_values=3,
        distinct_per_channel=2,
        zeros_by_kernel=(2,),
        distinct_by_kernel=(2,),
    )
    file = summary.artifacts[3].model_copy(update={"kernels": held})
    made = (
        *gates.same_network_gates(comparison, max_beyond_one_lsb=0.001, min_agreement=0.995),
        *gates.accuracy_gates(
            [comparison.candidate], [comparison], max_accuracy_drop=0.01, min_agreement=0.98, min_accuracy=0.9
        ),
        gates.pruned_gate(file, held),
        gates.clustered_gate(file, held),
    )
    quality = Reconstruction(mse=1.0, auc=Interval(value=0.9, low=0.8, high=0.95), normal=50, anomalous=60)
    reconstructed = gates.reconstruction_gates(
        comparison,
        quality,
        reference=quality,
        min_sqnr_db=25.0,
        max_auc_drop=0.01,
        min_auc=0.85,
    )
    made = (*made, *reconstructed)
    assert {each.name for each in made} == set(requirements._KNOWN) - {"training_warnings"}
    judged = alone(summary.model_copy(update={"gates": made}))
    page, text = Page(html_report.render(judged)).text, markdown.render(judged)
    for each in made:
        assert f"{requirements.title(each)} {each.name}" in page
        assert f"| {requirements.title(each)} ({each.name}) |" in text
    assert "98.74 % (9,874 of 10,000 samples)" in text


def gate(*, passed: bool) -> Gate:
    return Gate(name="agreement", passed=passed, observed=0.9, limit=0.98, relation=">=", subject="student-int8.onnx")


MATCH = "the files match the networks they were made from, within the recipe's limits"


TRAINING = Gate(name="training_warnings", passed=True, observed=0, limit=0, relation="<=", subject="run")


@pytest.mark.parametrize(
    ("gates", "state", "text"),
    [
        ((TRAINING,), "passed", "The gate held"),
        ((gate(passed=True), TRAINING), "passed", f"All 2 gates held: {MATCH}"),
        ((), "unchecked", "No gate was checked"),
        ((gate(passed=True),), "passed", f"The gate held: {MATCH}"),
        ((gate(passed=True), gate(passed=True)), "passed", f"All 2 gates held: {MATCH}"),
        ((gate(passed=True), gate(passed=False)), "failed", "1 of 2 gates failed"),
    ],
)
def test_the_verdict_is_that_of_the_gates(summary, gates, state, text):
    found = headline.verdict(summary.model_copy(update={"gates": gates}))
    assert (found.state, found.text) == (state, text)
    about_files = all(each.name == "agreement" for each in gates)
    limit = headline.limit(summary.model_copy(update={"gates": gates}))
    assert ("They do not say that these are good" in limit) == about_files
    short = headline.verdict(summary, summary.model_copy(update={"gates": gates, "smoke": True}))
    assert short.text.endswith("The numbers of a smoke run mean nothing: it shows that every stage works")


def test_the_headline_words_a_gain_by_its_paired_interval_as_the_table_does(summary):
    # 89.5 % lies inside the interval of 89.93 % in all three.
    for words, low, high in (("better", 0.001, 0.008), ("worse", -0.008, -0.001), ("within noise", -0.001, 0.008)):
        gains = {"student_distilled": Interval(value=(low + high) / 2, low=low, high=high)}
        note = headline.facts(summary.model_copy(update={"gains": gains}))[0].note
        assert f"above the student on labels ({words})," in note
        # The step from the teacher has what was lost, the other way round.
        drop = Interval(value=-(low + high) / 2, low=-high, high=-low)
        rows = tuple(
            row.model_copy(update={"accuracy_drop": drop}) if row.name == "student_distilled" else row
            for row in summary.stages
        )
        note = headline.facts(summary.model_copy(update={"stages": rows}))[0].note
        assert note.endswith(f"below the teacher ({words})")
    alone = headline.facts(summary.model_copy(update={"gains": {}, "stages": ()}))[0].note
    assert "above the student on labels (inside its interval)," in alone
    assert alone.endswith("below the teacher")  # which is outside


def test_the_headline_says_where_a_gain_is_within_the_uncertainty(summary):
    accuracy = headline.facts(summary)[0]
    assert accuracy.value == "89.93 %"
    assert accuracy.note == (
        "0.43 points above the student on labels (within noise), 2.38 points below the teacher (worse)"
    )


def test_the_headline_names_the_smallest_and_the_fastest_file(summary):
    _, network, smallest, fastest = headline.facts(summary)
    assert network.note == "15.6 times fewer than the teacher, 15.2 times fewer MACs"
    assert (smallest.value, smallest.note) == ("29.2 KiB", "student-int8.tflite")
    assert (fastest.value, fastest.note) == ("0.0731 ms", "student-int8.tflite, local, 1 thread")


def test_the_headline_says_which_files_may_be_as_fast(summary):
    """Neither another machine's numbers nor a number whose interval overlaps make a file the fastest."""
    other = tuple(
        each.model_copy(
            update={"target": "ssh://fast", "latency_ms": each.latency_ms.model_copy(update={"p50": 0.001})}
        )
        for each in summary.measurements
    )
    both = summary.model_copy(update={"measurements": summary.measurements + other})
    assert headline.facts(both)[3] == headline.facts(summary)[3]
    wide = tuple(
        each.model_copy(
            update={
                "latency_ms": each.latency_ms.model_copy(
                    update={"interval": Interval(value=each.latency_ms.p50, low=0.01, high=9.0)}
                )
            }
        )
        if each.artifact == "student-int8.onnx"
        else each
        for each in summary.measurements
    )
    note = headline.facts(summary.model_copy(update={"measurements": wide}))[3].note
    assert note == "student-int8.tflite, local, 1 thread; student-int8.onnx may be as fast"


def test_reports_say_what_sustained_and_periodic_measurements_found(summary):
    changed = {
        "mode": "sustained",
        "minute_medians_ms": (1.0, 1.5),
        "throttled": True,
        "late_runs": 3,
        "interval_ms": 33.0,
    }
    measured = tuple(each.model_copy(update=changed) for each in summary.measurements[:1])
    told = summary.model_copy(update={"measurements": measured})
    for text in (Page(html_report.render(alone(told))).text, markdown.render(alone(told))):
        assert "it slowed down (throttling)" in text
        assert "runs could not start in time" in text


@pytest.mark.parametrize(
    ("parameters", "macs", "note"),
    [
        (309_450, 100, "as many as the teacher, 381,000 times fewer MACs"),
        (464_175, 76_200_000, "1.50 times as many as the teacher, 2.00 times as many MACs"),
    ],
)
def test_the_headline_does_not_call_a_large_student_small(summary, parameters, macs, note):
    teacher = summary.models["teacher"].model_copy(update={"parameters": 309_450, "macs": 38_100_000})
    student = summary.models["student_distilled"].model_copy(update={"parameters": parameters, "macs": macs})
    models = {"teacher": teacher, "student_distilled": student}
    assert headline.facts(summary.model_copy(update={"models": models}))[1].note == note


def test_what_sparsity_was_worth_is_told(summary):
    held = KernelValues(
        weights=19_464,
        zeros=15_571,
        sparsity=0.8,
        distinct_values=1_844,
        distinct_per_channel=82,
        zeros_by_kernel=(15_571,),
        distinct_by_kernel=(82,),
    )
    student = summary.models["student_distilled"].model_copy(
        update={"role": "student_sparse", "parameters": 9_046, "kernels": held}
    )
    artifacts = tuple(
        each.model_copy(update={"gzip_bytes": 22_426, "kernels": held if each.format == "tflite" else None})
        for each in summary.artifacts
    )
    sparse = summary.model_copy(
        update={"models": {**summary.models, "student_sparse": student}, "artifacts": artifacts}
    )
    text = markdown.render(alone(sparse)).partition("## Sparsity")[2].partition("##")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows[0] == "| Sparse student | 19,464 | 80.00 % | 1,844 | 82 | not measured | not measured |"
    assert len(rows) == 1 + len(artifacts)
    assert all("21.9 KiB" in row for row in rows[1:])
    assert sum("19,464" in row for row in rows[1:]) == sum(each.format == "tflite" for each in artifacts)
    assert 'id="sparsity"' in html_report.render(alone(sparse))
    assert headline.facts(sparse)[1].value == "9,046"
    assert 'id="sparsity"' not in html_report.render(alone(summary))
    assert "## Sparsity" not in markdown.render(alone(summary))


def test_writing_puts_both_pages_into_the_folder(summary, tmp_path):
    html_path, markdown_path = report.write(alone(summary), tmp_path)
    assert html_path.read_text(encoding="utf-8") == html_report.render(alone(summary))
    assert markdown_path.read_text(encoding="utf-8") == markdown.render(alone(summary))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_an_unwritable_place_is_said(summary, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        report.write(alone(summary), tmp_path / "file")


def test_a_report_needs_no_tensorflow(summary, tmp_path):
    summary.write(tmp_path / "summary.json")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('tensorflow', 'keras', 'tf_keras', 'tensorflow_datasets'): sys.modules[name] = None\n"
        "from edgekd import report\n"
        "from edgekd.report.runs import read\n"
        "report.write(read([Path(sys.argv[1])]), Path(sys.argv[1]).parent)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "summary.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").is_file()
