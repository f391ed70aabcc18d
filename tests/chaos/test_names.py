"""Faults of name resolution: a name that leads elsewhere from one moment to the next, and one that leads nowhere.

The proxy runs in this process, in a loop whose resolver the test holds: no production seam exists for the tests alone.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving, static_credentials

from .broken_answers import AWAY, GOOD, saying
from .client import ask, request
from .faults import WHOLE, Fault, Served, policy
from .upstream import Wire, listening

pytestmark = pytest.mark.slow

NAME = "moves.example"
OTHER = WHOLE.replace(b"one", b"ONE")


class Loop(asyncio.SelectorEventLoop):
    """A loop with a resolver that knows one name."""

    leads_to: str | None = "127.0.0.1"

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        if host == NAME:
            host = self.leads_to
        if host is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return await super().getaddrinfo(host, port, **options)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """The loop in which a scenario runs."""
    made = Loop()
    yield made
    made.close()


@asynccontextmanager
async def proxied(folder: Path, fault: Fault, port: int) -> AsyncIterator[int]:
    """A proxy in this loop, with one target; its port."""
    file = folder / "policy.yaml"
    file.write_text(json.dumps(policy({fault: port})))
    settings = Settings(policy=str(file), port=0, admin_port=0, drain=1.0, log=str(folder / "log"))
    async with (
        serving(settings, {}, static_credentials("AKID", "secret")) as services,
        running(settings, services) as addresses,
    ):
        yield addresses.port


def scenario(loop: Loop, folder: Path, play: Callable[[Callable[[], Awaitable[bytes]]], Awaitable[None]]) -> None:
    """Two upstreams on the same port of two addresses; `play` is given what asks the proxy and returns the body."""

    async def closing(wire: Wire) -> None:
        await wire.request()
        await wire.send(GOOD)
        wire.close()

    async def run() -> None:
        fault = Fault("moves", Served(), closing, host=NAME, target={"connect_timeout": "20s"})
        async with listening(fault.script) as first:
            other = saying(GOOD.replace(WHOLE, OTHER), end="close")
            async with listening(other, host="127.0.0.2", port=first.port), proxied(folder, fault, first.port) as port:

                async def asked() -> bytes:
                    answer = await ask(port, request(fault.slug))
                    if answer.status != 200:
                        AWAY.hold(answer)
                    return answer.body

                await play(asked)

    loop.run_until_complete(run())


def test_name_that_moves(loop: Loop, tmp_path: Path) -> None:
    """The next connection goes to where the name leads by then: nothing is remembered beyond a connection in use."""

    async def play(asked: Callable[[], Awaitable[bytes]]) -> None:
        assert await asked() == WHOLE
        loop.leads_to = "127.0.0.2"
        assert await asked() == OTHER
        loop.leads_to = "127.0.0.1"
        assert await asked() == WHOLE

    scenario(loop, tmp_path, play)


def test_name_that_is_gone_and_comes_back(loop: Loop, tmp_path: Path) -> None:
    """503, which SDKs send again, since nothing was sent; once the name is back the target is asked as before."""

    async def play(asked: Callable[[], Awaitable[bytes]]) -> None:
        assert await asked() == WHOLE
        loop.leads_to = None
        assert b"Message" in await asked()
        loop.leads_to = "127.0.0.1"
        assert await asked() == WHOLE

    scenario(loop, tmp_path, play)
