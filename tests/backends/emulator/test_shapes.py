"""Answers in each dialect."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from backends.emulator.asks import Ask, AskError
from backends.emulator.config import Dialect
from backends.emulator.shapes import SSE, Stamp, encode, engine_error, pieces, refusal, stream_bytes, whole
from backends.emulator.text import Said

SAID = Said(("naïve", " point"), "length")
STAMP = Stamp(call="ab", created=5, model="m")
USAGE = {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}


def asked(dialect: Dialect) -> Ask:
    return Ask(dialect=dialect, prompt="one two three", limit=2)


def as_json(value: object) -> dict[str, object]:
    found = json.loads(encode(value))
    assert isinstance(found, dict)
    return found


def test_chat_whole_and_in_pieces_say_the_same() -> None:
    """The deltas joined are the content; role first, finish reason last, usage only when asked for."""
    answer = as_json(whole(asked("openai-chat"), SAID, STAMP))
    assert answer["id"] == "chatcmpl-ab"
    assert answer["usage"] == USAGE
    chunks = pieces(asked("openai-chat"), SAID, STAMP)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta["content"] for delta in deltas) == answer["choices"][0]["message"]["content"]  # type: ignore[index]  # JSON
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    with_usage = pieces(replace(asked("openai-chat"), include_usage=True), SAID, STAMP)
    assert with_usage[:-1] == chunks
    assert (with_usage[-1]["choices"], with_usage[-1]["usage"]) == ([], USAGE)


def test_completions() -> None:
    """Text instead of messages, no role chunk."""
    answer = as_json(whole(asked("openai-completions"), SAID, STAMP))
    assert (answer["object"], answer["id"]) == ("text_completion", "cmpl-ab")
    chunks = pieces(asked("openai-completions"), SAID, STAMP)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["naïve", " point"]


def test_tgi_is_a_list_and_lmi_an_object() -> None:
    """TGI wraps its answer, LMI does not; details come when asked for."""
    assert whole(asked("tgi"), SAID, STAMP) == [{"generated_text": "naïve point"}]
    detailed = as_json(whole(replace(asked("lmi"), details=True), SAID, STAMP))
    assert detailed["details"] == {"finish_reason": "length", "generated_tokens": 2, "inputs": None, "tokens": None}
    last = pieces(asked("tgi"), Said(("a",), "stop"), STAMP)[-1]
    assert (last["generated_text"], last["details"]["finish_reason"], last["token"]["logprob"]) == (
        "a",
        "eos_token",
        -0.5,
    )
    first, last = pieces(asked("lmi"), SAID, STAMP)
    assert set(first) == {"token"}
    assert last["generated_text"] == "naïve point"
    assert pieces(asked("tgi"), SAID, STAMP)[0]["generated_text"] is None


def test_bedrock_completion() -> None:
    """Counts are fields of the answer; in a stream the prompt's comes first and the tokens add up."""
    answer = as_json(whole(asked("bedrock-completion"), SAID, STAMP))
    assert (answer["prompt_token_count"], answer["generation_token_count"], answer["stop_reason"]) == (3, 2, "length")
    chunks = pieces(asked("bedrock-completion"), SAID, STAMP)
    assert [chunk["prompt_token_count"] for chunk in chunks] == [3, None]
    assert [chunk["stop_reason"] for chunk in chunks] == [None, "length"]


@pytest.mark.parametrize("dialect", ["openai-chat", "openai-completions", "tgi", "lmi", "bedrock-completion"])
def test_an_empty_text_still_ends(dialect: Dialect) -> None:
    """A stop string at the very start gives one last piece with the reason."""
    assert len(pieces(asked(dialect), Said((), "stop"), STAMP)) >= 1


def test_stream_formats() -> None:
    """SSE with [DONE] for OpenAI, SSE without for TGI, JSON lines for LMI; one event each, raw UTF-8."""
    kind, events = stream_bytes("openai-chat", [{"a": "é"}])
    assert (kind, events) == (SSE, ('data: {"a":"é"}\n\n'.encode(), b"data: [DONE]\n\n"))
    assert stream_bytes("tgi", [{"a": 1}]) == ("text/event-stream", (b'data:{"a":1}\n\n',))
    assert stream_bytes("lmi", [{"a": 1}]) == ("application/jsonlines", (b'{"a":1}\n',))


def test_refusals_have_the_containers_shape() -> None:
    """Clients parse these inside ModelError's OriginalMessage."""
    error = AskError(422, "no", "p")
    assert json.loads(refusal("tgi", error)) == {"error": "no", "error_type": "validation"}
    assert json.loads(refusal("lmi", error)) == {"error": "no", "code": 422}
    assert json.loads(refusal("openai-chat", AskError(400, "no", "p")))["error"] == {
        "message": "no",
        "type": "BadRequestError",
        "param": "p",
        "code": 400,
    }
    assert json.loads(engine_error(500, "x"))["error"]["type"] == "InternalServerError"
