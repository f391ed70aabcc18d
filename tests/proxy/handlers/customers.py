"""Customers' files in a folder, and a proxy's services that run them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.base import Invocation, Reply
from backends.meters import Meters
from policies.table import HandlerSpec
from proxy.handlers.guest.values import Call, Invoke
from proxy.handlers.loads import Loader
from proxy.handlers.runs import Limit, Run
from proxy.pipeline import serve
from proxy.record import Record
from proxy.services import Services
from tests.proxy.parts import Pieces, Scripted, services

MODES = ("inline", "thread", "process")


def write(folder: Path, source: str, name: str = "model.py") -> Path:
    """A customer's file; `source` may be indented."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(textwrap.dedent(source))
    return file


def call(body: bytes = b"{}", *, invoke: Invoke | None = None, **changes: Any) -> Call:
    """A call like any other, but for the changes."""
    facts: dict[str, Any] = {
        "content_type": "application/json",
        "accept": None,
        "custom_attributes": None,
        "endpoint": "chat",
        "component": None,
        "streaming": False,
        "request_id": "request-0",
        "speaks": "opaque",
        "headers": {},
    }
    return Call(body=body, **facts | changes, _invoke=invoke)


def limit(seconds: float = 60.0) -> Limit:
    return Limit(seconds, asyncio.get_running_loop().time() + 120)


@dataclass
class Request:
    """One request, as a way to run its handler sees it."""

    call: Call
    limit: Limit


async def before(run: Run, shown: Call, allowed: Limit | None = None) -> Any:
    """What the handler's `before` makes of a call."""
    asked = Request(shown, allowed or limit())
    return await settled(run.open(asked).before(asked, time.monotonic()))


async def settled(given: Any) -> Any:
    """What a hook gives, at once or when it has been awaited."""
    return await given if isinstance(given, Awaitable) else given


@asynccontextmanager
async def loaded(file: Path, run: str = "process", **spec: Any) -> AsyncIterator[Run]:
    """The file, loaded to run in that way."""
    variables = {"PATH": os.environ["PATH"], "POINTSMAN_ADMIN_TOKEN": "secret", "CUSTOMERS_OWN": "kept"}
    loader = Loader(Meters(), time.monotonic, variables, file.parent / ".environments")
    handler = await loader.load(HandlerSpec(str(file), run, **spec), file, "1")
    try:
        yield handler
    finally:
        await handler.stop()


@dataclass
class Handled:
    """A proxy whose endpoint `chat` has a handler."""

    backend: Scripted
    services: Services
    log: io.BytesIO

    async def ask(
        self, body: bytes = b"{}", endpoint: str = "chat", seen: list[bytes] | None = None, **facts: Any
    ) -> tuple[Reply, Record]:
        """The reply to one request. A streamed one has been read, into `body` and, piece by piece, into `seen`."""
        facts = {"content_type": "application/json", **facts}
        invocation = Invocation(endpoint, None, facts.pop("streaming", False), body, "request-0", **facts)
        record = Record("request-0", time.monotonic(), 0.0)
        record.invocation = invocation
        trace = self.services.telemetry.start(invocation, 0)
        async with serve(invocation, record, trace, self.services) as (reply, _):
            if reply.stream is not None:
                pieces = [] if seen is None else seen
                async for piece in reply.stream:
                    pieces.append(piece)
                return Reply(b"".join(pieces), content_type=reply.content_type), record
            return reply, record

    def answers(self, *given: Any) -> None:
        """What the model says next: JSON, or what the scripted backend takes."""
        self.backend.answers += [
            Reply(json.dumps(each).encode(), content_type="application/json") if isinstance(each, dict | list) else each
            for each in given
        ]

    def sent(self) -> list[bytes]:
        """Bodies that models got."""
        return [sent.body for _, sent, _ in self.backend.calls]


def events(*payloads: str) -> Reply:
    """A stream of server-sent events, cut in awkward places."""
    text = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    return Reply(stream=Pieces(text[:5], text[5:17], text[17:]), content_type="text/event-stream")


@asynccontextmanager
async def handled(
    folder: Path, source: str | None, spec: str = "run: inline", more: str = "", route: str = "idempotent: true"
) -> AsyncIterator[Handled]:
    """A proxy with `source` as the handler of `chat`; `alone` has none. `more` are further endpoints,
    `route` more keys of `chat`."""
    if source is not None:
        write(folder, source)
    text = f"""
apiVersion: pointsman/v1
account: "123456789012"
targets:
  first: {{kind: vllm, url: "http://127.0.0.1:1", model: m, region: us-east-1}}
endpoints:
  chat: {{serve_from: first, handler: {{path: model.py, {spec}}}, {route}}}
  alone: {{serve_from: first}}
{textwrap.indent(textwrap.dedent(more), "  ")}
"""
    backend, log = Scripted(), io.BytesIO()
    parts = await services(backend, text=text, now=time.monotonic, folder=folder, log=log)
    try:
        yield Handled(backend, parts, log)
    finally:
        await parts.handlers.stop()
        parts.log.close()
