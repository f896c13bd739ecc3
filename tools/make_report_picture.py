#!/usr/bin/env python3
"""Makes docs/images/report.png, the picture of a report: its head, its trade-off and its predictions, glued together.

    make quickstart
    .venv/bin/python tools/make_report_picture.py runs/quickstart/report.html

The parts are cut out of the page as Chromium shows it, in light colours and as wide as a repository's page.
"""

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

from edgekd import storage
from edgekd.errors import EdgekdError, StorageError

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.png"

SEEN = 1180  # pixels of the window: graphs stand side by side
HIGHEST = 860  # of these for one part; what is below is cut off
WIDTH = 860  # pixels of the picture
BETWEEN = 9  # between two parts
GREY = (214, 220, 228)
# Where each part begins and ends, as JavaScript.
PARTS = (
    ("0", "top(document.querySelector('#results'))"),
    (
        "top(document.querySelector('#results .plots'))",
        "bottom(document.querySelector('#results .plots > :nth-child(2)'))",
    ),
    ("top(document.querySelector('#predictions'))", "bottom(document.querySelector('#predictions'))"),
)
DRAWN = """() => [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg')
  && Math.abs(plot.querySelector('.main-svg').getBoundingClientRect().width - plot.clientWidth) <= 1)"""
EDGES = """(edges) => {
  const top = (element) => element.getBoundingClientRect().top + scrollY;
  const bottom = (element) => element.getBoundingClientRect().bottom + scrollY;
  return edges.map((edge) => Function('top', 'bottom', `return ${edge}`)(top, bottom));
}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the picture; 2 where there is no report, or no browser, to make it of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.html of the quickstart")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture (default: docs/images/report.png)")
    parser.add_argument(
        "--chromium", type=Path, default=Path("/usr/bin/chromium"), help="the program (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        storage.require_file(options.report, "report")
        storage.require_file(options.chromium, "the program of --chromium")
        picture = _glued(list(_parts(options.report, options.chromium)))
        # A palette takes a fifth of the bytes; the octree keeps the few pixels that graphs are coloured with.
        few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        with storage.atomic_path(options.out) as temporary:
            few.save(temporary, format="PNG", optimize=True)
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parts(report: Path, chromium: Path) -> Iterator[Image.Image]:
    """Yields what the page shows of each part, WIDTH pixels wide; raises StorageError where it lacks one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(offline=True, viewport={"width": SEEN, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_function(DRAWN)
        try:
            edges = page.evaluate(EDGES, [edge for part in PARTS for edge in part])
        except PlaywrightError as error:
            raise StorageError(
                f"{str(report)!r} does not have the parts that are pictured: give the report of a run with graphs and "
                "predictions, such as the quickstart's."
            ) from error
        for top, bottom in zip(edges[::2], edges[1::2], strict=True):
            height = min(bottom - top, HIGHEST)
            png = page.screenshot(clip={"x": 0, "y": top, "width": SEEN, "height": height}, full_page=True)
            part = Image.open(io.BytesIO(png)).convert("RGB")
            yield part.resize((WIDTH, round(part.height * WIDTH / part.width)), Image.Resampling.LANCZOS)
        browser.close()


def _glued(parts: Sequence[Image.Image]) -> Image.Image:
    """Returns the parts, one below the other."""
    whole = Image.new("RGB", (WIDTH, sum(each.height + BETWEEN for each in parts) - BETWEEN), GREY)
    top = 0
    for each in parts:
        whole.paste(each, (0, top))
        top += each.height + BETWEEN
    return whole


if __name__ == "__main__":
    raise SystemExit(main())
