"""Values that a person gives to a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.quantities import share
from proxy.cli import StartError
from proxy.cli.given import placed, usable, write


def test_what_can_be_used_is_given_back() -> None:
    """The value, as its reader has it."""
    assert usable("--streams", lambda: share("10%")) == 0.1


def test_what_can_not_be_used_names_the_flag(tmp_path: Path) -> None:
    """A value's own complaint stands behind the flag; a file that is not there is named with what to do."""
    with pytest.raises(StartError, match=r"^--streams: .*10"):
        usable("--streams", lambda: share("10"))
    missing = tmp_path / "prices.yaml"
    with pytest.raises(StartError, match=f"^--prices: cannot read {missing}: No such file.*; give the path of a file$"):
        usable("--prices", missing.read_text)


def test_place_is_looked_at_before_long_work(tmp_path: Path) -> None:
    """What a rehearsal has shown is not thrown away at its end since a folder is not there, or is a file."""
    placed("--html", None)
    placed("--html", "page.html")
    placed("--html", str(tmp_path / "page.html"))
    assert not (tmp_path / "page.html").exists()
    (tmp_path / "file").touch()
    for lost in (tmp_path / "missing" / "page.html", tmp_path / "file" / "page.html"):
        with pytest.raises(StartError, match=f"^--html: cannot write {lost}: No.*; give a path in a folder"):
            placed("--html", str(lost))


def test_place_that_can_not_be_written_names_the_flag(tmp_path: Path) -> None:
    """A file is written whole; a folder that is not there is named with what to do."""
    write("--html", str(tmp_path / "page.html"), "é")
    assert (tmp_path / "page.html").read_text("utf-8") == "é"
    lost = tmp_path / "missing" / "page.html"
    with pytest.raises(StartError, match=f"^--html: cannot write {lost}: No such file.*; give a path in a folder"):
        write("--html", str(lost), "")
