"""The page of a rehearsal."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from proxy.rehearsal.page import page
from tests.proxy.rehearsal.played import MOVING
from tests.proxy.rehearsal.test_report import story


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    """It parses, has its pictures in it, and fetches nothing."""
    text = page(replace(story(), policy="a<b>&c.yaml"))
    tree = ET.fromstring(text.partition("\n")[2])
    assert len(tree.findall(".//{http://www.w3.org/2000/svg}svg")) == 4
    assert "a<b>" not in text
    assert not re.search(r"""(src|href)=|@import|url\(|<script""", text)


def test_what_to_know_first_stands_first() -> None:
    """Requests, those that failed or met a cold model, latency and a month's cost, with their units."""
    text = page(story())
    assert "<b>5</b>requests" in text
    assert "<b>0</b>not answered with 200 (0.00%)" in text
    assert "met a cold model (40.00%): 2 went to another target, 0 waited, 0 got an error" in text
    assert "hosting a month at this pace" in text
    assert "<li>Made up</li>" in text
    assert "nights and weekends may not be in it" in text


def test_what_failed_says_how() -> None:
    """The statuses beside the number: a limit that turned callers away is no broken model."""
    told = story()
    assert "<td>0</td>" in page(told)
    told.tally.models["chat"].statuses.update({200: -3, 429: 2, 503: 1})
    assert "<td>3 (429: 2, 503: 1)</td>" in page(told)


def test_a_migration_says_where_it_ended() -> None:
    """Its last decision first, then each with its moment, its shares and why; and it stands in the pictures."""
    text = page(story(MOVING))
    assert "<h2>Migration chat</h2>" in text
    assert "Where it ended: Mon 06 Jul 00:00: grew" in text
    assert "0% to 25%" in text
    assert "dashed lines: what was decided" in text
    assert "<p>It was collecting evidence at the end, and not done. What it still waited for:</p>\n<ul><li>" in text
