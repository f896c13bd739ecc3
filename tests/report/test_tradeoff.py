"""Accuracy against what it costs, and the front of the best files."""

import itertools
import random

import plotly.graph_objects
import pytest

from edgekd.records import Summary
from edgekd.report import document, markdown, tradeoff
from edgekd.report import html as html_report
from edgekd.report.front import front
from edgekd.report.runs import ReportedRun

COSTS = {cost.key: cost for cost in tradeoff.COSTS}


def alone(summary: Summary) -> list[ReportedRun]:
    return [ReportedRun(summary, summary.name)]


def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def test_the_front_is_what_no_other_point_beats() -> None:
    draw = random.Random(3)  # noqa: S311 - a test's points
    for _ in range(200):
        points = [(float(draw.randrange(6)), float(draw.randrange(6))) for _ in range(draw.randrange(1, 9))]
        expected = {at for at, point in enumerate(points) if not any(beats(other, point) for other in points)}
        kept = front(points)
        assert set(kept) == expected
        assert all(points[one] <= points[other] for one, other in itertools.pairwise(kept))
    assert front([]) == ()


# By hand from the table of conftest.py: (milliseconds, accuracy), and so on.
@pytest.mark.parametrize(
    ("cost", "names"),
    [
        ("latency", ["student-int8.tflite", "student-float32.onnx"]),
        (
            "size",
            [
                "student-int8.tflite",
                "student-dynamic_int8.tflite",
                "student-float16.tflite",
                "student-float32.onnx",
            ],
        ),
        # All need the same, these two are the best.
        ("memory", ["student-float32.tflite", "student-float32.onnx"]),
    ],
)
def test_the_best_files_of_each_cost(summary, cost, names):
    (found,) = tradeoff.fronts(alone(summary), COSTS[cost])
    assert [point.artifact.name for point in found.points] == names
    assert [point.artifact for point in document.document(alone(summary)).fronts[cost]] == names


def test_files_are_not_ranked_by_what_is_nearly_all_the_interpreters(summary):
    assert tradeoff.graph(alone(summary), COSTS["peak_memory"]) is not None
    assert tradeoff.fronts(alone(summary), COSTS["peak_memory"]) == []
    assert "peak_memory" not in document.document(alone(summary)).fronts


def test_it_is_said_that_a_front_knows_nothing_of_intervals(summary):
    words = "by the estimates; files whose intervals overlap may be as good"
    for text in (html_report.render(alone(summary)), markdown.render(alone(summary))):
        assert words in text


def test_points_lie_at_cost_and_accuracy_with_their_intervals(summary):
    sizes, latencies, memory, measured = (
        {trace["name"]: trace for trace in tradeoff.graph(alone(summary), COSTS[key])["data"]}
        for key in ("size", "latency", "memory", "peak_memory")
    )
    point = sizes["ONNX, int8"]
    assert point["x"] == [pytest.approx(38_442 / 1024)]
    assert point["y"] == [pytest.approx(89.58)]
    assert point["error_y"]["array"] == [pytest.approx(0.14)]
    assert latencies["ONNX, int8"]["x"] == [pytest.approx(0.1466)]
    assert latencies["ONNX, int8"]["error_x"]["array"] == [pytest.approx(0.049 * 0.1466)]
    assert latencies["ONNX, int8"]["error_x"]["arrayminus"] == [pytest.approx(0.045 * 0.1466)]
    assert memory["ONNX, int8"]["x"] == [12_544 / 1024]
    assert measured["ONNX, int8"]["x"] == [pytest.approx(54_345_728 / 1024**2)]


def test_the_teacher_and_the_baselines_are_shown(summary):
    sizes, latencies = (
        {trace["name"]: trace for trace in tradeoff.graph(alone(summary), COSTS[key])["data"]}
        for key in ("size", "latency")
    )
    for name, accuracy, parameters in (
        ("Teacher", 92.31, 309_450),
        ("Student on labels", 89.5, 19_834),
        ("Distilled student", 89.93, 19_834),
    ):
        assert latencies[name]["y"] == [pytest.approx(accuracy)] * 2  # a line: its latency is not known
        assert sizes[name]["y"] == [pytest.approx(accuracy)]
        assert sizes[name]["x"] == [pytest.approx(4 * parameters / 1024)]
        assert sizes[name]["error_y"]["array"] == [pytest.approx(1.17)]


def test_what_was_not_measured_has_no_graph(summary, unmeasured):
    assert all(tradeoff.graph(alone(unmeasured), cost) is None for cost in tradeoff.COSTS)
    assert document.document(alone(unmeasured)).fronts == {}
    untold = tuple(each.model_copy(update={"peak_memory_bytes": None}) for each in summary.measurements)
    assert tradeoff.graph(alone(summary.model_copy(update={"measurements": untold})), COSTS["peak_memory"]) is None
    without = summary.model_copy(update={"measurements": ()})
    assert tradeoff.graph(alone(without), COSTS["latency"]) is None
    assert tradeoff.graph(alone(without), COSTS["size"]) is not None


def looks(runs: list[ReportedRun]) -> dict[tuple[str, str], set[str]]:
    """Returns the runs that have points of each colour and symbol."""
    drawn = tradeoff.graph(runs, COSTS["size"])
    plotly.graph_objects.Figure(drawn)  # which checks every symbol
    found: dict[tuple[str, str], set[str]] = {}
    for trace in drawn["data"]:
        if "file" in trace.get("meta", {}):
            found.setdefault((trace["marker"]["color"], trace["marker"]["symbol"]), set()).add(trace["meta"]["run"])
    return found


def test_runs_and_files_of_one_colour_have_other_symbols(summary):
    runs = [ReportedRun(summary, f"run {number}") for number in range(20)]
    of_runs = looks(runs)
    assert len(of_runs) == 2 * 20  # TFLite and ONNX
    assert all(len(each) == 1 for each in of_runs.values())
    assert len({colour for colour, _ in of_runs}) == 8
    files = tuple(summary.artifacts[0].model_copy(update={"name": f"file {number}"}) for number in range(9))
    many = summary.model_copy(update={"artifacts": files})
    assert len(looks(alone(many))) == 9
    words = "Colours repeat after 8; points are then marked with a cross, an x and a dot, in this order."
    for told in (runs, alone(many)):
        assert words in html_report.render(told)
    assert "Colours repeat" not in html_report.render(runs[:8])


def test_each_run_has_an_entry_in_the_legend_that_no_format_hides(summary):
    data = tradeoff.graph([ReportedRun(summary, name) for name in ("one", "two")], COSTS["size"])["data"]
    entries = [trace for trace in data if trace.get("showlegend", True) and "front" not in trace["meta"]]
    assert [(trace["name"], trace["meta"]) for trace in entries] == [
        ("one", {"run": "0", "format": "", "scheme": ""}),
        ("two", {"run": "1", "format": "", "scheme": ""}),
    ]
