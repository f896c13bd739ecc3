"""Confusion matrices, and the samples on which models disagree."""

import base64
import dataclasses
import html.parser
import io
import zipfile

import numpy as np
import PIL.Image
import pytest

from edgekd import predictions as kept
from edgekd import report
from edgekd.errors import StorageError
from edgekd.predictions import Predictions
from edgekd.records import Summary
from edgekd.report import confusion, disagreements, document, markdown
from edgekd.report import html as html_report
from edgekd.report.runs import ReportedRun, opened
from tests.report.test_pages import Page, figures_of

LABELS = np.array([0, 1, 2, 1, 0, 2, 3, 3])
CLASSES = {
    "teacher": np.array([0, 1, 2, 1, 0, 2, 3, 1]),
    "student_distilled": np.array([0, 1, 2, 2, 0, 2, 1, 1]),
    "student-int8.tflite": np.array([0, 1, 2, 2, 1, 2, 1, 3]),
}
# Counted by hand: a sample of class 0, 1 and 3 is named 1, 2 and 1.
MATRIX = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 1, 0, 1]]


@pytest.fixture(scope="module")
def found() -> Predictions:
    images = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5, 1)
    return Predictions(LABELS, CLASSES, compared=tuple(CLASSES), shown=np.array([4, 7, 3, 6]), images=images)


@pytest.fixture(scope="module")
def run(summary: Summary, found: Predictions) -> ReportedRun:
    return ReportedRun(summary, summary.name, found)


def test_they_are_read_as_they_were_written_and_always_in_the_same_bytes(found, tmp_path):
    found.write(tmp_path / "one.npz")
    found.write(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = Predictions.read(tmp_path / "one.npz")
    assert again.compared == found.compared
    assert list(again.classes) == list(CLASSES)
    for name, classes in CLASSES.items():
        np.testing.assert_array_equal(again.classes[name], classes)
    np.testing.assert_array_equal(again.labels, LABELS)
    np.testing.assert_array_equal(again.images, found.images)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": LABELS[:-1]},
        {"shown": np.array([4, 7, 3, 8])},
        {"compared": ("teacher", "nobody")},
        {"images": np.zeros((3, 3, 5, 1), np.uint8)},
        {"images": np.zeros((4, 3, 5, 2), np.uint8)},
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused(found, tmp_path, change):
    dataclasses.replace(found, **change).write(tmp_path / "wrong.npz")
    with pytest.raises(StorageError, match="does not hold a run's predictions"):
        Predictions.read(tmp_path / "wrong.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array(3)},
        {"labels": np.array(["one"] * 8)},
        {"labels": LABELS - 1},
        {"classes_1": LABELS - 4},
        {"classes_1": LABELS.astype(np.float32)},
        {"names": np.array("teacher")},
        {"compared": np.array([1, 2])},
        {"shown": np.array([-5, 0, 1, 2])},
        {"images": np.zeros((4, 0, 5, 1), np.uint8)},
    ],
    ids=str,
)
def test_arrays_that_no_run_writes_are_refused(found, tmp_path, change):
    path = tmp_path / "foreign.npz"
    found.write(path)
    with np.load(path) as written:
        np.savez(path, **{**written, **change})
    with pytest.raises(StorageError, match="does not hold a run's predictions"):
        Predictions.read(path)


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        (b"(8,)", b"(9000000000000,)"),  # of 16 TiB
        (b"(8,)", b"(%d,)" % 10**40),  # of more than an index can say
        (b"(8,), }", b"(8"),  # cut off within a bracket
        (b"'<u2'", b"()"),
        (b"(8,)", b"{[]: 8}"),
        (b"NUMPY", b"NUMBY"),  # numpy takes it for a file of another kind
    ],
)
def test_damaged_headers_are_refused_and_never_a_traceback(found, tmp_path, written, damaged):
    found.write(tmp_path / "whole.npz")
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "cut.npz", "w") as cut:
        for name in whole.namelist():
            array = whole.read(name)
            if name == "labels.npy":
                assert written in array
                header = array[10:128].replace(written, damaged).rstrip().ljust(117) + b"\n"
                array = array[:10].replace(written, damaged) + header + array[128:]
            cut.writestr(name, array)
    with pytest.raises(StorageError, match="does not hold a run's predictions"):
        Predictions.read(tmp_path / "cut.npz")


def test_a_single_array_under_their_name_is_refused(tmp_path):
    with (tmp_path / "renamed.npz").open("wb") as file:
        np.save(file, LABELS)
    with pytest.raises(StorageError, match="no complete"):
        Predictions.read(tmp_path / "renamed.npz")


def _of_eight(summary: Summary, path: str) -> Summary:
    data = summary.data.model_copy(update={"test": len(LABELS)})
    return summary.model_copy(update={"predictions_path": path, "data": data})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": 9}, "of 8 samples, and the run&#39;s test split has 9"),
        ({"class_names": ("T-shirt", "Trouser", "Pullover")}, "a class that is not among the run&#39;s 3"),
    ],
    ids=str,
)
def test_predictions_of_another_run_are_told_and_not_shown(summary, found, tmp_path, change, words):
    told = _of_eight(summary, "predictions.npz")
    found.write(tmp_path / "predictions.npz")
    other = opened(told.model_copy(update={"data": told.data.model_copy(update=change)}), tmp_path)
    assert other.predictions is None
    assert words in html_report.render([other])


