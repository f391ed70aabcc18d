"""The door: which contract a request is of, by its path alone.

The runtime API comes first, as most requests are of it. Paths are told apart by their ends, since clients may have any
prefix before them; `/ping` and `/invocations` have none, so that they can't be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from backends.http.edge import Answer, Exchange
from backends.wire.container import INVOCATIONS, PING
from backends.wire.openai import is_ours

from ..services import Services
from .container import Container, Ready, Started
from .openai import OpenAiApi
from .passage import handle
from .runtime_api import RuntimeApi


class Front:
    """Every contract on one port; `container` where the process is a model container as well."""

    def __init__(self, services: Services, container: Container | None) -> None:
        self._services = services
        self._runtime = RuntimeApi(services)
        self._openai = OpenAiApi(services)
        self._container = container

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Hand one request to its face; what is of no contract gets the runtime API's refusal."""
        path = exchange.raw_path
        if "?" in path:
            path = path.partition("?")[0]
        if self._container is not None and path in _CONTAINER:
            return self._container.handle(exchange)
        if path.endswith(_RUNTIME) or not is_ours(path):
            return handle(exchange, self._runtime, self._services)
        return self._openai.handle(exchange)

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return self._runtime.malformed(status, what)


_CONTAINER = frozenset({PING, INVOCATIONS})
_RUNTIME = ("/invocations", "/invocations-response-stream")


def front(services: Services, started: Started | None, ready: Ready) -> Front | Container:
    """What serves the contracts' port; in a SageMaker container that is its contract alone."""
    container = Container(services, started, ready) if started is not None else None
    return container if container is not None and container.inside else Front(services, container)
