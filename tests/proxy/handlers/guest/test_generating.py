"""Asking the model from blocking code."""

from __future__ import annotations

import asyncio

import pytest

from proxy.handlers.guest.generating import ASKING, Asking, NotYet, asking, no_dialect
from proxy.handlers.guest.values import Question, Reply
from tests.proxy.handlers.customers import call


async def test_thread_asks_in_the_loop_its_call_came_from() -> None:
    """A thread blocks until the answer is there; the loop goes on."""
    questions: list[Question] = []

    async def invoke(question: Question) -> Reply:
        await asyncio.sleep(0)
        questions.append(question)
        return Reply(b"answer", None)

    request = Asking(call(b"own", invoke=invoke), asyncio.get_running_loop())

    def blocking() -> bytes:
        token = ASKING.set(request)
        try:
            return asking().ask({"prompt": "x"}).body
        finally:
            ASKING.reset(token)

    assert await asyncio.to_thread(blocking) == b"answer"
    assert questions == [Question(None, None, b'{"prompt":"x"}', "application/json", None, None)]


def test_outside_a_request_there_is_nobody_to_ask() -> None:
    """While a handler is loaded, or on a thread of its own, the model cannot be asked."""
    with pytest.raises(NotYet, match="within a request only"):
        asking()


def test_dialect_without_a_place_says_what_to_declare() -> None:
    """The remedy is a key of the policy."""
    assert "clients_speak: lmi" in str(no_dialect("opaque", "LLM.generate"))
