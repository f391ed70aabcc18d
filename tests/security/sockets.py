"""Hostile bytes on real sockets: one whole proxy, many connections, and what each of them got."""

from __future__ import annotations

import asyncio
import io
import random
import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from backends.base import Call, Reply
from policies.table import Target
from proxy.server import running
from proxy.settings import Settings

from ..proxy.parts import Scripted, services
from .cases import broken

PATIENCE = 60.0
"""Seconds after which a connection that is neither answered nor closed counts as hanging."""
QUIET = 0.03
"""Seconds without an answer after which the client closes its side: most cases are unfinished requests."""
EXAMPLES = (
    b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Type: text/csv\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /endpoints/packed/invocations-response-stream HTTP/1.1\r\nHost: h\r\n"
    b"X-Amzn-SageMaker-Inference-Component: one\r\nX-Amzn-SageMaker-Custom-Attributes: k=v\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 43\r\n\r\n"
    b'{"model": "chat", "messages": [], "n": 1   }',
    b"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n"
    b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


class _Always(Scripted):
    """A target that always answers."""

    async def invoke(self, target: Target, call: Call, deadline: float, replica: int = 0) -> Reply:
        return Reply(body=b"hi", content_type="text/plain")


async def storm(cases: int, seed: int, together: int = 64) -> Counter[str]:
    """What became of `cases` connections: statuses, `closed` without an answer, or a finding.

    Findings are `hang`, and statuses from 500 on; each comes with the case in hexadecimal.
    """
    draw, found = random.Random(seed), Counter[str]()
    parts = await services(_Always(), log=io.BytesIO(), now=asyncio.get_running_loop().time)
    parts = replace(parts, body_limit=1 << 20)
    settings = Settings(policy="unused", port=0, admin_port=0, drain=1.0, head_time=1.0)
    left = iter(range(cases))

    async def worker(port: int) -> None:
        for _ in left:
            case = broken(draw, EXAMPLES)
            for outcome in await _told(port, case):
                bad = outcome == "hang" or outcome.startswith("5")
                found[f"{outcome}: {case.hex()}" if bad else outcome] += 1

    async with running(settings, parts) as addresses, asyncio.TaskGroup() as group:
        for _ in range(together):
            group.create_task(worker(addresses.port))
    parts.log.close()
    return found


async def _told(port: int, case: bytes) -> list[str]:
    """The statuses that one connection got."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        with suppress(ConnectionError):
            writer.write(case)
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIET):
                    got = await reader.read(65536)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                while piece := await reader.read(65536):
                    got += piece
    except TimeoutError:
        return ["hang"]
    except OSError:  # the other side was quicker than write_eof
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return [status.decode() for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", got)] or ["closed"]
