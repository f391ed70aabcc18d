"""DJL Serving's Python mode: `handle(inputs)`, sync or async, run to its end; its generate calls go to our targets.

`handle` blocks while it waits for the model, so that each request has a thread, as in DJL's sync mode. The empty call
that DJL makes at load is made, and what it raises for want of a model is forgiven. `serving.properties` beside the file
is given in `get_properties()`, without the prefix `option.`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from .djl_values import JSON_TYPE, Input, Output
from .formatters import StatusError
from .generating import ASKING, Asking, NotYet
from .native import Hook
from .values import Call, Event, Reply


class Handle:
    """A handler of DJL's convention. Its `before` always answers: the model is asked within."""

    steps = frozenset({"before"})

    def __init__(self, handle: Hook, folder: Path) -> None:
        self._handle = handle
        self._properties = {"model_dir": str(folder), "device_id": "-1", **_serving_properties(folder)}

    async def start(self) -> None:
        """The empty call."""
        empty = Input()
        empty.properties = dict(self._properties)
        try:
            await self._in_thread(empty, None)
        except NotYet:
            return

    async def before(self, call: Call) -> Call | Reply:
        inputs = Input()
        inputs.properties = {**self._properties, **call.headers}
        for name, value in (("Content-Type", call.content_type), ("Accept", call.accept)):
            if value is not None:
                inputs.properties = {key: kept for key, kept in inputs.properties.items() if key != name.lower()}
                inputs.properties[name] = value
        inputs.content.add("data", call.body)
        output = await self._in_thread(inputs, Asking(call, asyncio.get_running_loop()))
        if not isinstance(output, Output):
            message = f"handle returned {type(output).__name__} for a request; return an Output"
            raise TypeError(message)
        body = output.content.value_at(0) if not output.content.is_empty() else b""
        if output.code >= 400:
            raise StatusError(output.code, body.decode(errors="replace") or output.message)
        kinds = [value for name, value in output.properties.items() if name.lower() == "content-type"]
        return call.reply(body, kinds[0] if kinds else JSON_TYPE)

    async def during(self, event: Event) -> bytes:
        return event.data

    async def after(self, reply: Reply) -> Reply:
        return reply

    async def _in_thread(self, inputs: Input, request: Asking | None) -> Any:
        done: Future[Any] = Future()

        def run() -> None:
            ASKING.set(request)
            try:
                given = self._handle(inputs)
                # A loop of the thread's own, so that blocking within an async handle holds up nobody else.
                done.set_result(asyncio.run(given) if inspect.iscoroutine(given) else given)
            except BaseException as error:  # noqa: BLE001 - it is raised where the thread is waited for
                done.set_exception(error)

        threading.Thread(target=run, name="handle", daemon=True).start()
        waiting = asyncio.wrap_future(done)
        while True:
            try:
                await asyncio.wait((waiting,))
                return waiting.result()
            except asyncio.CancelledError:
                if waiting.done():
                    raise
                # A thread can't be stopped: whoever gave up waiting goes on counting it as busy.


def _serving_properties(folder: Path) -> dict[str, str]:
    try:
        text = (folder / "serving.properties").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = [line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#")]
    return {key.strip().removeprefix("option."): value.strip() for key, _, value in pairs}
