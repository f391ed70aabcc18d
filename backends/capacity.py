"""How much of a target is there right now, in units of its own: instances, copies, replicas. For rollbacks, which need
to know before a step whether the old target could take everything back.

- A SageMaker endpoint: its instances in service, or the copies of the inference component (DescribeEndpoint,
  DescribeInferenceComponent).
- An endpoint or engines at URLs: how many answer at all (`GET /ping`, vLLM `GET /health`), with any status below 500.
- A Bedrock import: nobody can say. Bedrock adds copies by itself, within minutes, and does not tell how many there are.

Units of one target can be compared with each other at different times, and with nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from policies.table import BedrockSpec, EndpointSpec, Target

from .http.transport import Outgoing, Transport, TransportError

log = logging.getLogger("pointsman.migrate")

PATIENCE = 2.0
"""Seconds that a replica has to answer."""
AGAIN = 15.0
"""Seconds for which what was found holds: instances come and go in minutes."""


class Capacity:
    """Asks targets, and remembers for a while what they said."""

    def __init__(
        self,
        transport: Transport,
        instances: Callable[[Target, EndpointSpec], Awaitable[float]],
        now: Callable[[], float],
    ) -> None:
        """`instances` asks SageMaker; it raises OSError. `now` is the clock of the transport's deadlines."""
        self._transport = transport
        self._instances = instances
        self._now = now
        self._known: dict[Target, tuple[float, float | None]] = {}
        self._silent: set[str] = set()

    async def units(self, target: Target, age: float = AGAIN) -> float | None:
        """What is there of the target, found out at most `age` seconds ago; None where nobody can say."""
        at, found = self._known.get(target, (float("-inf"), None))
        if self._now() - at >= age:
            found = await self._ask(target)
            self._known = {one: known for one, known in self._known.items() if self._now() - known[0] < 10 * AGAIN}
            self._known[target] = (self._now(), found)
        return found

    async def _ask(self, target: Target) -> float | None:
        spec = target.spec
        if isinstance(spec, BedrockSpec):
            return None
        if isinstance(spec, EndpointSpec) and spec.url is None:
            return await self._described(target, spec)
        urls = (f"{spec.url}/ping",) if isinstance(spec, EndpointSpec) else tuple(f"{url}/health" for url in spec.urls)
        return float(sum(await asyncio.gather(*(self._answers(url) for url in urls))))

    async def _described(self, target: Target, spec: EndpointSpec) -> float | None:
        try:
            found = await self._instances(target, spec)
        except OSError as error:
            if target.name not in self._silent:
                self._silent.add(target.name)
                log.warning("how many instances %s has can't be found out: %s", target.name, error)
            return None
        self._silent.discard(target.name)
        return found

    async def _answers(self, url: str) -> bool:
        request = Outgoing("GET", url, (), b"", PATIENCE, PATIENCE)
        try:
            incoming = await self._transport.send(request, deadline=self._now() + PATIENCE, connect_timeout=PATIENCE)
        except TransportError:
            return False
        await incoming.aclose()
        return incoming.status < 500
