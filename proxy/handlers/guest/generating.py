"""How blocking code of a handler reaches the model: `generate`, within a thread that runs for one request."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from .values import Call, InvokeError, Reply


class NotYet(Exception):
    """The model was asked while the handler is loaded, when there is no request to ask for."""


class Asking:
    """One request of a thread; `loop` is where its call came from."""

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self._loop = loop

    def ask(self, body: Any, content_type: str | None = None) -> Reply:
        """The answer of the route's own targets. Blocks. Raises InvokeError."""
        asked = self.call.invoke(None, body, content_type=content_type)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()


ASKING: ContextVar[Asking | None] = ContextVar("asking", default=None)
"""The request that this thread runs for."""


def asking() -> Asking:
    """The request that this thread runs for. Raises NotYet while the handler is loaded."""
    found = ASKING.get()
    if found is None:
        message = "the model can be asked within a request only, on the thread that handle was called on"
        raise NotYet(message)
    return found


def no_dialect(speaks: str, what: str) -> InvokeError:
    """What to say when a generate call cannot be put in the dialect of the route's clients."""
    return InvokeError(
        500,
        f"{what} cannot be asked of a route whose clients speak {speaks}; declare clients_speak: lmi, tgi or "
        "openai-completions (openai-chat for chat) in the policy",
    )
