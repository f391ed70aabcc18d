"""The page of a rehearsal."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from proxy.rehearsal.page import page
from tests.proxy.rehearsal.test_report import story


def test_the_page_is_well_formed_and_needs_nothing_else() -> None:
    """It parses, has its pictures in it, and fetches nothing."""
    text = page(replace(story(), policy="a<b>&c.yaml"))
    tree = ET.fromstring(text.partition("\n")[2])
    assert len(tree.findall(".//{http://www.w3.org/2000/svg}svg")) == 4
    assert "a<b>" not in text
    assert not re.search(r"""(src|href)=|@import|url\(|<script""", text)