def test_predictions_outside_the_folder_of_the_summary_are_not_read(summary, found, tmp_path):
    folder = tmp_path / "mailed"
    folder.mkdir()
    secret = tmp_path / "secret.npz"
    found.write(secret)
    (folder / "link.npz").symlink_to(secret)
    for path in (str(secret), "../secret.npz", "link.npz"):
        outside = opened(_of_eight(summary, path), folder)
        assert outside.predictions is None
        assert "not inside the folder of the summary" in markdown.render([outside])


def test_a_damaged_file_is_told_and_the_run_shown_without_it(summary, found, tmp_path):
    told = _of_eight(summary, "verify/predictions.npz")
    path = tmp_path / "verify" / "predictions.npz"
    found.write(path)
    assert opened(told, tmp_path).predictions is not None
    path.write_bytes(path.read_bytes()[:-40])
    damaged = opened(told, tmp_path)
    assert damaged.predictions is None
    assert "damaged" in html_report.render([damaged])
    assert "damaged" in markdown.render([damaged])
    assert "earlier version" in opened(summary, tmp_path).no_predictions


def test_those_that_the_last_two_disagree_on_come_first():
    # Sample 4: last two only; 3 and 6: the teacher against the others; 7: all three.
    assert kept.chosen(list(CLASSES.values())).tolist() == [4, 7, 3, 6]
    assert kept.chosen(list(CLASSES.values()), most=2).tolist() == [4, 3]
    assert kept.chosen([LABELS]).tolist() == []
    assert kept.chosen([LABELS, LABELS]).tolist() == []


def test_they_are_spread_over_all_there_are():
    ones, twos = np.ones(1000, np.int64), np.full(1000, 2)
    assert kept.chosen([ones, twos], most=4).tolist() == [0, 250, 500, 750]


def test_the_matrix_counts_what_is_and_what_was_named():
    np.testing.assert_array_equal(confusion.matrix(LABELS, CLASSES["student-int8.tflite"], 4), MATRIX)


def test_the_document_holds_the_matrices(run):
    (told,) = document.document([run]).runs
    assert list(told.confusion) == ["student-int8.tflite", "teacher", "student_distilled"]
    assert [row[:4] for row in told.confusion["student-int8.tflite"][:4]] == [tuple(row) for row in MATRIX]
    assert sum(sum(row) for row in told.confusion["teacher"]) == len(LABELS)


def test_a_graph_holds_each_matrix_and_shows_the_first(run):
    hostile = run.summary.data.model_copy(update={"class_names": ("<b>Shirt</b>", "Coat", "Bag", "Boot")})
    drawn = confusion.graph(dataclasses.replace(run, summary=run.summary.model_copy(update={"data": hostile})))
    assert [trace["visible"] for trace in drawn["data"]] == [True, False, False]
    assert drawn["data"][0]["z"] == MATRIX
    # Of which page.js tells each cell; tests/report/test_browser.py reads it there.
    assert drawn["layout"]["meta"]["classes"] == ["&lt;b&gt;Shirt&lt;/b&gt;", "Coat", "Bag", "Boot"]


def test_the_table_names_the_most_frequent_confusions(run):
    headers, rows = confusion.table_of(run)
    assert headers == ("Is", "Named", "student-int8.tflite", "Distilled student", "Teacher")
    assert rows == [
        ("T-shirt", "Trouser", "1", "0", "0"),
        ("Trouser", "Pullover", "1", "1", "0"),
        ("Dress", "Trouser", "1", "2", "1"),
    ]
    assert "| Dress | Trouser | 1 | 2 | 1 |" in markdown.render([run])


def test_each_cell_of_a_matrix_is_in_a_table(run, summary):
    # MATRIX row by row, by hand.
    assert confusion.classes_of(run, np.array(MATRIX))[:4] == [
        ("T-shirt", "1 of 2", "Trouser: 1"),
        ("Trouser", "1 of 2", "Pullover: 1"),
        ("Pullover", "2 of 2", "–"),
        ("Dress", "1 of 2", "Trouser: 1"),
    ]
    assert confusion.classes_of(run, np.array([[5, 1, 0, 2_000]]))[0][1:] == ("5 of 2,006", "Dress: 2,000, Trouser: 1")
    page = Page(html_report.render([run])).text
    for title in ("student-int8.tflite", "Teacher", "Distilled student"):
        assert f"{title}: what test samples were named" in page
    assert "Dress 1 of 2 Trouser: 1" in page


