"""What should wake somebody, told to an address of the operator's: one POST of JSON, whose `text` is one line.

Slack's incoming webhooks and their like take it as it is; for a pager an event rule or a function in between reads the
other fields. It is told by the process on duty, whoever decided, tried a few times, and in the log in any case. It has
no body, no credential and no caller's data: what was decided, why, and by whom.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

from backends.http.transport import Outgoing, Transport, TransportError
from policies.migration_state import Decision

log = logging.getLogger("pointsman.alerts")

WAITING = 100
"""Alerts that wait to be told; a fleet that decides more in a minute has other troubles."""
TRIES = 5
AGAIN = 2.0
"""Seconds before the second try; each further wait is twice as long."""
PATIENCE = 5.0
"""Seconds that the address has to answer."""


class Alerts:
    """Tells an address of decisions that want somebody's eyes."""

    def __init__(
        self, transport: Transport, url: str, now: Callable[[], float], pause: Callable[[float], Awaitable[None]]
    ) -> None:
        """`now` is the clock of the transport's deadlines."""
        self._transport = transport
        self._url = url
        self._now = now
        self._pause = pause
        self._waiting: asyncio.Queue[Decision] = asyncio.Queue(WAITING)
        self._open = 0

    @property
    def settled(self) -> bool:
        """Nothing waits, and nothing is on its way: all was taken, or given up and said in the log."""
        return not self._open

    def tell(self, decision: Decision) -> None:
        """Tell of a decision soon; nobody waits for it."""
        if not self._waiting.full():
            self._waiting.put_nowait(decision)
            self._open += 1
        else:
            log.error("an alert was not sent, too many wait: %s", decision.summary)

    async def run(self) -> None:
        """Send what there is to tell, until cancelled."""
        while True:
            await self._send(await self._waiting.get())
            self._open -= 1

    async def _send(self, decision: Decision) -> None:
        wait = AGAIN
        for _ in range(TRIES - 1):
            if await self._post(decision) is None:
                return
            await self._pause(wait)
            wait *= 2
        why = await self._post(decision)
        if why is not None:
            log.error("an alert was not taken (%s): %s", why, decision.summary)

    async def _post(self, decision: Decision) -> str | None:
        """Why it was not taken; None when it was."""
        headers = (("Content-Type", "application/json"),)
        request = Outgoing("POST", self._url, headers, body_of(decision), PATIENCE, PATIENCE)
        try:
            incoming = await self._transport.send(request, deadline=self._now() + PATIENCE, connect_timeout=PATIENCE)
        except TransportError as error:
            return error.cause
        await incoming.aclose()
        return None if 200 <= incoming.status < 300 else f"HTTP {incoming.status}"


def body_of(decision: Decision) -> bytes:
    """The JSON that is sent."""
    fields = {
        "text": decision.summary,
        "migration": decision.migration,
        "event": decision.event.value,
        "at": decision.at,
        "who": decision.who,
        "why": decision.why,
        "alert": decision.alert,
        "share_before": decision.before,
        "share_after": decision.after,
        "version": decision.version,
    }
    return json.dumps(fields).encode()
