"""Where a spec says a handler runs, it runs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from proxy.handlers.errors import LoadError
from proxy.handlers.inline import Inline
from proxy.handlers.processes import Processes
from proxy.handlers.threads import Threads
from tests.proxy.handlers.customers import loaded, write

FINE = "def before(call): ...\n"


@pytest.mark.parametrize(("run", "kind"), [("inline", Inline), ("thread", Threads), ("process", Processes)])
async def test_each_way_to_run(tmp_path: Path, run: str, kind: type) -> None:
    """The three words of the policy are three kinds of handler."""
    async with loaded(write(tmp_path, FINE), run) as handler:
        assert type(handler) is kind
        assert handler.steps == {"before"}


async def test_file_that_is_not_there(tmp_path: Path) -> None:
    """The error says where a relative path starts."""
    with pytest.raises(LoadError, match=r"is not there; name the customer's model\.py, from the policy's own folder"):
        async with loaded(tmp_path / "model.py"):
            pass


@pytest.mark.parametrize("run", ["inline", "thread"])
async def test_requirements_without_a_process_are_noted(
    tmp_path: Path, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not installed into the proxy's own environment, and that is said."""
    (tmp_path / "requirements.txt").write_text("anything\n")
    with caplog.at_level(logging.WARNING):
        async with loaded(write(tmp_path, FINE), run):
            pass
    assert "is not installed: only run: process has an environment of its own" in caplog.text
