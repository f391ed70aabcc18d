"""Formatter hooks: `djl_python`'s, from dict to dict, and those of AWS's model-hosting-container-standards.

The latter get a request and a response of the web framework in the engine's container. Here stand values with the part
of those classes that formatters use (`fakes` of requests); `request._body` and `response.body` are what goes on, as
in the container. Contracts: djl-serving's user guides (input_formatter_schema, output_formatter_schema, 0.36) and
model-hosting-container-standards 0.1.16.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .native import Hook, run
from .shims import Request, Response
from .values import Call, Event, Reply, as_body

_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"


class StatusError(Exception):
    """The hook answered with an error status: the client gets it as the model's."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


class DjlFormatters:
    """A handler of `djl_python`'s formatters. A body that is not JSON raises what parsing it raises."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._input = hooks.get("djl_python @input_formatter")
        self._output = hooks.get("djl_python @output_formatter")
        steps = {"before"} if self._input else set()
        self.steps = frozenset(steps | ({"during", "after"} if self._output else set()))

    async def before(self, call: Call) -> Call | Reply:
        if self._input is None:
            return call
        wanted = inspect.signature(self._input).parameters
        takes_all = any(each.kind is each.VAR_KEYWORD for each in wanted.values())
        extra: dict[str, Any] = {"tokenizer": None, "content_type": call.content_type}
        options = {name: value for name, value in extra.items() if takes_all or name in wanted}
        given = self._input(call.json(), **options)
        return call.replace(json=await given if inspect.isawaitable(given) else given)

    async def during(self, event: Event) -> bytes:
        payload = event.json() if self._output is not None else None
        if self._output is None or not isinstance(payload, dict):
            return event.data
        return event.replace(json=await run(self._output, payload))

    async def after(self, reply: Reply) -> Reply:
        if self._output is None:
            return reply
        body, kind = as_body(await run(self._output, reply.json()))
        return reply.replace(body=body, content_type=kind or reply.content_type)


class Standards:
    """A handler of the container standards' formatters."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._input = hooks.get("@input_formatter")
        self._output = hooks.get("@output_formatter")
        steps = {"before": self._input, "after": self._output}
        self.steps = frozenset(step for step, hook in steps.items() if hook is not None)

    async def before(self, call: Call) -> Call | Reply:
        if self._input is None:
            return call
        headers = dict(call.headers)
        known = {"content-type": call.content_type, "accept": call.accept, _ATTRIBUTES: call.custom_attributes}
        headers |= {name: value for name, value in known.items() if value is not None}
        request = Request(call.body, headers)
        request = await run(self._input, request) or request
        body = as_body(await request.body())[0]
        kept = request.headers
        return call.replace(
            body=body,
            content_type=kept.get("content-type"),
            accept=kept.get("accept"),
            custom_attributes=kept.get(_ATTRIBUTES),
        )

    async def during(self, event: Event) -> bytes:
        return event.data

    async def after(self, reply: Reply) -> Reply:
        if self._output is None:
            return reply
        headers = {} if reply.custom_attributes is None else {_ATTRIBUTES: reply.custom_attributes}
        response: Any = Response(reply.body, headers=headers, media_type=reply.content_type)
        response = await run(self._output, response) or response
        body = await _content(response)
        status = int(getattr(response, "status_code", 200))
        if status >= 400:
            raise StatusError(status, body.decode(errors="replace"))
        return reply.replace(
            body=body,
            content_type=response.headers.get("content-type", reply.content_type),
            custom_attributes=response.headers.get(_ATTRIBUTES),
        )


async def _content(response: Any) -> bytes:
    """The body of a response, a streaming one's read to its end."""
    iterator = getattr(response, "body_iterator", None)
    if isinstance(response, Response):
        iterator = response.replaced_iterator
    if iterator is None:
        return as_body(response.body)[0]
    return b"".join([as_body(piece)[0] async for piece in iterator])
