"""A handler in the proxy's own loop, and what it costs everyone else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.errors import HandlerError, LoadError
from proxy.handlers.inline import Inline, load_inline
from tests.proxy.handlers.customers import Request, call, limit, settled, write

WORKS = """
import asyncio, time
async def before(call):
    if call.body == b"block":
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            pass
    elif call.body == b"raise inside":
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            return "caught"
    elif call.body == b"wait":
        await asyncio.Event().wait()
    await asyncio.sleep(0.01)
    return "done"
"""


async def own(tmp_path: Path, held: list[float]) -> Inline:
    # The processor's time and not the clock's: a machine that is busy with other things holds no loop.
    return await load_inline(write(tmp_path, WORKS), "1", time.thread_time, held.append)


def opened(handler: Inline, body: bytes, seconds: float = 60.0) -> Any:
    """What its `before` gives at once."""
    asked = Request(call(body), limit(seconds))
    return handler.open(asked).before(asked, time.thread_time())


async def test_longest_stretch_on_the_loop_is_told(tmp_path: Path) -> None:
    """Blocking shows, waiting does not."""
    held: list[float] = []
    handler = await own(tmp_path, held)
    for body in (b"block", b""):
        await settled(opened(handler, body))
    await handler.stop()
    assert held[0] >= 0.3
    assert held[1] < 0.15


async def test_hooks_see_the_failures_of_what_they_await(tmp_path: Path) -> None:
    """Measuring does not come between a hook and the exceptions it handles."""
    handler = await own(tmp_path, [])
    assert (await settled(opened(handler, b"raise inside"))).body == b"caught"
    await handler.stop()


async def test_hook_that_waits_too_long_is_ended(tmp_path: Path) -> None:
    """At an await the limit holds; what it held of the loop until then is told all the same."""
    held: list[float] = []
    handler = await own(tmp_path, held)
    with pytest.raises(HandlerError) as caught:
        await settled(opened(handler, b"wait", 0.02))
    assert caught.value.timed_out
    assert len(held) == 1
    await handler.stop()


async def test_file_that_cannot_be_loaded(tmp_path: Path) -> None:
    """The error names the file."""
    file = write(tmp_path, "raise ValueError('no')\n")
    with pytest.raises(LoadError, match=str(file)):
        await load_inline(file, "1", time.monotonic, lambda _: None)
