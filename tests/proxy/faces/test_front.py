"""The door: each path gets to its own contract, and to no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backends.base import Reply
from proxy.faces.container import Container, Started
from proxy.faces.front import Front, front
from proxy.services import Services

from .listening import ask, listening, send


def door(started: Started | None) -> Callable[[Services], Front | Container]:
    return lambda parts: front(parts, started, lambda _: None)


BESIDE, WITH_CONTAINER, INSIDE = None, Started("chat", inside=False), Started("chat")


@pytest.mark.parametrize(
    ("started", "line", "operation"),
    [
        (BESIDE, "POST /endpoints/chat/invocations", "InvokeEndpoint"),
        (BESIDE, "POST /v1/endpoints/chat/invocations?x", "InvokeEndpoint"),
        (BESIDE, "POST /v1/models/endpoints/chat/invocations", "InvokeEndpoint"),
        (BESIDE, "POST /endpoints/chat/invocations-response-stream", "InvokeEndpointWithResponseStream"),
        (BESIDE, "POST /endpoints/chat/openai/v1/chat/completions", "ChatCompletions"),
        (BESIDE, "POST /endpoints/chat/openai/v1/completions?api-version=1", "Completions"),
        (WITH_CONTAINER, "POST /invocations", "Invocations"),
        (WITH_CONTAINER, "POST /endpoints/chat/invocations", "InvokeEndpoint"),
        (WITH_CONTAINER, "POST /endpoints/chat/openai/v1/embeddings", "Embeddings"),
        (INSIDE, "POST /invocations", "Invocations"),
    ],
)
async def test_a_path_is_of_one_contract(started: Started | None, line: str, operation: str) -> None:
    """Told by its end, since clients may have any prefix before it."""
    async with listening(door(started), Reply(b"{}")) as running:
        heard = await ask(running.port, line, b"{}")
        told = running.last_line()
    assert (heard.status, told["operation"]) == (200, operation)


@pytest.mark.parametrize(
    ("started", "line", "status"),
    [
        (BESIDE, "GET /ping", 404),
        (BESIDE, "POST /invocations", 404),
        (BESIDE, "GET /livez", 404),
        (WITH_CONTAINER, "GET /ping", 200),
        (WITH_CONTAINER, "POST /gw/ping", 404),
        (INSIDE, "GET /ping", 200),
        (INSIDE, "GET /v1/models", 404),
        (INSIDE, "POST /endpoints/chat/invocations", 404),
    ],
)
async def test_a_contract_that_is_not_served_is_not_there(started: Started | None, line: str, status: int) -> None:
    """Without an endpoint there is no container; inside SageMaker there is nothing else."""
    async with listening(door(started)) as running:
        assert (await ask(running.port, line)).status == status


@pytest.mark.parametrize(("started", "said"), [(BESIDE, b"x-amzn-ErrorType"), (INSIDE, b"__type")])
async def test_garbage_gets_the_words_of_what_is_served(started: Started | None, said: bytes) -> None:
    """The runtime API's typed error, or a container's plain one; its line has no word of the client's."""
    async with listening(door(started)) as running:
        heard = await send(running.port, b"nonsense\r\n\r\n")
        told = running.last_line()
    assert heard.status == 400
    assert said.lower() in repr(heard.headers).lower().encode() + heard.body.lower()
    line = (told["status"], told["error_type"], told["ended"], told["endpoint"], told["bytes_out"])
    assert line == (400, "ValidationError", "refused", "", len(heard.body))
    assert told["request_id"] == heard.headers["x-amzn-requestid"]
    assert "nonsense" not in str(told)
