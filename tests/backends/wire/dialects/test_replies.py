"""Whole answers written as each dialect's own engine would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.wire.dialects import DialectError, Wrong
from backends.wire.dialects.replies import write_reply
from backends.wire.dialects.values import Answer, Counts, Finish, Piece, Token, Wish
from tests.backends.wire.dialects.vectors import STAMP

TOKENS = (Token("Hel", -0.5, 5), Token("lo", -0.25, 6))
ANSWER = Answer((Piece("Hello", tokens=TOKENS, finish=Finish.LENGTH),), Counts(3, 2))
TWO = Answer((Piece("a", finish=Finish.END), Piece("b", 1, finish=Finish.END)), Counts(1, 2))


def written(client: str, answer: Answer = ANSWER, wish: Wish | None = None) -> Any:
    return json.loads(write_reply(client, answer, wish or Wish(), STAMP))


def test_openai_chat() -> None:
    """The shape that vLLM answers with, without the keys that say nothing."""
    assert written("openai-chat") == {
        "id": "cmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "our-endpoint",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "length",
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_openai_completions() -> None:
    """Text instead of a message; the prompt before it when `echo` asked; probabilities when they were asked for."""
    document = written("openai-completions", wish=Wish(prompt="Hi ", full_text=True, logprobs=0))
    assert (document["object"], document["choices"][0]["text"]) == ("text_completion", "Hi Hello")
    assert document["choices"][0]["logprobs"]["token_logprobs"] == [-0.5, -0.25]
    assert [choice["index"] for choice in written("openai-completions", TWO)["choices"]] == [0, 1]


def test_usage_is_null_rather_than_wrong() -> None:
    """TGI does not count the prompt."""
    assert written("openai-chat", Answer(ANSWER.pieces, Counts(None, 2)))["usage"] is None


def test_bedrock() -> None:
    """Bedrock's own shape."""
    assert written("bedrock-completion") == {
        "generation": "Hello",
        "prompt_token_count": 3,
        "generation_token_count": 2,
        "stop_reason": "length",
        "logprobs": None,
    }


def test_tgi_is_a_list_and_lmi_an_object() -> None:
    """Clients index the one and not the other; details come only when asked for."""
    assert written("tgi") == [{"generated_text": "Hello"}]
    assert written("lmi", wish=Wish(prompt="Hi ", full_text=True)) == {"generated_text": "Hi Hello"}


def test_details_of_tgi() -> None:
    """Finish reason, counts, seed, tokens, and alternatives when they were asked for."""
    prefilled = Answer(ANSWER.pieces, Counts(1, 2), prefill=(Token("Hi", None, 4),))
    (document,) = written("tgi", prefilled, Wish(details=True, seed=7, logprobs=1))
    assert document["details"] == {
        "finish_reason": "length",
        "generated_tokens": 2,
        "seed": 7,
        "prefill": [{"id": 4, "text": "Hi", "logprob": None}],
        "tokens": [
            {"id": 5, "text": "Hel", "logprob": -0.5, "special": False},
            {"id": 6, "text": "lo", "logprob": -0.25, "special": False},
        ],
        "top_tokens": [[], []],
    }
    assert "top_tokens" not in written("tgi", prefilled, Wish(details=True))[0]["details"]


def test_details_of_lmi() -> None:
    """LMI repeats the prompt and has its own name for the probability; tokens are counted when nobody else did."""
    answer = Answer(ANSWER.pieces, Counts())
    assert written("lmi", answer, Wish(details=True, prompt="Hi"))["details"] == {
        "finish_reason": "length",
        "generated_tokens": 2,
        "inputs": "Hi",
        "prefill": [],
        "tokens": [{"id": 5, "text": "Hel", "log_prob": -0.5}, {"id": 6, "text": "lo", "log_prob": -0.25}],
    }


@pytest.mark.parametrize(
    ("finish", "openai", "generate", "bedrock"),
    [
        (Finish.LENGTH, "length", "length", "length"),
        (Finish.END, "stop", "eos_token", "stop"),
        (Finish.STOP, "stop", "stop_sequence", "stop"),
        (None, None, None, None),
    ],
)
def test_finish_reasons(finish: Finish | None, openai: str | None, generate: str | None, bedrock: str | None) -> None:
    """Each dialect's word for why the model stopped."""
    answer = Answer((Piece("x", finish=finish),), Counts(1, 1))
    assert written("openai-chat", answer)["choices"][0]["finish_reason"] == openai
    assert written("lmi", answer, Wish(details=True))["details"]["finish_reason"] == generate
    assert written("bedrock-completion", answer)["stop_reason"] == bedrock


@pytest.mark.parametrize("finish", [Finish.TOOL_CALLS, Finish.FILTERED])
def test_a_finish_reason_without_a_word_refuses_the_answer(finish: Finish) -> None:
    """A filtered answer does not pass for a finished one."""
    answer = Answer((Piece("x", finish=finish),))
    assert written("openai-chat", answer)["choices"][0]["finish_reason"] == finish.value
    for client in ("bedrock-completion", "tgi"):
        with pytest.raises(DialectError) as caught:
            written(client, answer, Wish(details=True))
        assert caught.value.wrong is Wrong.LOST


@pytest.mark.parametrize("client", ["bedrock-completion", "tgi", "lmi"])
def test_one_answer_where_there_is_room_for_one(client: str) -> None:
    """A second choice is not thrown away silently."""
    with pytest.raises(DialectError, match="`n` in the lost"):
        written(client, TWO)
