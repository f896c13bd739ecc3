"""Reports of a real run, opened in a real browser from the file system, without a network."""

import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekd import report
from edgekd.pipeline import RunResult
from edgekd.predictions import Predictions
from edgekd.records import Summary
from edgekd.report import html
from edgekd.report.runs import ReportedRun, read
from tests.report.test_profiles import THREE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

WIDTHS = (1280, 390)  # a desktop and a phone
LOOKS = ("light", "dark")
MANY = tuple(f"<b>{number}</b> & a name that is long" for number in range(30))

# Where anything reaches out of the window, but for what scrolls by itself or is for screen readers only.
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > width ? [`page: ${document.documentElement.scrollWidth}`] : [];
  for (const element of document.querySelectorAll("body *:not(script):not(style)")) {
    if (element.closest(".scroll, .quiet, .hoverlayer, defs, clipPath, #js-plotly-tester")) continue;
    const box = element.getBoundingClientRect();
    if (box.width && box.height && (box.left < -1 || box.right > width + 1)) {
      found.push(`${element.tagName} ${element.className?.baseVal ?? element.className} ${box.left} to ${box.right}`);
    }
  }
  return found;
}"""

# Which texts of a graph lie on each other or are cut off, and which blocks of the page lie on each other.
OVERLAPS = """() => {
  const over = (a, b, by) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > by
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > by;
  const found = [];
  const compare = (elements, by) => {
    const boxes = elements.map((element) => [element.textContent.trim().slice(0, 40), element.getBoundingClientRect()])
      .filter(([_, box]) => box.width && box.height);
    boxes.forEach(([name, box], at) => boxes.slice(at + 1).forEach(([other, next]) => {
      if (over(box, next, by)) found.push(`${name} | ${other}`);
    }));
  };
  for (const plot of document.querySelectorAll(".plot")) {
    const whole = plot.getBoundingClientRect();
    for (const text of plot.querySelectorAll(".main-svg text")) {
      const box = text.getBoundingClientRect();
      if (box.width && (box.left < whole.left - 2 || box.right > whole.right + 2 || box.bottom > whole.bottom + 2)) {
        found.push(`${plot.id}: ${text.textContent} is cut off`);
      }
    }
    // The box of a slanted text is much larger than the text.
    compare([...plot.querySelectorAll(".main-svg text")].filter((text) => !/rotate\\((?!0)/.test(text.outerHTML)), 2);
  }
  for (const parent of document.querySelectorAll("main, article, section, .plots, figure, .facts, .samples, .filter")) {
    compare([...parent.children].filter((child) => !child.matches("script, style")), 1);
  }
  return found;
}"""

# Figures that were left empty, and pictures without words.
EMPTY = """() => [
  ...[...document.querySelectorAll(".plot")].filter((plot) => !plot.querySelector(
    ".trace path, .points path, .heatmaplayer image, .barlayer path, .scatterlayer path")).map((plot) => plot.id),
  ...[...document.querySelectorAll(".plot:not([role=img][aria-label]), img:not([alt]), img[alt='']")]
    .map((each) => `${each.tagName} ${each.id}`),
  ...[...document.images].filter((image) => !image.naturalWidth).map((image) => image.alt),
]"""

# How far text stands out from its ground, as WCAG reckons it; the least of all visible texts outside graphs.
CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = "main p, main th, main td, main dt, main dd, main li, h1, h2, a, span";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.textContent.trim() || element.closest(".plot, .quiet")) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.className} ${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@dataclasses.dataclass
class Opened:
    """A page in the browser, and what it asked for and complained of."""

    page: "Page"
    requests: list[str]
    complaints: list[str]


@pytest.fixture(scope="module")
def browser(chromium_program: str) -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=chromium_program, args=options)
        yield started
        started.close()


def open_page(browser: "Browser", path: Path) -> Opened:
    page = browser.new_page(offline=True, viewport={"width": WIDTHS[0], "height": 900})
    opened = Opened(page, [], [])
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.goto(path.as_uri())
    drawn(page)
    return opened


def drawn(page: "Page") -> None:
    """Waits until graphs have the width that they should, and two frames have been shown."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg')"
        " && Math.abs(plot.querySelector('.main-svg').getBoundingClientRect().width - plot.clientWidth) <= 1)"
    )
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture(scope="module")
def alone(browser: "Browser", finished: RunResult) -> Opened:
    """The page that a run writes."""
    return open_page(browser, finished.folder / report.HTML_FILE)


