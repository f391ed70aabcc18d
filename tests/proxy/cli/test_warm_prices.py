"""`pointsman warm prices`."""

from __future__ import annotations

import pytest

from proxy.cli import main
from warmers.prices import open_prices, read_prices


def test_prints_the_shipped_file(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is a file that `--prices` takes, with the same prices."""
    assert main(["warm", "prices"]) == 0
    shipped = open_prices()
    assert read_prices(capsys.readouterr().out, shipped.source) == shipped
