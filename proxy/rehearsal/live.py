"""The same clients in real time: against a proxy that runs, or one of our own in front of the policy's real targets.

A proxy of our own is in this process, on a free port of loopback, with the policy's handlers and without anything that
works beside serving: no warm-ups, no migrations, no shared state. It and the clients share one event loop, which is
well below the latencies of models, and no measurement of the proxy itself.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from backends.aws import CredentialSource
from backends.base import Headers
from backends.http.transport import HttpTransport, Outgoing
from backends.tasks import start
from policies.document import read_document
from policies.interpolate import interpolate
from policies.load import load_policy
from policies.table import Route

from ..policy_source import ToldSource
from ..server import contracts_of
from ..settings import Settings
from ..wiring import serving
from .candidate_table import Row
from .pressing import Load, Pressed, press
from .questions import Questions
from .standins import Pointed, resolved

LOOK = 1.0
"""Seconds between two lines of progress."""

Told = Callable[[Pressed, float], None]
"""Hears how a row goes, and how many seconds it has left."""


def as_written(text: str, source: str, variables: Mapping[str, str], read_file: Callable[[str], str]) -> Pointed:
    """The policy with its real targets. Raises PolicyError as `load_policy` does."""
    files: dict[str, str] = {}

    def read(name: str) -> str:
        files[name] = found = read_file(name)
        return found

    table = load_policy(text, variables, source, read)
    document = resolved(interpolate(read_document(text), variables).data)
    return Pointed(json.dumps(document), files, table, ())


@asynccontextmanager
async def proxied(
    policy: Pointed, path: str, variables: Mapping[str, str], credentials: CredentialSource | None = None
) -> AsyncIterator[str]:
    """A proxy in front of the policy's targets; its URL. `path`: beside it are the policy's handlers.

    `credentials`: instead of boto3's chain. Raises PolicyError and OSError as serving does.
    """
    settings = Settings(policy=path, port=0, admin_port=0, drain=1.0, log=os.devnull)
    told = ToldSource(path, policy.text, policy.files, 1)
    async with serving(settings, variables, credentials, told) as services:
        contracts, _ = contracts_of(settings, services)
        port = await contracts.start(settings.host, 0)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await contracts.stop()


async def measure(
    url: str, route: Route, load: Load, rows: list[Row], tell: Told, body: bytes | None = None, more: Headers = ()
) -> None:
    """Add a row for each concurrency to `rows`, the last one in part when this is cancelled.

    `more` are headers of each request, for a proxy that asks callers who they are.
    """
    loop = asyncio.get_running_loop()
    questions, transport = Questions(load.seed, 0.0, body), HttpTransport()

    def ask() -> Outgoing:
        asked = questions.next(route)
        return Outgoing("POST", url.rstrip("/") + asked.path, (*asked.headers, *more), asked.body)

    try:
        for one in load.concurrency:
            pressed = Pressed(one)
            looks = start(_told(pressed, load, tell), name="bench-progress")
            try:
                await press(transport, ask, load, pressed)
                rows.append(pressed.row(loop.time(), None))
            except asyncio.CancelledError:
                if pressed.seen:
                    rows.append(pressed.row(loop.time(), None, whole=False))
                raise
            finally:
                looks.cancel()
                await asyncio.gather(looks, return_exceptions=True)
    finally:
        await transport.aclose()


async def _told(pressed: Pressed, load: Load, tell: Told) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK)
        tell(pressed, max(0.0, pressed.begin + load.seconds - loop.time()))
