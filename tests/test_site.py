"""The documentation's site: built strictly, complete, and readable where there is no network."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import edgekd

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the site as `make docs` does."""
    (options,) = re.findall(r"^SPHINX := \$\(BIN\)/python (.*) docs$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "--fail-on-warning" in options
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, *options.split(), str(DOCS), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Fetched(HTMLParser):
    """Collects what a browser fetches to show a page: not what a reader may click on."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value for key in ("src", "srcset", "poster", "data") if (value := given.get(key))]
        if tag == "link" and given.get("href"):
            self.addresses.append(str(given["href"]))


def test_every_page_is_part_of_the_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert len(pages) > 20
    assert {page for page in pages if not (site / page).is_file()} == set()


def test_every_public_name_of_python_is_described(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert {name for name in edgekd.__all__ if f'id="edgekd.{name}"' not in page} == set()


def test_reading_it_fetches_nothing_from_a_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        assert any(address.endswith(".css") or ".css?" in address for address in parser.addresses)
        assert [address for address in parser.addresses if re.match(r"(\w+:)?//", address)] == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")) == []


def test_the_search_works_from_files(site: Path) -> None:
    # A browser reads no JSON from files, but it runs scripts from there.
    assert 'src="searchindex.js"' in (site / "search.html").read_text(encoding="utf-8")
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(")
    assert '"quantisation"' in index
