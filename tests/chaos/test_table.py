"""The table of docs/reliability.md is the suite's own."""

from __future__ import annotations

from pathlib import Path

from .table import rows, text

PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"


def test_the_documents_table_is_the_suites() -> None:
    """Each fault, what comes of it and where it is tested; `python -m tests.chaos.table` prints it anew."""
    assert text() in PAGE.read_text()


def test_faults_have_names_of_their_own() -> None:
    """A name means one fault, and there are a hundred and fifty of them."""
    names = [row[0] for row in rows()]
    assert len(set(names)) == len(names) > 150
