"""Where a spec says a handler runs, it runs."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from backends.meters import Meters
from backends.tasks import start
from policies.table import HandlerSpec
from proxy.handlers.environments import COMPLETE, environment_of
from proxy.handlers.errors import LoadError
from proxy.handlers.inline import Inline
from proxy.handlers.loads import Loader
from proxy.handlers.processes import Processes
from proxy.handlers.threads import Threads
from tests.proxy.handlers.customers import loaded, write
from tests.proxy.workers.parts import until

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


@pytest.mark.parametrize(
    ("run", "source"),
    [
        ("thread", "import pathlib\npathlib.Path({fifo!r}).read_text()\n{fine}"),
        ("process", "import pathlib\npathlib.Path({fifo!r}).read_text()\n{fine}"),
        (
            "inline",
            "import asyncio\nasync def model_fn(folder): await asyncio.Event().wait()\ndef input_fn(body, kind): ...\n",
        ),
    ],
)
async def test_a_file_that_does_not_load_in_time(tmp_path: Path, run: str, source: str) -> None:
    """Whatever it waits for, whoever loads it is told the limit, and what it was is said before it begins."""
    fifo, said = tmp_path / "fifo", list[str]()
    os.mkfifo(fifo)
    file = write(tmp_path, source.format(fifo=str(fifo), fine=FINE))

    async def loads(what: str) -> None:
        said.append(what)

    loader = Loader(Meters(), time.monotonic, {}, tmp_path / "cache", 0.3, loads)
    with pytest.raises(LoadError, match=r"model\.py: did not load within 0.3 s; .*--load-time"):
        await loader.load(HandlerSpec("model.py", run=run), file, "1")
    assert said == [f"the handler {file}"]
    if run == "thread":  # which ends with what it waited for, and is forgotten
        fifo.write_text("")
        await until(lambda: not any(getattr(each, "__file__", None) == str(file) for each in [*sys.modules.values()]))


async def test_who_waits_for_an_environment_says_so_again_and_again(tmp_path: Path) -> None:
    """It may take minutes: another worker builds it, which is no standstill."""
    file = write(tmp_path, FINE)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("anything\n")
    folder = environment_of(requirements, tmp_path / "cache")
    (folder / "bin").mkdir(parents=True)
    said: asyncio.Queue[str] = asyncio.Queue()
    loader = Loader(Meters(), time.monotonic, {**os.environ}, tmp_path / "cache", loads=said.put)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        loading = start(loader.load(HandlerSpec("model.py", run="process"), file, "1"), name="loads")
        assert [await said.get() for _ in range(2)] == [f"the environment for {requirements}"] * 2
        (folder / "bin" / "python").symlink_to(sys.executable)
        (folder / COMPLETE).touch()
    handler = await loading
    assert said.get_nowait() == f"the handler {file}"
    await handler.stop()
