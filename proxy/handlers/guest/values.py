"""What a hook is given and may give back: `Call`, `Reply`, `Event`. Frozen; `replace` makes a changed copy.

A body may be given as bytes, as text (UTF-8) or as what JSON can hold (then the content type becomes
`application/json`, unless one is given). No value shows a body, a header or custom attributes in its repr.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

Invoke = Callable[["Question"], Awaitable["Reply"]]
"""Reaches another endpoint of the policy."""

JSON_TYPE = "application/json"
DONE = b"[DONE]"
"""What ends an OpenAI event stream; no JSON."""
_FIELD = re.compile(r"[\t\x20-\x7e]*")
_HEADERS = frozenset({"content_type", "accept", "custom_attributes"})


class InvokeError(Exception):
    """`call.invoke` got no answer. `status_code` is the other model's status, or what stands for its absence."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


@dataclass(frozen=True, slots=True)
class Question:
    """What `call.invoke` asks of another endpoint."""

    endpoint: str | None
    """None: the handler's own route, without the handler."""
    component: str | None
    body: bytes = field(repr=False)
    content_type: str | None
    accept: str | None
    custom_attributes: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to the model."""

    body: bytes = field(repr=False)
    content_type: str | None
    accept: str | None
    custom_attributes: str | None = field(repr=False)
    endpoint: str
    component: str | None
    streaming: bool
    """The client asked for a stream: `during` sees its events, and `after` is not called."""
    request_id: str
    speaks: str
    """The dialect that the policy declares for the bodies of this route's clients."""
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Names in lower case; credentials are left out. Inside SageMaker few headers reach a container."""
    state: dict[str, Any] = field(repr=False, compare=False, default_factory=dict)
    """Yours: what `before` puts in, `during` and `after` of the same request find."""
    _invoke: Invoke | None = field(repr=False, compare=False, default=None)

    if not TYPE_CHECKING:  # there is no such field for who reads the code: it is how two of them come to be

        def __getattr__(self, name):
            """What `arrived` left for the first who reads it."""
            if name == "state":
                object.__setattr__(self, name, {})
            elif name == "headers":
                object.__setattr__(self, name, self._invoke.headers())
            return object.__getattribute__(self, name)

    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def replace(self, **changes: Any) -> Call:
        """A copy with changes: `body=` (bytes or text) or `json=`, `content_type=`, `accept=`, `custom_attributes=`."""
        return dataclasses.replace(self, **_changes(changes, {"accept"}))

    def reply(self, body: Any, content_type: str | None = None) -> Reply:
        """An answer without asking the model: return it from `before`."""
        data, found = as_body(body)
        _fields(content_type=content_type)
        return Reply(data, content_type or found, None, self)

    async def invoke(
        self,
        endpoint: str | None,
        body: Any = None,
        *,
        component: str | None = None,
        content_type: str | None = None,
        accept: str | None = None,
        custom_attributes: str | None = None,
    ) -> Reply:
        """The whole answer of another endpoint of the policy, asked under this request's deadline and trace.

        Without `body` it gets this call's. None as `endpoint` asks this route's own model once more, past the handler.
        Time spent here does not count against the hook's limit. Raises InvokeError.
        """
        _fields(content_type=content_type, accept=accept, custom_attributes=custom_attributes)
        if self._invoke is None:
            message = "this call did not come from the proxy, so that there is nothing to invoke"
            raise RuntimeError(message)
        data, found = (self.body, self.content_type) if body is None else as_body(body)
        kind = content_type or found or self.content_type
        return await self._invoke(Question(endpoint, component, data, kind, accept or self.accept, custom_attributes))


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's whole answer on its way to the client."""

    body: bytes = field(repr=False)
    content_type: str | None
    custom_attributes: str | None = field(repr=False, default=None)
    call: Call | None = field(repr=False, compare=False, default=None)
    """What was sent to the model. None for the answer of `call.invoke`."""

    def text(self) -> str:
        """The body as UTF-8 text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def replace(self, **changes: Any) -> Reply:
        """A copy with changes: `body=` (bytes or text) or `json=`, `content_type=`, `custom_attributes=`."""
        return dataclasses.replace(self, **_changes(changes, set()))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a streamed answer: a server-sent event with its blank line, a JSON line, or a piece as it came."""

    data: bytes = field(repr=False)
    number: int
    """0, 1, 2, ... within the stream."""
    call: Call = field(repr=False)

    def text(self) -> str:
        """The payload as text: of a server-sent event its `data`, else everything."""
        return self._payload().decode()

    def json(self) -> Any:
        """The payload, parsed; None where there is none (`[DONE]`, keep-alives)."""
        payload = self._payload().strip()
        return None if payload in (b"", DONE) else json.loads(payload)

    def replace(self, *, json: Any) -> bytes:
        """The event with another payload, framed as this one is. `during` returns it."""
        payload = encoded(json)
        if self._is_sse():
            kept = [line for line in self.data.splitlines() if line and not line.startswith(b"data:")]
            return b"\n".join([*kept, b"data: " + payload, b"", b""])
        return payload + (b"\n" if self.data.endswith(b"\n") else b"")

    def _is_sse(self) -> bool:
        return self.data.lstrip(b"\xef\xbb\xbf").startswith((b"data:", b"event:", b"id:", b":", b"retry:"))

    def _payload(self) -> bytes:
        if not self._is_sse():
            return self.data
        lines = [line[5:] for line in self.data.splitlines() if line.startswith(b"data:")]
        return b"\n".join(line.removeprefix(b" ") for line in lines)


