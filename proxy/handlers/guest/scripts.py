"""SageMaker's classic scripts: `model_fn`, `input_fn`, `output_fn`, called as AWS's inference toolkit calls them.

Arguments, the optional `context`, UTF-8 text for JSON and CSV, `(data, content_type)` as a result, and
`application/json` where a client accepts anything are those of sagemaker-inference 1.10.1. Between the two functions
stands the model that the policy names, so that `predict_fn` and `transform_fn` have no place here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .native import Hook, run
from .values import JSON_TYPE, Call, Event, Reply, as_body

_TEXT = frozenset({JSON_TYPE, "text/csv"})
_ANY = "*/*"


class Context:
    """What a function with a parameter too many gets: of the toolkit's context the part that has a meaning here."""

    def __init__(self, folder: Path) -> None:
        self.system_properties = {"model_dir": str(folder)}
        self.model: Any = None
        """What `model_fn` returned."""
        self.headers: Mapping[str, str] = {}

    def get_request_header(self, _index: int, key: str) -> str | None:
        """A header field of the request."""
        return self.headers.get(key.lower())


class Script:
    """A handler of the classic convention."""

    def __init__(self, hooks: Mapping[str, Hook], folder: Path) -> None:
        self._hooks = hooks
        self._folder = folder
        self._model: Any = None
        names = {"input_fn": "before", "output_fn": "after"}
        self.steps = frozenset(step for name, step in names.items() if name in hooks)

    async def start(self) -> None:
        """Run `model_fn`, once, with the folder of the file."""
        if "model_fn" in self._hooks:
            self._model = await _call(self._hooks["model_fn"], self._context(None), str(self._folder))

    async def before(self, call: Call) -> Call | Reply:
        kind = _kind(call.content_type)
        data: Any = call.body.decode() if kind in _TEXT else call.body
        given = await _call(self._hooks["input_fn"], self._context(call), data, call.content_type or JSON_TYPE)
        body, found = _as_body(given, "input_fn")
        return call.replace(body=body, content_type=found or call.content_type)

    async def during(self, event: Event) -> bytes:
        return event.data

    async def after(self, reply: Reply) -> Reply:
        accept = reply.call.accept if reply.call is not None else None
        if not accept or accept == _ANY:
            accept = JSON_TYPE
        given = await _call(self._hooks["output_fn"], self._context(reply.call), _prediction(reply), accept)
        kind: str | None = accept
        if isinstance(given, tuple) and len(given) == 2:
            given, kind = given
        return reply.replace(body=_as_body(given, "output_fn")[0], content_type=kind)

    def _context(self, call: Call | None) -> Context:
        context = Context(self._folder)
        context.model = self._model
        context.headers = call.headers if call is not None else {}
        return context


async def _call(hook: Hook, context: Context, *arguments: Any) -> Any:
    wants = len(inspect.signature(hook).parameters)
    if wants not in (len(arguments), len(arguments) + 1):
        message = f"{hook.__name__} takes {wants} arguments; give it {len(arguments)}, or one more for the context"
        raise TypeError(message)
    return await run(hook, *arguments, *((context,) if wants > len(arguments) else ()))


def _prediction(reply: Reply) -> Any:
    """The model's answer as `predict_fn` would have handed it on."""
    kind = _kind(reply.content_type)
    if kind == JSON_TYPE:
        return reply.json()
    return reply.text() if kind is not None and kind.startswith("text/") else reply.body


def _kind(content_type: str | None) -> str | None:
    return None if content_type is None else content_type.partition(";")[0].strip().lower()


def _as_body(given: Any, hook: str) -> tuple[bytes, str | None]:
    try:
        return as_body(given)
    except TypeError as error:
        if isinstance(given, dict | list):
            message = f"{hook} returned a {type(given).__name__} that JSON can't hold: {error}"
            raise TypeError(message) from None
        message = (
            f"{hook} returned {type(given).__name__}; between here and the model there is a wire, so return what is "
            "sent: bytes, str, dict or list"
        )
        raise TypeError(message) from None
