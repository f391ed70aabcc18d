"""One request's way through a handler, the same in all three places it can run."""

from __future__ import annotations

import gc
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.base import Reply
from backends.errors import BackendError
from policies.facts import FailureFacts, Fault
from proxy.handlers.errors import HandlerError
from proxy.handlers.guest.values import Call
from tests.proxy.handlers.customers import MODES, events, handled
from tests.proxy.parts import Pieces
from tests.proxy.tracing import Traced

everywhere = pytest.mark.parametrize("run", MODES)

WHOLE = """
class Refused(Exception):
    status_code = 422

async def before(call):
    body = call.json()
    if "raise" in body:
        raise {"plain": ValueError, "status": Refused}[body["raise"]]("SECRET of " + call.endpoint)
    if "short" in body:
        return call.reply({"short": True})
    call.state["seen"] = body
    return call.replace(json={"inputs": body["text"]}, accept="text/plain", custom_attributes="mine")

def after(reply):
    return {"model": reply.json(), "before": reply.call.state["seen"], "sent": reply.call.json()}
"""


@everywhere
async def test_before_and_after(tmp_path: Path, run: str) -> None:
    """The model gets what `before` gave, the client what `after` gave, which knows what was sent and left."""
    async with handled(tmp_path, WHOLE, f"run: {run}") as proxy:
        proxy.answers({"answer": 1})
        reply, record = await proxy.ask(b'{"text":"x"}')
        (_, sent, _) = proxy.backend.calls[0]
        assert (sent.body, sent.accept, sent.custom_attributes) == (b'{"inputs":"x"}', "text/plain", "mine")
        assert json.loads(reply.body) == {"model": {"answer": 1}, "before": {"text": "x"}, "sent": {"inputs": "x"}}
        assert reply.content_type == "application/json"
        assert [attempt.target for attempt in record.attempts] == ["first"]


@everywhere
async def test_answer_without_the_model(tmp_path: Path, run: str) -> None:
    """A Reply from `before` ends the request, and the record says who answered."""
    async with handled(tmp_path, WHOLE, f"run: {run}") as proxy:
        reply, record = await proxy.ask(b'{"short":1}')
        assert json.loads(reply.body) == {"short": True}
        assert (proxy.sent(), record.why) == ([], "chat's handler answered by itself")


@everywhere
async def test_a_traced_request_goes_the_same_way(tmp_path: Path, run: str) -> None:
    """What each hook gives is what goes on, to the model and to the client, also where their times are taken."""
    async with handled(tmp_path, WHOLE, f"run: {run}") as proxy:
        proxy.services = replace(proxy.services, telemetry=Traced().telemetry)
        proxy.answers({"answer": 1})
        reply, _ = await proxy.ask(b'{"text":"x"}')
        assert json.loads(reply.body) == {"model": {"answer": 1}, "before": {"text": "x"}, "sent": {"inputs": "x"}}
        short, _ = await proxy.ask(b'{"short":1}')
        assert json.loads(short.body) == {"short": True}
        assert proxy.sent() == [b'{"inputs":"x"}']


