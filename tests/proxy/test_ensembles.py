"""What a hook may ask of others: the same deadline, the same trace, its own line in the log."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from backends.base import Reply
from backends.errors import BackendError, Said
from policies.facts import FailureFacts, Fault
from policies.table import Miss, Target, VllmSpec
from proxy.ensembles import error_type, refusal, whole
from proxy.handlers.errors import HandlerError, gone
from proxy.pipeline import RouteMissing
from tests.proxy.handlers.customers import MODES, handled
from tests.proxy.parts import Pieces

TARGET = Target("t", "vllm", VllmSpec(("http://127.0.0.1:1",), "m"))

ASKS = """
async def before(call):
    answer = await call.invoke("texteval", {"check": call.text()}, custom_attributes="c")
    return {"score": answer.json()["score"], "text": call.text()}
"""
TEXTEVAL = "texteval: {serve_from: first, timeout: 900s}"


def failed(**facts: object) -> BackendError:
    said = facts.pop("said", None)
    made = FailureFacts(**{"fault": Fault.MODEL, "retry_safe": False, **facts})  # type: ignore[arg-type]  # by name
    return BackendError(made, TARGET, "cause", said if isinstance(said, Said) else None)


@pytest.mark.parametrize("run", MODES)
async def test_hook_asks_another_endpoint(tmp_path: Path, run: str) -> None:
    """Its answer is there for what goes to the model; both requests have a line in the log, and one request id."""
    async with handled(tmp_path, ASKS, f"run: {run}", TEXTEVAL) as proxy:
        proxy.answers({"score": 3}, {"done": 1})
        reply, record = await proxy.ask(b"words")
        assert json.loads(reply.body) == {"done": 1}
        assert [json.loads(body) for body in proxy.sent()] == [{"check": "words"}, {"score": 3, "text": "words"}]
        assert proxy.backend.calls[0][1].custom_attributes == "c"
        assert len(record.attempts) == 1
        proxy.services.log.close()
        lines = [json.loads(line) for line in proxy.log.getvalue().splitlines()]
        assert [(line["endpoint"], line["request_id"], line["status"], line["inner"]) for line in lines] == [
            ("texteval", "request-0", 200, True)
        ]


async def test_deadline_is_shared(tmp_path: Path) -> None:
    """The other endpoint gets what is left of this request's time, not the fifteen minutes of its own."""
    async with handled(tmp_path, ASKS, more=TEXTEVAL, route="timeout: 60s") as proxy:
        proxy.answers({"score": 3}, {"done": 1})
        began = time.monotonic()
        await proxy.ask()
        deadlines = [deadline - began for _, _, deadline in proxy.backend.calls]
        assert all(0 < left <= 61 for left in deadlines), deadlines


@pytest.mark.parametrize("run", MODES)
async def test_refusal_of_the_other_may_be_handled(tmp_path: Path, run: str) -> None:
    """A hook that catches InvokeError by its status goes on; one that does not fails with that status."""
    source = """
async def before(call):
    try:
        await call.invoke("texteval")
    except Exception as error:
        if call.body == b"catch":
            return f"{error.status_code} {error}"
        raise
"""
    async with handled(tmp_path, source, f"run: {run}", TEXTEVAL) as proxy:
        proxy.answers(failed(said=Said(413, "too long")), Reply(b"ok"))
        await proxy.ask(b"catch")
        assert proxy.sent()[-1] == b"413 too long"
        proxy.answers(failed(said=Said(413, "too long")))
        with pytest.raises(HandlerError) as caught:
            await proxy.ask(b"x")
        assert (caught.value.status, caught.value.said) == (413, "too long")


async def test_circle_of_handlers_ends(tmp_path: Path) -> None:
    """A handler that asks its own endpoint is told, some levels down, and nothing hangs."""
    async with handled(tmp_path, 'async def before(call): return await call.invoke("chat")\n') as proxy:
        with pytest.raises(HandlerError, match="4 deep") as caught:
            await proxy.ask()
        assert caught.value.status == 508
        assert proxy.sent() == []


OWN = """
async def before(call):
    first = await call.invoke(None, "first")
    second = await call.invoke(None, "second")
    return call.reply(first.text() + second.text())
"""


async def test_own_model_is_asked_past_the_handler(tmp_path: Path) -> None:
    """None as the endpoint is the route's own targets; the attempts are this request's."""
    async with handled(tmp_path, OWN) as proxy:
        proxy.answers(Reply(b"1"), Reply(b"2"))
        reply, record = await proxy.ask(b"x", streaming=True)
        assert (reply.body, proxy.sent(), len(record.attempts)) == (b"12", [b"first", b"second"], 2)
        assert not any(call.streaming for _, call, _ in proxy.backend.calls)


@pytest.mark.parametrize("run", MODES)
async def test_failure_of_the_own_model_is_the_models(tmp_path: Path, run: str) -> None:
    """A hook that lets it through has not failed: a cold model is told as a cold model."""
    async with handled(tmp_path, OWN, f"run: {run}") as proxy:
        cold = failed(fault=Fault.PLATFORM, cold=True)
        proxy.answers(cold, cold)
        with pytest.raises(BackendError) as caught:
            await proxy.ask()
        assert caught.value.facts.cold


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (failed(timed_out=True), 504, "ModelError"),
        (failed(timed_out=True, throttled=True), 504, "ModelError"),
        (failed(said=Said(422, "no")), 422, "ModelError"),
        (failed(said=Said(0, "no")), 502, "ModelError"),
        (failed(cold=True), 503, "ModelNotReadyException"),
        (failed(throttled=True), 503, "ThrottlingException"),
        (failed(), 502, "ModelError"),
        (failed(fault=Fault.PLATFORM), 502, "ServiceUnavailable"),
        (failed(fault=Fault.CONFIG), 502, "InternalFailure"),
        (gone(), 503, "ModelError"),
        (RouteMissing(Miss.UNKNOWN_ENDPOINT), 404, "ValidationError"),
    ],
)
def test_every_failure_has_a_status_and_a_type(error: Exception, status: int, kind: str) -> None:
    """What the other model said, or what stands for its silence; log and metrics have types of AWS's alone."""
    assert (refusal(error).status_code, error_type(error)) == (status, kind)


async def test_an_endpoint_that_is_not_there_is_a_refusal_in_the_log(tmp_path: Path) -> None:
    """Its line says what was asked for, and is of no target."""
    async with handled(tmp_path, 'async def before(call): return await call.invoke("nowhere")\n') as proxy:
        with pytest.raises(HandlerError):
            await proxy.ask()
        proxy.services.log.close()
        (told,) = [json.loads(line) for line in proxy.log.getvalue().splitlines()]
    assert (told["status"], told["error_type"], told["ended"], told["inner"]) == (
        404,
        "ValidationError",
        "refused",
        True,
    )
    assert told["why"] == "unknown endpoint: nowhere"


async def test_streamed_answer_is_whole_for_a_hook() -> None:
    """A hook gets one body however it came."""
    assert (await whole(Reply(stream=Pieces(b"a", b"b"), content_type="x"))).body == b"ab"
