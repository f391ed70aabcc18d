"""Formatter hooks of djl_python and of the container standards."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.handlers.guest.formatters import DjlFormatters, Standards, StatusError
from proxy.handlers.guest.shims import Request, Response
from proxy.handlers.guest.values import Event, Reply
from tests.proxy.handlers.customers import call

IN, OUT = "djl_python @input_formatter", "djl_python @output_formatter"


async def test_djl_input_formatter_goes_from_dict_to_dict() -> None:
    """It gets the parsed body, and of the options those that it takes."""

    def plain(payload: dict[str, Any]) -> dict[str, Any]:
        return {"inputs": payload["inputPrompt"]}

    def wide(payload: dict[str, Any], tokenizer: Any = None, **more: Any) -> dict[str, Any]:
        return {"tokenizer": tokenizer, **more}

    one = call(b'{"inputPrompt":"x"}')
    assert (await DjlFormatters({IN: plain}).before(one)).body == b'{"inputs":"x"}'
    given = await DjlFormatters({IN: wide}).before(one)
    assert json.loads(given.body) == {"tokenizer": None, "content_type": "application/json"}


async def test_djl_output_formatter_sees_answers_and_events() -> None:
    """It changes the whole answer, and each event that holds an object; the end of a stream passes by."""

    async def formatter(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "mark": True}

    own = DjlFormatters({OUT: formatter})
    assert own.steps == {"during", "after"}
    assert (await own.after(Reply(b'{"a":1}', "application/json"))).json() == {"a": 1, "mark": True}
    assert await own.during(Event(b'{"a":1}\n', 0, call())) == b'{"a":1,"mark":true}\n'
    assert await own.during(Event(b"data: [DONE]\n\n", 0, call())) == b"data: [DONE]\n\n"


async def test_djl_formatter_that_is_not_there_changes_nothing() -> None:
    """One of the two is enough."""
    one, reply = call(b"x"), Reply(b"x", None)
    assert await DjlFormatters({}).before(one) is one
    assert await DjlFormatters({}).after(reply) is reply
    assert await DjlFormatters({}).during(Event(b"x", 0, one)) == b"x"
    assert await Standards({}).before(one) is one
    assert await Standards({}).after(reply) is reply
    assert await Standards({}).during(Event(b"x", 0, one)) == b"x"


async def test_input_formatter_changes_the_request_as_in_the_container() -> None:
    """`request._body` goes to the model, header fields with it; returning nothing means the same request."""

    async def formatter(request: Request) -> None:
        assert (request.method, request.url.path) == ("POST", "/invocations")
        body = await request.json()
        request._body = json.dumps({"prompt": body["inputs"], "kind": request.headers["Content-Type"]}).encode()
        request.headers["Accept"] = "text/plain"

    given = await Standards({"@input_formatter": formatter}).before(call(b'{"inputs":"x"}', custom_attributes="c"))
    assert json.loads(given.body) == {"prompt": "x", "kind": "application/json"}
    assert (given.accept, given.custom_attributes) == ("text/plain", "c")  # type: ignore[union-attr]  # a Call


async def test_output_formatter_changes_the_response() -> None:
    """Body, type and custom attributes are what the client gets."""

    async def formatter(response: Response) -> Response:
        assert response.media_type == "application/json"
        response.body = response.body.upper()
        response.headers["Content-Type"] = "text/plain"
        response.headers["X-Amzn-SageMaker-Custom-Attributes"] = "new"
        return response

    reply = await Standards({"@output_formatter": formatter}).after(Reply(b"{}a", "application/json", "old"))
    assert (reply.body, reply.content_type, reply.custom_attributes) == (b"{}A", "text/plain", "new")


async def test_output_formatter_that_streams_is_read_to_its_end() -> None:
    """In the container a response is an iterator; both ways of using it work."""

    async def formatter(response: Response) -> Response:
        first = response.body_iterator

        async def louder() -> AsyncIterator[bytes]:
            async for piece in first:
                yield piece.upper()
                yield b"!"

        response.body_iterator = louder()
        return response

    assert (await Standards({"@output_formatter": formatter}).after(Reply(b"a", None))).body == b"A!"


async def test_response_of_a_framework_is_understood() -> None:
    """A formatter may make a response of the real web framework: body, status and headers are all it takes."""

    class Foreign:
        body = b"x"
        status_code = 200
        headers = {"content-type": "a/b"}  # noqa: RUF012 - as simple as it gets

    reply = await Standards({"@output_formatter": lambda _: Foreign()}).after(Reply(b"a", None))
    assert (reply.body, reply.content_type) == (b"x", "a/b")


async def test_error_status_of_a_formatter_is_the_models() -> None:
    """A response of 400 and more ends the request with that status."""
    own = Standards({"@output_formatter": lambda _: Response("too long", 413)})
    with pytest.raises(StatusError, match="too long") as caught:
        await own.after(Reply(b"a", None))
    assert caught.value.status_code == 413