@everywhere
@pytest.mark.parametrize(
    ("kind", "status", "said"), [("plain", 500, "The model's handler failed."), ("status", 422, "SECRET of chat")]
)
async def test_exceptions(
    tmp_path: Path, run: str, kind: str, status: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees a status and, only where one was given, the text; the log has the customer's lines alone."""
    async with handled(tmp_path, WHOLE, f"run: {run}") as proxy:
        with caplog.at_level(logging.WARNING), pytest.raises(HandlerError) as caught:
            await proxy.ask(json.dumps({"raise": kind}).encode())
        assert (caught.value.status, caught.value.said, proxy.sent()) == (status, said, [])
        logged = caplog.text
        assert "before of chat, request request-0: raised" in logged
        assert 'model.py", line 8, in before' in logged
        assert ("proxy/handlers" in logged, "pointsman_guest" in logged) == (False, False)
        counted = proxy.services.meters.render({})
        assert 'pointsman_handler_hooks_total{handler="model.py",step="before",result="raised"} 1' in counted


@everywhere
async def test_what_a_caller_sent_is_no_log_line(tmp_path: Path, run: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that repeats it is told on lines of its own, and drives no terminal."""
    code = "def before(call):\n    raise ValueError('unknown: ' + call.json()['task'])\n"
    task = 'x\n{"log":"request","request_id":"forged"}\r\nINFO pointsman.auth: 9 keys \x1b[2J\u2028\x85.'
    async with handled(tmp_path, code, f"run: {run}") as proxy:
        with caplog.at_level(logging.WARNING), pytest.raises(HandlerError):
            await proxy.ask(json.dumps({"task": task}).encode())
    (logged,) = [each.getMessage() for each in caplog.records]
    told, *rest = logged.splitlines()
    assert told == "before of chat, request request-0: raised"
    assert all(each.startswith("  | ") for each in rest)
    assert rest[-2:] == [
        '  | { "log":"request","request_id":"forged"}\\u000d',
        "  | INFO pointsman.auth: 9 keys \\u001b[2J\\u2028\\u0085.",
    ]


DURING = """
def before(call):
    call.state["count"] = 0

def during(event):
    event.call.state["count"] += 1
    payload = event.json()
    if payload == {"drop": 1}:
        return b""
    if payload == {"raise": 1}:
        raise ValueError("SECRET")
    if payload is None:
        return event.data
    return event.replace(json={"n": event.number, "count": event.call.state["count"], **payload})

def after(reply):
    raise AssertionError("a stream has no whole answer")
"""


@everywhere
async def test_each_event_of_a_stream(tmp_path: Path, run: str) -> None:
    """However the upstream cut them, events pass one by one, in order, and may be changed or dropped."""
    async with handled(tmp_path, DURING, f"run: {run}") as proxy:
        proxy.answers(events('{"a":1}', '{"drop":1}', '{"b":2}', "[DONE]"))
        reply, _ = await proxy.ask(b"{}", streaming=True)
        expected = ['{"n":0,"count":1,"a":1}', '{"n":2,"count":3,"b":2}', "[DONE]"]
        assert reply.body == "".join(f"data: {each}\n\n" for each in expected).encode()


@everywhere
async def test_stream_that_a_hook_breaks(tmp_path: Path, run: str) -> None:
    """The events before it are out; the failure is the handler's and no target's."""
    async with handled(tmp_path, DURING, f"run: {run}") as proxy:
        stream = Pieces(b'data: {"a":1}\n\n', b'data: {"raise":1}\n\n')
        proxy.answers(Reply(stream=stream, content_type="text/event-stream"))
        with pytest.raises(HandlerError):
            await proxy.ask(b"{}", streaming=True)
        assert stream.closed == 1


async def test_stream_of_one_piece_and_of_json_lines(tmp_path: Path) -> None:
    """A whole body for a streaming client is one stream as well; the last line need not end."""
    async with handled(tmp_path, DURING) as proxy:
        proxy.answers(Reply(b'{"a":1}\n{"b":2}', content_type="application/jsonlines"))
        reply, _ = await proxy.ask(b"{}", streaming=True)
        assert reply.body == b'{"n":0,"count":1,"a":1}\n{"n":1,"count":2,"b":2}\n'
        proxy.answers(Reply(b"", content_type="application/jsonlines"))
        assert (await proxy.ask(b"{}", streaming=True))[0].body == b""


async def test_stream_is_not_gathered(tmp_path: Path) -> None:
    """An event is out before the next has come."""
    async with handled(tmp_path, DURING) as proxy:
        broken = BackendError(
            FailureFacts(Fault.NETWORK, None), next(iter(proxy.services.policy.current.table.targets.values())), "broke"
        )
        stream = Pieces(b'data: {"a":1}\n\n', broken)
        proxy.answers(Reply(stream=stream, content_type="text/event-stream"))
        seen: list[bytes] = []
        with pytest.raises(BackendError):
            await proxy.ask(streaming=True, seen=seen)
        assert seen == [b'data: {"n":0,"count":1,"a":1}\n\n']


async def test_handler_without_a_hook_leaves_things_as_they_are(tmp_path: Path) -> None:
    """Without `before` the call, without `after` the reply, without `during` the stream is the very same object."""
    async with handled(tmp_path, "def before(call): ...\n") as proxy:
        answer = Reply(b"x")
        proxy.answers(answer)
        assert (await proxy.ask())[0] is answer
    async with handled(tmp_path, "def after(reply): ...\n") as proxy:
        stream = Pieces(b"a", b"b")
        proxy.answers(Reply(b"x"), Reply(stream=stream))
        assert (await proxy.ask(b"own"))[0].body == b"x"
        assert (await proxy.ask(streaming=True))[0].body == b"ab"
        assert proxy.sent() == [b"own", b"{}"]


async def test_hook_gets_no_credentials(tmp_path: Path) -> None:
    """The caller's signature and cookies are not the customer's business; other fields are."""
    source = "def before(call): return call.reply(dict(call.headers))\n"
    async with handled(tmp_path, source) as proxy:
        headers = (("Authorization", "AWS4"), ("X-Amz-Security-Token", "t"), ("Cookie", "c"), ("X-Own", "kept"))
        reply, _ = await proxy.ask(headers=headers)
        assert json.loads(reply.body) == {"x-own": "kept"}


ESCAPES = """
import asyncio, sys
async def before(call):
    match call.text():
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancelled at once":
            raise asyncio.CancelledError
        case "cancelled":
            task = asyncio.ensure_future(asyncio.sleep(600))
            await asyncio.sleep(0)
            task.cancel()
            await task
    return call.reply(b"well")
"""


@pytest.mark.parametrize("run", MODES)
async def test_what_would_end_more_than_a_request_is_a_failure_like_any_other(tmp_path: Path, run: str) -> None:
    """`sys.exit` and a cancellation of the hook's own end one request, with the customer's lines in the log."""
    async with handled(tmp_path, ESCAPES, f"run: {run}, workers: 1") as proxy:
        for wish in (b"exit", b"interrupt", b"cancelled at once", b"cancelled"):
            with pytest.raises(HandlerError) as caught:
                await proxy.ask(wish)
            assert (caught.value.reason, caught.value.status) == ("raised", 500)
            assert "model.py" in (caught.value.trace or "")
            assert (await proxy.ask(b""))[0].body == b"well"


@everywhere
async def test_plain_hook_that_exits_ends_its_request_only(tmp_path: Path, run: str) -> None:
    """A hook that is no coroutine is held to the same."""
    source = "import sys\ndef before(call):\n    sys.exit(3)\n"
    async with handled(tmp_path, source, f"run: {run}, workers: 1") as proxy:
        with pytest.raises(HandlerError) as caught:
            await proxy.ask()
        assert (caught.value.reason, caught.value.status) == ("raised", 500)


@pytest.mark.parametrize("body", [b'{"text":"x"}', b'{"short":1}'])
async def test_nothing_of_a_request_waits_for_the_collector(tmp_path: Path, body: bytes) -> None:
    """What a hook was given leads to the request and back; with large bodies such circles would fill the memory."""
    async with handled(tmp_path, WHOLE) as proxy:
        proxy.answers({"answer": 1})
        gc.disable()
        try:
            before = {id(each) for each in gc.get_objects() if type(each) is Call}
            await proxy.ask(body)
            left = [each for each in gc.get_objects() if type(each) is Call and id(each) not in before]
        finally:
            gc.enable()
        assert left == []


async def test_call_outlives_its_request_without_it(tmp_path: Path) -> None:
    """Code that keeps a call and invokes something later is told why that can't be."""
    async with handled(tmp_path, "kept = []\ndef before(call):\n    kept.append(call)\n") as proxy:
        proxy.answers({"answer": 1})
        await proxy.ask(headers=(("X-Own", "kept"),))
        run: Any = proxy.services.handlers._known["chat"][1].run
        (kept,) = run._loaded.program._hooks["before"].__globals__["kept"]
        assert (kept.headers, kept.state) == ({"x-own": "kept"}, {})
        with pytest.raises(RuntimeError, match="is over"):
            await kept.invoke("alone")
