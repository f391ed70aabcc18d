"""Pictures over time: where a moment lies, what stands at the axes, and what a reader is told of each mark."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rehearsal.drawing import INNER, LEFT, MARKS, Axis, bands, lines, nice, shares
from tests.policies.written import PATIENT

MONDAY = 1_783_296_000.0
DAY = 86_400.0
SVG = "{http://www.w3.org/2000/svg}"


def found(picture: str, tag: str) -> Iterable[ET.Element]:
    return ET.fromstring(picture).iter(SVG + tag)


def test_a_day_has_marks_every_three_hours() -> None:
    """At round hours of the clock, the day's name at midnight, whenever it begins."""
    axis = Axis(MONDAY + 1800, DAY)
    names = [name for _, name in axis.marks()]
    assert names == ["03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "07 Jul"]
    assert next(axis.marks())[0] == 2.5 * 3600
    assert axis.said(0.0) == "Mon 06 Jul 00:30"


@PATIENT
@given(st.floats(0.0, 2e9), st.floats(60.0, 400 * DAY))
def test_marks_are_few_and_within(start: float, span: float) -> None:
    """However long it lasts, and wherever it begins."""
    marks = list(Axis(start, span).marks())
    assert len(marks) <= MARKS + 1
    assert all(-1e-6 <= at <= span + 1e-6 for at, _ in marks)


def test_moments_lie_within_the_picture() -> None:
    """From its left to its right, and not beyond when they are a little late."""
    axis = Axis(MONDAY, DAY)
    assert [axis.x(at) for at in (0.0, DAY / 2, DAY, DAY + 60)] == [LEFT, LEFT + INNER / 2, LEFT + INNER, LEFT + INNER]


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 1.0), (0.93, 1.0), (1.0, 1.0), (1.12, 2.0), (231.0, 250.0), (41.0, 50.0)]
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    """No less than what is shown, and 1 where there is nothing."""
    assert nice(value) == pytest.approx(top)


def test_lines_have_a_mark_for_each_value() -> None:
    """With its name, value, unit and moment; a part without a value has none; decisions stand at their moment."""
    picture = lines(Axis(MONDAY, DAY), [("P95", "c4", [1.5, None, 3.0, 0.5])], " s", "a picture", [(DAY / 2, "grew")])
    marks = list(found(picture, "circle"))
    assert [mark.findtext(SVG + "title") for mark in marks] == [
        "P95 1.5 s, Mon 06 Jul 03:00", "P95 3 s, Mon 06 Jul 15:00", "P95 0.5 s, Mon 06 Jul 21:00",
    ]  # fmt: skip
    assert "4 s" in [text.text for text in found(picture, "text")]
    assert "Mon 06 Jul 12:00: grew" in picture


def test_shares_are_parts_of_a_whole() -> None:
    """Each part of the time is full where anything was answered, and names keep their colour."""
    picture = shares(Axis(MONDAY, DAY), [{"old": 3, "new": 1}, {}, {"new": 2}], "a picture", [])
    titled = {bar.findtext(SVG + "title"): bar for bar in found(picture, "rect")}
    old, new = titled["old 75.0% of 4, Mon 06 Jul 00:00"], titled["new 25.0% of 4, Mon 06 Jul 00:00"]
    assert float(old.attrib["height"]) == pytest.approx(3 * float(new.attrib["height"]), rel=0.02)
    assert new.attrib["class"] == titled["new 100.0% of 2, Mon 06 Jul 16:00"].attrib["class"] != old.attrib["class"]


def test_bands_last_until_the_next_state() -> None:
    """The last one until the end; names that are markup are not."""
    picture = bands(Axis(MONDAY, DAY), {"a<b": [(0.0, "cold"), (DAY / 4, "ready")]}, {"ready": "c1", "cold": "c0"}, "x")
    bars = [bar for bar in found(picture, "rect") if (bar.findtext(SVG + "title") or "").startswith("a<b")]
    assert [float(bar.attrib["width"]) for bar in bars] == pytest.approx([INNER / 4, INNER * 3 / 4], abs=0.1)
    assert [bar.attrib["class"] for bar in bars] == ["c0", "c1"]
