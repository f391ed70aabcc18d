"""Faults of the customer's code around a model: it raises, hangs, dies and grows, and only its own requests feel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .broken_answers import GOOD, HEALTHY, LATE, saying
from .faults import Fault, Promise, Refused, Served
from .stage import Stage, memory, staged

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]

MIB = 1024 * 1024
SOURCES = {
    "raises": "def before(call):\n    raise ValueError(call.body)\n",
    "hangs": "import time\ndef before(call):\n    time.sleep(1000)\n",
    "dies": "import os\ndef before(call):\n    os._exit(3)\n",
    "is-killed": "import os, signal\ndef after(reply):\n    os.kill(os.getpid(), signal.SIGKILL)\n",
    "grows": "import os\nheld = []\n"
    "def before(call):\n    held.append(b'x' * 4_000_000)\n    return call.reply(str(os.getpid()))\n",
    "talks": "import sys\ndef before(call):\n    print('x' * 1000000)\n    sys.stderr.write('y' * 1000000)\n",
    "answers-nonsense": "def before(call):\n    return 3.5\n",
}


def around(source: str, promise: Promise, **keys: object) -> Fault:
    """A healthy target behind a handler."""
    handler = {"path": f"{source}.py", "timeout": "20s", "workers": 1, "fail_after": 64, **keys}
    return Fault(f"handler {source}", promise, saying(GOOD), route={"handler": handler})


BROKE = Refused(424, "ModelError", 500)
FAULTS = {
    fault.slug.removeprefix("handler-"): fault
    for fault in (
        around("raises", BROKE),
        around("hangs", LATE, timeout="6s"),
        around("dies", BROKE),
        around("is-killed", BROKE),
        around("grows", Served(), memory="64MiB"),
        around("talks", Served()),
        around("answers-nonsense", BROKE),
    )
}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def handled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A proxy with one handler for each fault."""
    folder = tmp_path_factory.mktemp("handlers")
    for name, source in SOURCES.items():
        (folder / f"{name}.py").write_text(source)
    async with staged(folder, (*FAULTS.values(), HEALTHY)) as stage:
        yield stage


async def several(stage: Stage, name: str, times: int = 3) -> None:
    """So many requests one after the other, each with what is promised, beside a healthy one that feels nothing."""
    fault = FAULTS[name]
    for _ in range(times):
        answer, beside = await asyncio.gather(stage.play(fault), stage.play(HEALTHY))
        fault.promise.hold(answer)
        HEALTHY.promise.hold(beside)
        assert answer.seconds < fault.within
        assert fault.promise != LATE or beside.seconds < answer.seconds / 2
    await stage.settled()


async def test_handler_raises(handled: Stage) -> None:
    """424 with OriginalStatusCode 500; neither its text nor the body that it holds reaches the client."""
    await several(handled, "raises")


async def test_handler_hangs(handled: Stage) -> None:
    """424 with OriginalStatusCode 0 at its own limit; its worker is killed and the next request has another."""
    await several(handled, "hangs", 2)


async def test_handler_dies(handled: Stage) -> None:
    """424 with OriginalStatusCode 500, and the next request has another worker."""
    await several(handled, "dies")


async def test_handler_is_killed(handled: Stage) -> None:
    """424 with OriginalStatusCode 500, though the model had answered: what it would have changed is not guessed."""
    await several(handled, "is-killed")


async def test_handler_grows(handled: Stage) -> None:
    """Its worker is replaced at its limit of memory, the proxy does not grow, and every request is served."""
    before = memory(handled.proxy.process.pid)
    workers: set[bytes] = set()
    while len(workers) < 3:
        answer = await handled.play(FAULTS["grows"])
        assert (answer.status, answer.rest) == (200, b"")
        workers.add(answer.body)
    assert memory(handled.proxy.process.pid) - before < 8 * MIB
    await handled.settled()


async def test_handler_talks_without_end(handled: Stage) -> None:
    """What it prints goes to standard error and blocks nothing."""
    await several(handled, "talks")


async def test_handler_answers_nonsense(handled: Stage) -> None:
    """424 with OriginalStatusCode 500."""
    await several(handled, "answers-nonsense")