def test_samples_show_what_each_model_says(run):
    shown = disagreements.disagreements(run)
    counts = (
        "Of 8 test samples, Teacher and Distilled student disagree on 2, Teacher and student-int8.tflite on 4, "
        "Distilled student and student-int8.tflite on 2"
    )
    assert shown.told == f"{counts}; 4 samples are shown."
    assert shown.told in Page(html_report.render([run])).text
    assert f"{counts}." in markdown.render([run])
    assert disagreements.disagreements(run, most=1).told.endswith("; 1 sample is shown.")
    assert disagreements.disagreements(run, most=0).told == f"{counts}."
    first = shown.samples[0]
    assert (first.position, first.label) == (4, "T-shirt")
    assert [(each.named, each.right) for each in first.opinions] == [
        ("T-shirt", True),
        ("T-shirt", True),
        ("Trouser", False),
    ]


class Images(html.parser.HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


def test_the_page_holds_the_images_with_words_for_them(run, found):
    shown = Images(html_report.render([run])).found
    assert [image["alt"] for image in shown] == [
        f"Test sample {at}, of class {name}"
        for at, name in ((4, "T-shirt"), (7, "Dress"), (3, "Trouser"), (6, "Dress"))
    ]
    for image, expected in zip(shown, found.images, strict=True):
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        np.testing.assert_array_equal(
            np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content)))), expected[..., 0]
        )


def test_samples_that_are_no_images_are_named_only(run, found):
    bare = dataclasses.replace(run, predictions=dataclasses.replace(found, images=None))
    page = html_report.render([bare])
    assert not Images(page).found
    assert "The samples of this run are no images" in page


def test_nothing_is_drawn_for_pages_that_do_not_show_it(run, monkeypatch):
    def draw(*_, **__):
        raise AssertionError("drawn for nothing")

    monkeypatch.setattr(disagreements, "_png", draw)
    monkeypatch.setattr(confusion, "_trace", draw)
    with pytest.raises(AssertionError, match="for nothing"):
        html_report.render([run])
    assert "disagree on 2" in markdown.render([run])
    many = [dataclasses.replace(run, label=f"run {number}") for number in range(html_report.MOST_DETAILED + 1)]
    assert "Of so many runs only what they have in common is shown." in html_report.render(many)


@pytest.fixture(scope="module")
def hundred(summary: Summary) -> ReportedRun:
    """A run of 100 classes with ten networks and files of 60 operators, and of images that no PNG makes smaller."""
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 100)
    artifacts = tuple(
        each.model_copy(update={"name": f"{number}-{each.name}", "operators": each.operators * 20})
        for number, each in enumerate((*summary.artifacts, summary.artifacts[0]))
    )
    names = (*summary.models, *(each.name for each in artifacts))
    assert len(names) == 10
    classes = {name: np.where(draw.random(10_000) < 0.6, labels, draw.integers(100, size=10_000)) for name in names}
    data = summary.data.model_copy(update={"class_names": tuple(f"a class of {at}" for at in range(100))})
    images = draw.integers(256, size=(kept.MOST_SHOWN, 64, 64, 3), dtype=np.uint8)
    found = Predictions(labels, classes, names[-3:], np.arange(kept.MOST_SHOWN), images)
    return ReportedRun(summary.model_copy(update={"data": data, "artifacts": artifacts}), "hundred", found)


def test_a_page_of_a_hundred_classes_and_ten_models_has_all_matrices_and_stays_below_6_megabytes(hundred, tmp_path):
    (path,) = report.write([hundred], tmp_path, formats=["html"])
    assert path.stat().st_size < 6_000_000
    page = path.read_text(encoding="utf-8")
    drawn = figures_of(page)["plot-confusion"]["data"]
    assert [np.sum(trace["z"]) for trace in drawn] == [10_000] * 10
    assert page.count('<option value="') == 10
    assert page.count("what test samples were named</caption>") == 1
    last = hundred.predictions.compared[-1]
    assert f"Those of {last} are in the table below." in page
    assert "Of more than 25 classes there is this table only." in page
    assert len(Images(page).found) == kept.MOST_SHOWN


def test_a_page_that_would_be_too_large_draws_one_matrix_and_says_so(hundred, monkeypatch):
    monkeypatch.setattr(html_report, "MOST_BYTES", len(html_report.render([hundred]).encode()) - 1)
    page = html_report.render([hundred])
    assert len(page.encode()) <= html_report.MOST_BYTES
    assert len(figures_of(page)["plot-confusion"]["data"]) == 1
    assert f"Only the matrix of {hundred.predictions.compared[-1]} is drawn: with all 10 this page would be" in page
    assert page.count("what test samples were named</caption>") == 1
    assert "<select" not in page.partition("<script")[0]
    assert "<figcaption>Rows are the classes" in page  # its other details stay


def test_of_very_many_classes_no_matrix_is_drawn(run, summary):
    names = tuple(f"class {number}" for number in range(confusion.MOST_CLASSES + 1))
    data = summary.data.model_copy(update={"class_names": names})
    many = dataclasses.replace(run, summary=summary.model_copy(update={"data": data}))
    assert confusion.graph(many) is None
    page = html_report.render([many])
    assert "No confusion matrix is drawn of more than 100 classes" in page
    assert "class 3" in page
