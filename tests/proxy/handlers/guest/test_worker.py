"""The worker's side, driven in this process by messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.handlers.guest.frames import Head, call_head, encode, read, reply_head
from proxy.handlers.guest.handler import load
from proxy.handlers.guest.values import Reply
from proxy.handlers.guest.worker import Worker
from tests.proxy.handlers.customers import call, write

SOURCE = """
async def before(call):
    if call.body == b"raise":
        raise ValueError("no")
    if call.body == b"reply":
        return call.reply("short")
    if call.body == b"ask":
        return (await call.invoke("other", "question")).text()
    call.state["n"] = 0
    return "sent"
def during(event):
    event.call.state["n"] += 1
    return event.data + str(event.number).encode()
def after(reply):
    return reply.text() + reply.call.text()
"""


class Wire:
    """What a worker writes, as a reader would read it; of StreamWriter the part that a worker uses."""

    def __init__(self) -> None:
        self._reader = asyncio.StreamReader()

    def write(self, data: bytes) -> None:
        self._reader.feed_data(data)

    async def drain(self) -> None:
        """Nothing is held back."""

    async def read(self) -> tuple[Head, bytes]:
        async with asyncio.timeout(60):
            return await read(self._reader)


async def worker(tmp_path: Path) -> tuple[Worker, Wire]:
    wire: Any = Wire()
    return Worker(await load(write(tmp_path, SOURCE)), wire), wire


def opening(body: bytes) -> Head:
    return {"do": "before", "id": 1, "call": {**call_head(call(body)), "size": len(body)}}


async def test_session_keeps_its_call_until_it_is_closed(tmp_path: Path) -> None:
    """The call comes once; state is kept and told; after the end nothing is."""
    own, wire = await worker(tmp_path)
    await own.step(opening(b"x"), b"x")
    head, body = await wire.read()
    assert (body, head["id"], head["kept"]) == (b"sent", 1, True)
    await own.step({"do": "during", "id": 1, "first": 4, "sizes": [1, 2]}, b"abb")
    head, body = await wire.read()
    assert (body, head["sizes"]) == (b"a4bb5", [2, 3])
    await own.step({"do": "after", "id": 1, "reply": reply_head(Reply(b"", None))}, b"answer ")
    assert (await wire.read())[1] == b"answer sent"
    own.close(1)
    await own.step({"do": "during", "id": 1, "first": 0, "sizes": []}, b"")
    assert "failed" in (await wire.read())[0]


@pytest.mark.parametrize(("body", "key"), [(b"raise", "failed"), (b"reply", "reply")])
async def test_other_ends_of_before(tmp_path: Path, body: bytes, key: str) -> None:
    """What it raises is told as facts; an answer of its own is a reply."""
    own, wire = await worker(tmp_path)
    await own.step(opening(body), body)
    head, _ = await wire.read()
    assert key in head
    assert head["kept"] is False


@pytest.mark.parametrize(
    ("answer", "key"),
    [({"reply": reply_head(Reply(b"", None))}, "call"), ({"error": {"status": 404, "message": "none"}}, "failed")],
)
async def test_question_waits_for_its_answer(tmp_path: Path, answer: Head, key: str) -> None:
    """The question names its session; an answer, or the lack of one, lets the hook go on."""
    own, wire = await worker(tmp_path)
    step = asyncio.ensure_future(own.step(opening(b"ask"), b"ask"))
    head, body = await wire.read()
    assert (head["id"], head["question"]["endpoint"], body) == (1, "other", b"question")
    own.invoked({"ask": head["ask"], **answer}, b"given")
    own.invoked({"ask": head["ask"], **answer}, b"twice")
    await step
    assert key in (await wire.read())[0]


def test_messages_fit_one_wire() -> None:
    """What the worker reads is what the proxy writes: the same code on both sides."""
    assert encode({}, b"").startswith(b"\0\0\0\x02")
