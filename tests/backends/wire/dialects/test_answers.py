"""Whole answers read strictly, real vLLM's among them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.wire.dialects import DialectError, Stamp, Wrong
from backends.wire.dialects.answers import NOT_IN_PROMPTS, read_answer
from backends.wire.dialects.values import Answer, Counts, Finish
from tests.backends.wire.dialects.vectors import ALL, WHOLE, recorded

NOTHING: frozenset[str] = frozenset()


def vllm(dialect: str, name: str, drop: frozenset[str] = NOTHING) -> Answer:
    return read_answer(dialect, recorded(dialect)[name].body, drop)


def wrong(dialect: str, document: Any, drop: frozenset[str] = NOTHING) -> DialectError:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(DialectError) as caught:
        read_answer(dialect, body, drop)
    return caught.value


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions"])
def test_a_plain_answer_of_vllm(dialect: str) -> None:
    """Text, finish reason, counts and what the answer says of itself."""
    answer = vllm(dialect, "plain")
    document = json.loads(recorded(dialect)["plain"].body)
    (piece,) = answer.pieces
    assert piece.text == document["choices"][0].get("text", document["choices"][0].get("message", {}).get("content"))
    assert piece.finish is Finish.LENGTH
    assert answer.counts == Counts(document["usage"]["prompt_tokens"], 8)
    assert answer.stamp == Stamp(document["id"], document["created"], "tiny")


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions"])
def test_several_choices_of_vllm(dialect: str) -> None:
    """`n` gives as many pieces, each with its index."""
    assert [piece.index for piece in vllm(dialect, "n").pieces] == [0, 1]


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions"])
def test_a_stop_string_of_vllm(dialect: str) -> None:
    """`stop` with a text as the reason is a stop string, without one it is the end of the sequence."""
    (piece,) = vllm(dialect, "stop").pieces
    assert (piece.finish, piece.stop) == (Finish.STOP, "e")
    constrained = {"openai-chat": "response_format", "openai-completions": "structured_outputs"}[dialect]
    (piece,) = vllm(dialect, constrained).pieces
    assert (piece.finish, piece.stop) == (Finish.END, None)


@pytest.mark.parametrize(("name", "key"), [("tool call", "tool_calls"), ("reasoning", "reasoning")])
def test_what_a_prompt_has_no_place_for_is_lost_only_by_declaration(name: str, key: str) -> None:
    """vLLM's tool calls and reasoning refuse the answer by name; the policy may drop them."""
    with pytest.raises(DialectError) as caught:
        vllm("openai-chat", name)
    assert caught.value.wrong is Wrong.LOST
    assert f"translate: {{drop: [{key}]}}" in caught.value.message
    kept = json.loads(recorded("openai-chat")[name].body)["choices"][0]["message"]["content"] or ""
    assert vllm("openai-chat", name, frozenset({key})).pieces[0].text == kept


def test_every_such_key_is_looked_for() -> None:
    """Older names of reasoning and OpenAI's refusal count as well."""
    assert {"reasoning_content", "refusal", "tool_calls"} <= set(NOT_IN_PROMPTS)
    for key in NOT_IN_PROMPTS:
        document = json.loads(WHOLE["openai-chat"])
        document["choices"][0]["message"][key] = "something"
        assert f"`{key}`" in wrong("openai-chat", document).message


def test_an_answer_of_reasoning_alone_has_no_text() -> None:
    """vLLM's content is null then; with reasoning dropped an empty text is the truth."""
    assert vllm("openai-chat", "reasoning only", frozenset({"reasoning"})).pieces[0].text == ""


@pytest.mark.parametrize("dialect", ["tgi", "lmi"])
def test_tgi_and_lmi(dialect: str) -> None:
    """Text, tokens, finish reason and count stand in the details; without details there is only the text."""
    answer = read_answer(dialect, WHOLE[dialect], NOTHING)
    (piece,) = answer.pieces
    assert (piece.text, piece.finish, answer.counts) == ("Hello", Finish.LENGTH, Counts(None, 2))
    assert [(token.id, token.text, token.logprob) for token in piece.tokens] == [(5, "Hel", -0.5), (6, "lo", -0.25)]
    bare: Any = {"generated_text": "Hello"}
    answer = read_answer(dialect, json.dumps([bare] if dialect == "tgi" else bare).encode(), NOTHING)
    assert (answer.pieces[0].finish, answer.counts) == (None, Counts())


def test_tgi_prefill_and_alternatives() -> None:
    """The prompt's tokens count the prompt, and alternatives stand beside their tokens."""
    document = json.loads(WHOLE["tgi"])
    details = document[0]["details"]
    details["prefill"] = [{"id": 1, "text": "Hi", "logprob": None}]
    details["top_tokens"] = [[{"id": 5, "text": "Hel", "logprob": -0.5}]]
    answer = read_answer("tgi", json.dumps(document).encode(), NOTHING)
    assert answer.counts == Counts(1, 2)
    assert [len(token.top) for token in answer.pieces[0].tokens] == [1, 0]


