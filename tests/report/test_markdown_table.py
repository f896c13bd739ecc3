"""Tables of Markdown hold whatever text comes, and the interval of a mean is Student's."""

import math

import pytest

from edgekd.records import Interval
from edgekd.report import intervals, markdown_table


def test_a_text_is_shown_as_it_is_and_stays_in_its_cell():
    plain = "a|b\\|c <i>&amp;</i> [x](y) *s* `c`\nd"
    written = "a\\|b\\\\\\|c &lt;i&gt;&amp;amp;&lt;/i&gt; \\[x\\](y) \\*s\\* \\`c\\` d"
    assert markdown_table.text(plain) == written
    assert markdown_table.table(("A", "B|"), [(plain, "")]).splitlines() == [
        "| A | B\\| |",
        "| --- | --- |",
        f"| {written} | not measured |",
    ]


def test_cells_of_markdown_are_kept_but_for_bars_that_would_end_them():
    table = markdown_table.of_markdown(("key",), [("[a](b) `c|d`",), ("e\\|f",), ("g\\\\|h",)])
    assert table.splitlines()[2:] == ["| [a](b) `c\\|d` |", "| e\\|f |", "| g\\\\\\|h |"]


def test_the_interval_of_a_mean_is_students():
    found = intervals.mean_interval([0.90, 0.92, 0.94])
    # t(0.975, 2) = 4.302653; sd 0.02; / sqrt 3
    assert (found.value, found.high - found.value) == pytest.approx((0.92, 4.302653 * 0.02 / math.sqrt(3)), rel=1e-6)
    assert intervals.reach(found) == pytest.approx(found.value - found.low)
    # t(0.95, 1) = 6.313752; sd sqrt 2; / sqrt 2
    assert intervals.mean_interval([1, 3], confidence=0.9).high == pytest.approx(2 + 6.313752, rel=1e-6)
    assert intervals.reach(Interval(value=0.5, low=0.1, high=0.6)) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="needs two values or more; got 1"):
        intervals.mean_interval([0.9])