def encoded(value: Any) -> bytes:
    """`value` as compact JSON in UTF-8. Raises TypeError for what JSON can't hold, NaN and infinities as well: Python
    would write them by names that no other reader knows."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise TypeError(str(error)) from None
    return text.encode()


def as_body(value: Any) -> tuple[bytes, str | None]:
    """The bytes of what a hook gave as a body, and the content type that its kind implies. Raises TypeError."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), None
    if isinstance(value, str):
        return value.encode(), None
    if isinstance(value, dict | list):
        return encoded(value), JSON_TYPE
    message = f"a body can be bytes, str, dict or list, not {type(value).__name__}; turn it into one of these"
    raise TypeError(message)


def _fields(**given: Any) -> None:
    """Refuse what can't be a header's value: left out without a word it would be missed."""
    for name, value in given.items():
        if value is not None and not (isinstance(value, str) and _FIELD.fullmatch(value)):
            message = f"{name} goes into a header: give it ASCII text without line breaks, or None"
            raise ValueError(message)


def _changes(given: dict[str, Any], more: set[str]) -> dict[str, Any]:
    allowed = {"body", "json", "content_type", "custom_attributes", *more}
    if not given.keys() <= allowed or {"body", "json"} <= given.keys():
        message = f"replace takes {', '.join(sorted(allowed))} (body or json), not {', '.join(sorted(given))}"
        raise TypeError(message)
    changes = dict(given)
    if "json" in changes:
        changes["body"] = encoded(changes.pop("json"))
        changes.setdefault("content_type", JSON_TYPE)
    elif "body" in changes:
        changes["body"], kind = as_body(changes["body"])
        if kind is not None:
            changes.setdefault("content_type", kind)
    _fields(**{name: changes[name] for name in _HEADERS & changes.keys()})
    return changes


class Origin(Protocol):
    """Where a call comes from: what is asked on its behalf, and its header fields."""

    def __call__(self, question: Question) -> Awaitable[Reply]:
        """As `Invoke`."""
        ...

    def headers(self) -> Mapping[str, str]:
        """As `Call.headers`."""
        ...


class _OpenCall:
    __slots__ = Call.__slots__


class _OpenReply:
    __slots__ = Reply.__slots__


def arrived(
    body: bytes,
    content_type: str | None,
    accept: str | None,
    custom_attributes: str | None,
    endpoint: str,
    component: str | None,
    streaming: bool,
    request_id: str,
    speaks: str,
    origin: Origin,
) -> Call:
    """A call of the proxy's own. Its `state` and `headers` are made when they are read first, which few hooks do.

    Each request makes one. So its fields are set in an object of the same slots that is not frozen, and that becomes a
    Call, which Python allows: a twentieth of what the constructor of a frozen dataclass takes.
    """
    made: Any = _OpenCall()
    made.body = body
    made.content_type = content_type
    made.accept = accept
    made.custom_attributes = custom_attributes
    made.endpoint = endpoint
    made.component = component
    made.streaming = streaming
    made.request_id = request_id
    made.speaks = speaks
    made._invoke = origin
    made.__class__ = Call
    call: Call = made
    return call


def answered(body: bytes, content_type: str | None, custom_attributes: str | None, call: Call | None) -> Reply:
    """A Reply, made as `arrived` makes a Call."""
    made: Any = _OpenReply()
    made.body = body
    made.content_type = content_type
    made.custom_attributes = custom_attributes
    made.call = call
    made.__class__ = Reply
    reply: Reply = made
    return reply
