"""The stand-in for vllm: what goes over the wire in each dialect, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.handlers.guest.engine import LLM, SamplingParams
from proxy.handlers.guest.generating import ASKING, Asking
from proxy.handlers.guest.values import InvokeError, Question, Reply
from tests.proxy.handlers.customers import call

CHOICES = {"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b", "finish_reason": "length"}]}
CHAT = {"choices": [{"message": {"content": None}, "finish_reason": "tool_calls"}]}


async def asked(speaks: str, answer: Any, use: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """What `use` gives on a handler's thread, and the bodies that went to the model."""
    bodies: list[Any] = []

    async def invoke(question: Question) -> Reply:
        bodies.append(json.loads(question.body))
        return Reply(json.dumps(answer).encode(), "application/json")

    request = Asking(call(speaks=speaks, invoke=invoke), asyncio.get_running_loop())

    def blocking() -> Any:
        token = ASKING.set(request)
        try:
            return use()
        finally:
            ASKING.reset(token)

    return await asyncio.to_thread(blocking), bodies


async def test_completions() -> None:
    """A prompt with its parameters, and every choice of the answer."""
    params = SamplingParams(max_tokens=5, temperature=0)
    found, bodies = await asked("openai-completions", CHOICES, lambda: LLM("any").generate("p", params))
    assert bodies == [{"prompt": "p", "max_tokens": 5, "temperature": 0}]
    assert [(each.text, each.finish_reason) for each in found[0].outputs] == [("a", "stop"), ("b", "length")]
    assert found[0].prompt == "p"


async def test_several_prompts_are_several_requests() -> None:
    """Each prompt has its own answer, in order."""
    found, bodies = await asked("openai-completions", CHOICES, lambda: LLM().generate(["p", "q"]))
    assert bodies == [{"prompt": "p"}, {"prompt": "q"}]
    assert [each.prompt for each in found] == ["p", "q"]


@pytest.mark.parametrize("answer", [{"generated_text": "t"}, [{"generated_text": "t", "details": None}]])
@pytest.mark.parametrize("speaks", ["tgi", "lmi"])
async def test_tgi_and_lmi(speaks: str, answer: Any) -> None:
    """Parameters have TGI's names, sampling is switched on with them, and both shapes of answer are read."""
    params = SamplingParams(max_tokens=5, temperature=0.5, top_p=0.9)
    found, bodies = await asked(speaks, answer, lambda: LLM().generate("p", params))
    parameters = {"max_new_tokens": 5, "temperature": 0.5, "top_p": 0.9, "do_sample": True}
    assert bodies == [{"inputs": "p", "parameters": parameters}]
    assert found[0].outputs[0].text == "t"


async def test_greedy_in_tgi_is_no_temperature() -> None:
    """TGI refuses a temperature of 0."""
    _, bodies = await asked("tgi", {"generated_text": ""}, lambda: LLM().generate("p", SamplingParams(temperature=0)))
    assert bodies == [{"inputs": "p", "parameters": {}}]


async def test_finish_reason_of_details() -> None:
    """Where TGI says why it ended, the output has it."""
    answer = {"generated_text": "t", "details": {"finish_reason": "length"}}
    found, _ = await asked("tgi", answer, lambda: LLM().generate("p"))
    assert found[0].outputs[0].finish_reason == "length"


async def test_chat() -> None:
    """Messages go as they are; an answer without text is empty text."""
    messages = [{"role": "user", "content": "hi"}]
    found, bodies = await asked("openai-chat", CHAT, lambda: LLM().chat(messages, SamplingParams(n=1)))
    assert bodies == [{"messages": messages, "n": 1}]
    assert found[0].outputs[0].text == ""


async def test_parameter_without_a_place_is_refused() -> None:
    """Nothing is left out in silence."""
    with pytest.raises(ValueError, match="no place in the tgi and lmi dialects for: logprobs, n"):
        await asked("lmi", {}, lambda: LLM().generate("p", SamplingParams(n=2, logprobs=1)))


@pytest.mark.parametrize(
    ("speaks", "use"), [("opaque", lambda: LLM().generate("p")), ("tgi", lambda: LLM().chat([]))], ids=["opaque", "tgi"]
)
async def test_dialect_that_cannot_say_it(speaks: str, use: Callable[[], Any]) -> None:
    """The error names the call and what to declare."""
    with pytest.raises(InvokeError, match=f"cannot be asked of a route whose clients speak {speaks}"):
        await asked(speaks, {}, use)


def test_parameters_are_readable() -> None:
    """As in vLLM, a parameter is an attribute; one that was not given is not there."""
    assert SamplingParams(n=2).n == 2
    with pytest.raises(AttributeError):
        _ = SamplingParams().n