@pytest.fixture(scope="module")
def together(browser: "Browser", finished: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The page of that run and of a copy with another name, as if of other data."""
    folder = tmp_path_factory.mktemp("together")
    other = Path(shutil.copytree(finished.folder, folder / "other"))
    data = finished.summary.data.model_copy(update={"fingerprint": "cd" * 32})
    finished.summary.model_copy(update={"name": "the other", "data": data}).write(other / "summary.json")
    (path,) = report.write(read([finished.folder, other]), folder, formats=["html"])
    return open_page(browser, path)


@pytest.fixture(scope="module")
def reconstructed(browser: "Browser", reconstructing: Summary, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The page of a made-up run of autoencoders."""
    path = tmp_path_factory.mktemp("reconstructed") / "report.html"
    path.write_text(html.render([ReportedRun(reconstructing, "anomalies")]))
    return open_page(browser, path)


@pytest.mark.parametrize("which", ["alone", "together", "reconstructed"])
def test_it_is_whole_at_every_width_and_in_every_light(which: str, request: pytest.FixtureRequest) -> None:
    opened: Opened = request.getfixturevalue(which)
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        drawn(opened.page)
        assert opened.page.evaluate(OUTSIDE) == [], width
        assert opened.page.evaluate(OVERLAPS) == [], width
    grounds = []
    for look in LOOKS:
        opened.page.emulate_media(color_scheme=look)
        assert opened.page.evaluate(CONTRAST) == [], look
        grounds.append(opened.page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
    assert opened.page.evaluate(EMPTY) == []
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [opened.page.url]
    assert opened.page.url.startswith("file:")


def point_at(page: "Page", selector: str, across: float = 0.5, down: float = 0.5) -> str:
    """Returns what a graph says of the mark that the mouse is put on, so far across it and down."""
    mark = page.locator(selector).first
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    label = page.locator(".hoverlayer .hovertext").first
    label.wait_for()
    return label.text_content() or ""


def test_graphs_say_the_values_that_are_pointed_at(alone: Opened, finished: RunResult) -> None:
    page, summary = alone.page, finished.summary
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    drawn(page)
    said = point_at(page, "#plot-latency .scatterlayer .trace:last-child .points path")
    artifact, latency = summary.artifacts[-1], summary.measurements[-1].latency_ms
    assert artifact.accuracy is not None
    assert f"{latency.p50:#.4g} ms, {100 * artifact.accuracy:.2f} %" in said  # which keeps zeros at the end
    assert artifact.name in said
    said = point_at(page, "#plot-methods .points path")
    assert f"{100 * (summary.models['teacher'].accuracy or 0):.2f} %" in said
    # The middle of the matrix is the middle one of three classes.
    said = point_at(page, "#plot-confusion .heatmaplayer image")
    (run,) = read([finished.folder])
    assert run.predictions is not None
    named = run.predictions.classes[run.predictions.compared[-1]][run.predictions.labels == 1]
    name, count = summary.data.class_names[1], np.count_nonzero(named == 1)
    assert said == f"{name} named as {name}: {count} of {len(named)} ({100 * count / len(named):.1f} %)"


def test_graphs_of_auc_say_it_as_a_fraction(reconstructed: Opened) -> None:
    page = reconstructed.page
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    drawn(page)
    said = point_at(page, "#plot-size .scatterlayer .trace:last-child .points path")
    assert "80.97 KiB, 0.889" in said  # 82,911 bytes
    assert "0.912, 0.886 to 0.939" in point_at(page, "#plot-methods .points path")


def test_a_confusion_matrix_can_be_chosen_with_the_keyboard(alone: Opened) -> None:
    page = alone.page
    select = page.locator("#confusion-of")
    select.focus()
    page.keyboard.press("ArrowDown")
    shown = "() => document.getElementById('plot-confusion').data.map((trace) => trace.visible)"
    page.wait_for_function(f"() => ({shown})()[1]")
    assert page.evaluate(shown)[:2] == [False, True]


def visible_rows(page: "Page") -> list[dict[str, Any]]:
    return page.evaluate(
        "() => [...document.querySelectorAll('.results tr[data-format]')].filter((row) => row.offsetHeight)"
        ".map((row) => ({...row.dataset}))"
    )


def test_the_filter_works_with_the_keyboard(together: Opened, finished: RunResult) -> None:
    page, total = together.page, 2 * (len(finished.summary.models) + len(finished.summary.artifacts))
    assert len(visible_rows(page)) == total
    both = {"Pareto front of each data", finished.summary.name, "the other"}
    names = sizes_of_front(page)
    assert [{name.partition(": ")[0] for name in each} for each in names] == [{finished.summary.name}, {"the other"}]
    page.locator("input[name=format][value=tflite]").uncheck()
    assert set(page.locator("#plot-size .legendtext").all_text_contents()) == both
    page.locator("input[name=format][value=tflite]").check()
    page.locator("input[name=format][value=onnx]").focus()
    page.keyboard.press("Space")
    assert "onnx" not in {row["format"] for row in visible_rows(page)}
    page.keyboard.press("Tab")  # on to the first scheme, float32
    page.keyboard.press("Space")
    assert {row["scheme"] for row in visible_rows(page)} == {"", "int8"}
    page.locator("input[name=run][value='0']").focus()
    page.keyboard.press("Space")
    rows = visible_rows(page)
    assert {row["run"] for row in rows} == {"1"}
    assert f"{len(rows)} of {total} rows shown." in page.locator("#filter-count").inner_text()
    assert set(page.locator("#plot-size .legendtext").all_text_contents()) == both - {finished.summary.name}
    points = page.evaluate(
        "() => document.getElementById('plot-size').data.filter((trace) => trace.meta?.file && trace.visible)"
        ".map((trace) => [trace.meta.run, trace.meta.format, trace.meta.scheme])"
    )
    assert {tuple(each) for each in points} == {("1", "tflite", "int8")}
    assert sizes_of_front(page) == [["none is shown"], ["the other: student-int8.tflite"]]
    page.get_by_role("button", name="Show all").press("Enter")
    page.wait_for_function(f"() => document.getElementById('filter-count').textContent.startsWith('{total} of')")
    assert len(visible_rows(page)) == total
    assert sizes_of_front(page) == names


def sizes_of_front(page: "Page") -> list[list[str]]:
    """Returns the files that the page names as the best of each data in accuracy and size."""
    return [text.split("; ") for text in page.locator("[data-front='plot-size']").all_inner_texts()]


def test_it_prints(alone: Opened, tmp_path: Path) -> None:
    page, path = alone.page, tmp_path / "report.pdf"
    # Added after the page's own listener, and so told what that made of the page.
    page.evaluate(
        "() => addEventListener('beforeprint', () => { window.printed = [...document.querySelectorAll('details')]"
        ".map((each) => each.open && each.lastElementChild.offsetHeight > 0); })"
    )
    opened = "() => [...document.querySelectorAll('details')].map((each) => each.open)"
    before = page.evaluate(opened)
    assert before.count(False) > 5
    page.pdf(path=path, format="A4")
    assert page.evaluate("() => window.printed") == [True] * len(before)
    assert page.evaluate(opened) == before
    content = path.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= content.count(b"/Type /Page\n") + content.count(b"/Type /Page /") + content.count(b"/Type /Page>") <= 30


@pytest.fixture(scope="module")
def made_up(browser: "Browser", summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The page of a run with six files of different worth, a profile, and more classes than have names on an axis.

    One of the four samples of class 7 is named 8.
    """
    labels = np.repeat(np.arange(len(MANY)), 4)
    named = labels + (np.arange(len(labels)) == 4 * 7)
    data = summary.data.model_copy(update={"class_names": MANY, "test": len(labels)})
    run = ReportedRun(
        summary.model_copy(update={"profiles": (THREE,), "data": data}),
        "a run",
        Predictions(labels, {"student_distilled": labels, "student-int8.onnx": named}, ("student-int8.onnx",)),
    )
    path = tmp_path_factory.mktemp("made-up") / "report.html"
    path.write_text(html.render([run]))
    return open_page(browser, path)


def test_the_table_of_results_fits_a_desktop_and_scrolls_in_its_own_box_on_a_phone(made_up: Opened) -> None:
    page, beyond = made_up.page, []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        drawn(page)
        box = "[...document.querySelectorAll('.scroll')].find((each) => each.querySelector('.results'))"
        beyond.append(page.evaluate(f"() => {box}.scrollWidth - {box}.clientWidth"))
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert beyond[0] == 0
    assert beyond[1] > 300


def test_long_names_of_runs_are_whole_in_legends_at_every_width(
    browser: "Browser", summary: Summary, tmp_path: Path
) -> None:
    runs = [ReportedRun(summary, f"mlperf_tiny-anomaly_detection, seed {seed}") for seed in range(2)]
    (tmp_path / "report.html").write_text(html.render(runs))
    opened = open_page(browser, tmp_path / "report.html")
    boxes = (
        "() => [...document.querySelectorAll('#plot-latency .legendtext')].map((each) => each.getBoundingClientRect())"
        ".map(({left, right, top, bottom}) => ({left, right, top, bottom}))"
    )
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        drawn(opened.page)
        edge = opened.page.locator("#plot-latency .legend .bg").bounding_box()  # beyond it names are cut
        found = opened.page.evaluate(boxes)
        assert len(found) >= 3
        assert max(each["right"] for each in found) <= edge["x"] + edge["width"]
        for upper, lower in itertools.pairwise(sorted(found, key=lambda each: each["top"])):
            assert upper["bottom"] <= lower["top"] + 1
    opened.page.close()


def test_on_a_phone_the_first_long_legend_is_open_and_the_others_can_be_opened(made_up: Opened) -> None:
    page = made_up.page

    def entries() -> list[int]:
        return [page.locator(f"#plot-{key} .legendtext").count() for key in ("latency", "size")]

    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    drawn(page)
    assert entries() == [10, 10]
    assert not [each for each in page.locator(".fold").all() if each.is_visible()]
    page.set_viewport_size({"width": WIDTHS[1], "height": 900})
    page.wait_for_function("() => !document.querySelector('#plot-size .legendtext')")
    assert entries() == [10, 0]
    heights = [page.locator(f"#plot-{key}").bounding_box() for key in ("latency", "size")]
    assert heights[1]["height"] + 150 < heights[0]["height"]
    second = page.locator("#results .fold").nth(1)
    assert (second.inner_text(), second.get_attribute("aria-expanded")) == ("Legend of 10 entries", "false")
    second.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#plot-size .legendtext').length === 10")
    assert second.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('#plot-size .legendtext')")
    assert made_up.complaints == []


def test_a_cell_says_its_classes_by_name_though_the_axes_have_no_room_for_them(made_up: Opened) -> None:
    count = len(MANY)
    said = point_at(made_up.page, "#plot-confusion .heatmaplayer image", 8.5 / count, 7.5 / count)
    assert said == f"{MANY[7]} named as{MANY[8]}:1 of 4 (25.0 %)"  # in three lines
    ticks = made_up.page.locator("#plot-confusion .ytick text").all_text_contents()
    assert not any(tick.startswith("<b>7</b>") for tick in ticks)
    assert made_up.complaints == []


def assert_front(page: "Page", plot: str, costs: dict[str, float], accuracies: dict[str, float]) -> set[str]:
    """Asserts that a graph and the table mark what none of some files dominates, and returns these."""
    points = np.array([[costs[name], -accuracies[name]] for name in costs]).reshape(-1, 2)
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    best = {name for name, beaten in zip(costs, (no_worse & better).any(axis=0), strict=True) if not beaten}
    front = f"document.getElementById('{plot}').data.find((trace) => trace.meta?.front)"
    page.wait_for_function(f"(count) => {front}.x.length === count", arg=len(best))
    marked = page.evaluate(f"() => {front}.x.map((x, at) => [x, {front}.y[at]])")
    assert sorted(marked) == [pytest.approx(each) for each in sorted([costs[name], accuracies[name]] for name in best)]
    said = page.locator(f"[data-front='{plot}']").inner_text()
    assert set(said.split("; ")) == (best or {"none is shown"})
    return best


def test_the_front_is_that_of_the_files_that_are_seen(made_up: Opened, summary: Summary) -> None:
    page = made_up.page
    accuracies = {each.name: 100 * (each.accuracy or 0) for each in summary.artifacts}
    sizes = {each.name: each.size_bytes / 1024 for each in summary.artifacts}
    latencies = {each.artifact: each.latency_ms.p50 for each in summary.measurements if each.num_threads == 1}

    def fronts(*words: str) -> list[set[str]]:
        """The fronts of the files whose names have one of some words, in both graphs."""
        return [
            assert_front(page, plot, {name: cost[name] for name in cost if any(w in name for w in words)}, accuracies)
            for plot, cost in (("plot-size", sizes), ("plot-latency", latencies))
        ]

    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    drawn(page)
    everything = fronts("")
    page.locator("input[name=scheme][value=int8]").uncheck()
    assert fronts("float", "dynamic")[1] != everything[1]
    page.locator("input[name=format][value=onnx]").uncheck()
    fronts("float32.tflite", "float16", "dynamic")
    page.locator("input[name=format][value=tflite]").uncheck()
    assert fronts() == [set(), set()]
    page.get_by_role("button", name="Show all").click()
    assert fronts("") == everything
    # The legend of one graph hides points there, and nowhere else.
    page.locator("#plot-size .legendtext", has_text="TFLite, int8").locator("..").locator(".legendtoggle").click()
    seen = {name: size for name, size in sizes.items() if name != "student-int8.tflite"}
    assert "student-int8.tflite" not in assert_front(page, "plot-size", seen, accuracies)
    assert assert_front(page, "plot-latency", latencies, accuracies) == everything[1]
    assert made_up.complaints == []


def test_without_a_script_the_tables_stay_and_no_graph_leaves_a_hole(made_up: Opened, browser: "Browser") -> None:
    page = browser.new_page(java_script_enabled=False, viewport={"width": WIDTHS[1], "height": 900})
    page.goto(made_up.page.url)
    assert page.locator("p.noscript").is_visible()
    assert not [each for each in page.locator(".plot, figcaption, .filter").all() if each.is_visible()]
    best = page.locator("[data-front='plot-latency']")
    assert best.is_visible()
    assert set((best.text_content() or "").split("; ")) == {"student-int8.tflite", "student-float32.onnx"}
    assert page.locator(".tensors").first.is_visible()
    page.close()


def test_a_profile_is_drawn_as_bars_within_bars_and_follows_the_window(made_up: Opened) -> None:
    opened = made_up
    bars = opened.page.locator("#plot-profile-0 .iciclelayer .surface")
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        drawn(opened.page)
        assert bars.count() == 1 + 2 + 3  # all operators, two kinds, three of them
    assert opened.complaints == []
