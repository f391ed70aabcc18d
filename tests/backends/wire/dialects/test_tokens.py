"""Tokens and their probabilities between four forms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.wire.dialects import DialectError, Wrong
from backends.wire.dialects.tokens import read_generate, read_openai, write_generate, write_openai, write_top
from backends.wire.dialects.values import Alternative, Token
from tests.backends.wire.dialects.vectors import recorded

HEL = Token("Hel", -0.5, 5, top=(Alternative("Hel", -0.5, 5), Alternative("é", -0.75, 7)))
LO = Token("lo", -0.25, 6)


def choice(dialect: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recorded(dialect)[name].body)["choices"][0]
    return found


def test_completions_probabilities_of_real_vllm_come_back_as_they_were() -> None:
    """Read and written again nothing has changed: texts, numbers, offsets and alternatives."""
    logprobs = choice("openai-completions", "logprobs")["logprobs"]
    assert write_openai(False, read_openai(logprobs, None), 2, 0) == logprobs


def test_chat_probabilities_of_real_vllm_come_back_as_they_were() -> None:
    """The same for chats, with the bytes of each token."""
    logprobs = choice("openai-chat", "logprobs")["logprobs"]
    written = write_openai(True, read_openai(logprobs, None), 2, 0)
    assert written is not None
    shown = [{**one, "bytes": None, "top_logprobs": len(one["top_logprobs"])} for one in written["content"]]
    assert shown == [{**one, "bytes": None, "top_logprobs": 2} for one in logprobs["content"]]
    assert written["content"][1]["bytes"] == logprobs["content"][1]["bytes"]


def test_ids_stand_beside_the_probabilities() -> None:
    """vLLM's `token_ids` belong to the tokens one by one; another number of them belongs to nothing."""
    one = choice("openai-completions", "logprobs of one")
    assert [token.id for token in read_openai(one["logprobs"], one["token_ids"])] == one["token_ids"]
    assert [token.id for token in read_openai(one["logprobs"], [1])] == [None] * 3


def test_alternatives_are_ranked_and_counted() -> None:
    """The most likely first, and no more than asked for."""
    logprobs = {"tokens": ["a"], "token_logprobs": [-2.0], "top_logprobs": [{"c": -3.0, "b": -1.0, "a": -2.0}]}
    (token,) = read_openai(logprobs, None)
    assert [one.text for one in token.top] == ["b", "a", "c"]
    written = write_openai(True, (token,), 2, 0)
    assert written is not None
    assert [one["token"] for one in written["content"][0]["top_logprobs"]] == ["b", "a"]
    completions = write_openai(False, (token,), 2, 0)
    assert completions is not None
    assert completions["top_logprobs"] == [{"b": -1.0, "a": -2.0}]


def test_no_tokens_are_null() -> None:
    """A choice without probabilities has null for them in both directions."""
    assert read_openai(None, None) == ()
    assert write_openai(True, (), 1, 0) is None
    assert read_openai({"content": None}, None) == ()
    assert write_openai(False, (LO,), 0, 3) == {
        "text_offset": [3], "token_logprobs": [-0.25], "tokens": ["lo"], "top_logprobs": None,
    }  # fmt: skip


def test_tgi_and_lmi_tokens() -> None:
    """Each has its own names; both come back as they were."""
    assert write_generate(False, HEL) == {"id": 5, "text": "Hel", "logprob": -0.5, "special": False}
    assert write_generate(True, HEL) == {"id": 5, "text": "Hel", "log_prob": -0.5}
    assert read_generate(write_generate(True, LO)) == read_generate(write_generate(False, LO)) == LO
    assert read_generate(write_generate(False, HEL), write_top(HEL, 9)) == HEL
    assert len(write_top(HEL, 1)) == 1
    assert read_generate({"id": -1, "text": "", "log_prob": -1, "special_token": True}).special


@pytest.mark.parametrize(
    "logprobs", [5, {"tokens": ["a"]}, {"tokens": ["a"], "token_logprobs": []}, {"content": [{"token": "a"}]}]
)
def test_probabilities_of_another_form_are_an_error(logprobs: Any) -> None:
    """What cannot be read is the target's mistake, not an empty list."""
    with pytest.raises(DialectError) as caught:
        read_openai(logprobs, None)
    assert caught.value.wrong is Wrong.ANSWER


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"token": 5, "logprob": -1}]},
        {"content": [{"token": "a", "logprob": "much"}]},
        {"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": None, "logprob": -1}]}]},
        {"tokens": [None], "token_logprobs": [-1]},
        {"tokens": ["a"], "token_logprobs": [{}]},
    ],
)
def test_probabilities_of_another_type_are_an_error(logprobs: Any) -> None:
    """What could not be written for the client is not read from the target; so are ids."""
    with pytest.raises(DialectError):
        read_openai(logprobs, None)
    with pytest.raises(DialectError):
        read_openai({"tokens": ["a"], "token_logprobs": [-1]}, ["5"])


@pytest.mark.parametrize(
    "token",
    [
        None,
        [],
        {"id": 1},
        {"id": 1, "text": 5, "logprob": 0},
        {"id": "1", "text": "a", "logprob": 0},
        {"id": 1, "text": "a", "logprob": []},
    ],
)
def test_tokens_of_another_form_are_an_error(token: Any) -> None:
    """A token without its text is none, nor is one whose number or id is something else."""
    with pytest.raises(DialectError):
        read_generate(token)
