"""DJL's handle: run to its end on a thread, its model elsewhere."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.guest.djl import Handle
from proxy.handlers.guest.djl_values import Input, Output, default_handle
from proxy.handlers.guest.formatters import StatusError
from proxy.handlers.guest.values import Event, Question, Reply
from tests.proxy.handlers.customers import call


async def invoke(question: Question) -> Reply:
    return Reply(question.body.upper(), "text/plain")


async def answered(handle: Any, folder: Path = Path("/model"), **facts: Any) -> Reply:
    given = await Handle(handle, folder).before(call(b"body", invoke=invoke, **facts))
    assert isinstance(given, Reply)
    return given


async def test_handle_wraps_the_default_handler() -> None:
    """The common case: look at the request, let DJL's own handler do the rest, add something."""

    def handle(inputs: Input) -> Output:
        output = default_handle(inputs)
        return output.add_property("content-type", "x/y")

    reply = await answered(handle)
    assert (reply.body, reply.content_type) == (b"BODY", "x/y")


async def test_async_handle_may_block() -> None:
    """An async handle that blocks on its model holds up nobody else."""

    async def handle(inputs: Input) -> Output:
        await asyncio.sleep(0)
        return default_handle(inputs)

    assert (await answered(handle)).body == b"BODY"


async def test_input_has_headers_types_and_properties(tmp_path: Path) -> None:
    """What DJL gives in properties is there: header fields, serving.properties, the model's folder."""
    (tmp_path / "serving.properties").write_text("# comment\noption.model_id=tiny\nengine=Python\n")
    seen: list[dict[str, str]] = []

    def handle(inputs: Input) -> Output:
        seen.append(inputs.get_properties())
        assert threading.current_thread().name == "handle"
        return Output().add(b"x")

    await answered(handle, tmp_path, headers={"x-own": "h", "content-type": "other"}, accept="a/b")
    assert seen == [
        {
            "model_dir": str(tmp_path),
            "device_id": "-1",
            "model_id": "tiny",
            "engine": "Python",
            "x-own": "h",
            "Content-Type": "application/json",
            "Accept": "a/b",
        }
    ]


async def test_empty_call_at_load() -> None:
    """DJL's call at load is made; asking the model then is forgiven, any other failure is not."""
    seen: list[bool] = []

    def handle(inputs: Input) -> Output:
        seen.append(inputs.is_empty())
        return default_handle(inputs)

    await Handle(handle, Path("/model")).start()
    assert seen == [True]

    def broken(inputs: Input) -> Output:
        raise ValueError("weights")

    with pytest.raises(ValueError, match="weights"):
        await Handle(broken, Path("/model")).start()


async def test_error_output_is_the_models_error() -> None:
    """An Output of 400 and more is an error with that status."""
    with pytest.raises(StatusError, match='"error":"too long"') as caught:
        await answered(lambda inputs: Output().error("too long", 413))
    assert caught.value.status_code == 413
    with pytest.raises(StatusError, match="OK"):
        await answered(lambda inputs: Output(500))


async def test_nothing_is_no_answer() -> None:
    """A handle that returns None for a request has forgotten it."""
    with pytest.raises(TypeError, match="handle returned NoneType"):
        await answered(lambda inputs: None)


async def test_empty_output_is_an_empty_answer() -> None:
    """As in DJL, an Output without content has no body."""
    assert (await answered(lambda inputs: Output())).body == b""


async def test_thread_that_nobody_waits_for_is_still_waited_for() -> None:
    """A cancelled wait goes on until the thread ends, so that its slot counts as taken."""
    began, go = threading.Event(), threading.Event()

    def handle(inputs: Input) -> Output:
        began.set()
        go.wait(60)
        return Output().add(b"x")

    waiting = asyncio.ensure_future(answered(handle))
    await asyncio.to_thread(began.wait, 10)
    waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    assert (await waiting).body == b"x"


async def test_other_steps_pass_by() -> None:
    """All of a handle is in `before`."""
    own = Handle(default_handle, Path("/model"))
    reply = Reply(b"x", None)
    assert own.steps == {"before"}
    assert await own.after(reply) is reply
    assert await own.during(Event(b"x", 0, call())) == b"x"