@pytest.mark.parametrize(("said", "finish"), [("stop", Finish.END), ("length", Finish.LENGTH)])
def test_bedrock(said: str, finish: Finish) -> None:
    """Bedrock's own format counts both sides."""
    document = {**json.loads(WHOLE["bedrock-completion"]), "stop_reason": said}
    answer = read_answer("bedrock-completion", json.dumps(document).encode(), NOTHING)
    assert (answer.pieces[0].text, answer.pieces[0].finish, answer.counts) == ("Hello", finish, Counts(3, 2))


@pytest.mark.parametrize("dialect", ALL)
def test_other_dialects_are_not_guessed(dialect: str) -> None:
    """An answer in any other dialect, and anything that is none, is an error; TGI's list is not LMI's object."""
    alike = {"openai-chat", "openai-completions"}
    for other in ALL:
        if other != dialect:
            assert wrong(dialect, WHOLE[other]).wrong is Wrong.ANSWER, (dialect, other, alike)
    for body in (b"", b"null", b"[]", b"{}", b"<html>", b'"text"', b"[{}]", b"[1]"):
        assert wrong(dialect, body).wrong is Wrong.ANSWER


@pytest.mark.parametrize(
    ("dialect", "change"),
    [
        ("openai-chat", {"choices": []}),
        ("openai-chat", {"choices": [5]}),
        ("openai-chat", {"choices": [{"index": 0, "message": {"content": 5}, "finish_reason": "stop"}]}),
        ("openai-chat", {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": None}]}),
        ("openai-chat", {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}),
        ("openai-chat", {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "bored"}]}),
        ("openai-completions", {"choices": [{"index": 0, "text": None, "finish_reason": "stop"}]}),
        ("bedrock-completion", {"stop_reason": None}),
        ("bedrock-completion", {"generation": None}),
        ("lmi", {"generated_text": None}),
        ("lmi", {"details": {}}),
        ("lmi", {"details": {"finish_reason": "bored"}}),
        ("lmi", {"details": [1]}),
        ("openai-chat", {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": {}}]}),
        ("openai-completions", {"choices": [{"index": 0, "text": "x", "finish_reason": ["stop"]}]}),
        ("lmi", {"details": {"finish_reason": ["length"]}}),
        ("lmi", {"details": {"finish_reason": "length", "tokens": 5}}),
        ("lmi", {"details": {"finish_reason": "length", "tokens": {"a": 1}}}),
        ("lmi", {"details": {"finish_reason": "length", "tokens": [], "top_tokens": 5}}),
        ("lmi", {"details": {"finish_reason": "length", "prefill": 5}}),
    ],
)
def test_a_part_of_another_form_is_an_error(dialect: str, change: dict[str, Any]) -> None:
    """A missing finish reason is not taken for a good end, and a missing text not for an empty one."""
    assert wrong(dialect, {**json.loads(WHOLE[dialect]), **change}).wrong is Wrong.ANSWER


@pytest.mark.parametrize(
    ("dialect", "document", "said"),
    [
        ("openai-chat", {"error": {"message": "out of memory"}}, "out of memory"),
        ("lmi", {"error": "out of memory", "code": 424}, "out of memory"),
        ("lmi", {"error": 5}, "The model failed."),
        ("lmi", {"generated_text": "", "details": {"finish_reason": "error"}}, "The model failed while it generated."),
        (
            "tgi",
            [{"generated_text": "", "details": {"finish_reason": "error"}}],
            "The model failed while it generated.",
        ),
    ],
)
def test_an_error_inside_a_200_is_the_models(dialect: str, document: Any, said: str) -> None:
    """LMI answers 200 with `finish_reason: error`; it must not pass for an empty answer."""
    error = wrong(dialect, document)
    assert (error.wrong, error.message) == (Wrong.MODEL, said)


def test_an_aborted_answer_is_the_models_failure() -> None:
    """vLLM's `abort` is no end."""
    document = json.loads(WHOLE["openai-completions"])
    document["choices"][0]["finish_reason"] = "abort"
    assert wrong("openai-completions", document).wrong is Wrong.MODEL


def test_usage_and_stamp_may_be_missing() -> None:
    """Not every OpenAI-compatible server counts or signs; nothing is made up."""
    document = json.loads(WHOLE["openai-completions"])
    answer = read_answer("openai-completions", json.dumps({"choices": document["choices"]}).encode(), NOTHING)
    assert (answer.counts, answer.stamp) == (Counts(), None)


def test_tool_calls_as_a_finish_reason() -> None:
    """The reason is read; whether the client has a word for it is the writer's question."""
    document = json.loads(WHOLE["openai-chat"])
    for said, finish in (("tool_calls", Finish.TOOL_CALLS), ("content_filter", Finish.FILTERED)):
        document["choices"][0]["finish_reason"] = said
        assert read_answer("openai-chat", json.dumps(document).encode(), NOTHING).pieces[0].finish is finish
