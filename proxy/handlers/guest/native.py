"""The reference convention: `before(call)`, `during(event)`, `after(reply)`, each optional, each sync or async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .loading import own_trace
from .values import Call, Event, InvokeError, Reply, as_body

Hook = Callable[..., Any]

T = TypeVar("T")
U = TypeVar("U")

PLAIN = (Call, Reply, Event, bytes, str, dict, list)
"""What a hook that is no coroutine returns: looked for first, since `isawaitable` costs more than a whole hook."""


class Program(Protocol):
    """A loaded handler, whatever its convention. One for all requests; what belongs to one is in `call.state`.

    `before` and `after` give what they made at once where the customer's code waits for nothing, which spares most
    hooks their coroutines; else something to await. `run` takes either.
    """

    steps: frozenset[str]
    """Those of `before`, `during` and `after` that do something."""

    def before(self, call: Call) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        """What goes to the model, or the answer when the model is not to be asked."""
        ...

    def during(self, event: Event) -> Coroutine[Any, Any, bytes]:
        """What the client gets for one event of a stream; nothing when empty."""
        ...

    def after(self, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
        """What the client gets for the model's whole answer. `reply.call` is what `before` gave."""
        ...


async def run(hook: Hook, *arguments: Any) -> Any:
    """Call a hook, sync or async."""
    given = hook(*arguments)
    return await given if inspect.isawaitable(given) else given


@dataclass(frozen=True, slots=True)
class Raised:
    """What a hook raised."""

    status: int | None
    """Its `status_code`, where that is an error status of HTTP."""
    text: str
    trace: str
    """The customer's own frames, for the log."""
    of_invoke: bool
    """It came out of `call.invoke` and was let through."""


def describe(error: BaseException, folder: Path) -> Raised:
    """What a hook that lives in `folder` raised; `sys.exit` and the like count as well. Raises nothing itself."""
    try:
        status, text = getattr(error, "status_code", None), str(error)
    except Exception:  # noqa: BLE001 - a customer's exception may fail where it is asked for its text
        status, text = None, ""
    usable = status if isinstance(status, int) and 400 <= status <= 599 else None
    # Half a surrogate pair is text to Python and can't be sent.
    sendable = text.encode(errors="replace").decode()
    return Raised(usable, sendable, own_trace(error, folder), issubclass(type(error), InvokeError))


class Native:
    """A handler of the reference convention."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks
        self.steps = frozenset(hooks)

    def before(self, call: Call) -> Call | Reply | Coroutine[Any, Any, Call | Reply]:
        given = self._hooks["before"](call)
        if given is not None and not isinstance(given, PLAIN) and inspect.isawaitable(given):
            return _later(given, call, _called)
        return call if given is None else _called(given, call)

    async def during(self, event: Event) -> bytes:
        given = self._hooks["during"](event)
        if given is not None and not isinstance(given, PLAIN) and inspect.isawaitable(given):
            given = await given
        if given is None or isinstance(given, Event):
            return event.data
        if isinstance(given, dict | list):
            return event.replace(json=given)
        return _body(given, "during", "event.replace(json=...)")[0]

    def after(self, reply: Reply) -> Reply | Coroutine[Any, Any, Reply]:
        given = self._hooks["after"](reply)
        if given is not None and not isinstance(given, PLAIN) and inspect.isawaitable(given):
            return _later(given, reply, _replied)
        return reply if given is None else _replied(given, reply)


async def _later(given: Awaitable[Any], value: T, made: Callable[[Any, T], U]) -> U:
    return made(await given, value)


def _called(given: Any, call: Call) -> Call | Reply:
    """What `before` made of `call`."""
    if given is None:
        return call
    if isinstance(given, Call | Reply):
        return given
    body, kind = _body(given, "before", "a Call (call.replace), a Reply (call.reply)")
    return call.replace(body=body, content_type=kind or call.content_type)


def _replied(given: Any, reply: Reply) -> Reply:
    """What `after` made of `reply`."""
    if given is None:
        return reply
    if isinstance(given, Reply):
        return given
    body, kind = _body(given, "after", "a Reply (reply.replace)")
    return reply.replace(body=body, content_type=kind or reply.content_type)


def _body(given: Any, hook: str, more: str) -> tuple[bytes, str | None]:
    try:
        return as_body(given)
    except TypeError as error:
        found = type(given).__name__
        message = f"{hook} returned {found}; it can return None, {more}, bytes, str, dict or list"
        if isinstance(given, dict | list):
            message = f"{hook} returned a {found} that JSON can't hold: {error}"
        raise TypeError(message) from None
