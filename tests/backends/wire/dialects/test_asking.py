"""Requests read into concepts: what refuses them, and what a missing key means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.wire.dialects import DialectError, Wrong
from backends.wire.dialects.asking import MOST_NAMED, read_request
from policies.table import TranslateRule
from tests.backends.wire.dialects.vectors import LEAST, parameters, refused, with_parameters

BARE = TranslateRule()


def read(client: str, target: str, request: Any) -> dict[str, Any]:
    return read_request(client, target, json.dumps(request).encode(), BARE).values


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'"text"', b"inputs=1"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """The client is told which form its dialect has."""
    with pytest.raises(DialectError, match="request") as caught:
        read_request("tgi", "lmi", body, BARE)
    assert caught.value.message == "the body is not a JSON object, which a request of tgi is"
    assert caught.value.wrong is Wrong.REQUEST


@pytest.mark.parametrize(
    ("client", "target", "keys", "said"),
    [
        ("openai-completions", "tgi", {"prompt": ["a", "b"]}, "`prompt` is not one text"),
        ("openai-completions", "tgi", {"prompt": [1, 2]}, "`prompt` is not one text"),
        ("openai-chat", "tgi", {"messages": []}, "`messages` is not a list of messages"),
        ("openai-chat", "tgi", {"messages": ["Hi"]}, "`messages` is not a list of messages"),
        ("tgi", "lmi", {"inputs": None}, "`inputs` is missing"),
        ("tgi", "lmi", {"max_new_tokens": 0}, "`max_new_tokens` is not a whole number above 0"),
        ("tgi", "lmi", {"max_new_tokens": "9"}, "`max_new_tokens` is not a whole number"),
        ("tgi", "lmi", {"temperature": "hot"}, "`temperature` is not a number"),
        ("tgi", "lmi", {"temperature": True}, "`temperature` is not a number"),
        ("tgi", "lmi", {"do_sample": "yes"}, "`do_sample` is not true or false"),
        ("tgi", "lmi", {"stop": [1]}, "`stop` is not a list of texts"),
        ("tgi", "lmi", {"stop": {"a": 1}}, "`stop` is not a list of texts"),
        ("tgi", "lmi", {"stream": "true"}, "`stream` is not true or false"),
        ("tgi", "lmi", {"nonsense": 1}, "`nonsense` cannot be carried from tgi to lmi"),
        ("tgi", "lmi", {"x" * 999: 1}, f"`{'x' * MOST_NAMED}` cannot be carried"),
        ("openai-chat", "tgi", {"top_logprobs": 2}, "`top_logprobs` needs `logprobs: true`"),
        ("openai-chat", "tgi", {"logprobs": 1.5}, "`logprobs` is not true or false"),
        ("openai-completions", "tgi", {"logprobs": True}, "`logprobs` is not a whole number"),
        ("openai-chat", "tgi", {"stream_options": 1}, "`stream_options` is not an object"),
        ("openai-chat", "tgi", {"stream_options": {"continuous_usage_stats": True}}, "continuous_usage_stats` cannot"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(client: str, target: str, keys: dict[str, Any], said: str) -> None:
    """Each refusal begins with the key that the client wrote."""
    assert said in (refused(client, target, with_parameters(client, **keys)) or "")


def test_parameters_are_an_object_and_say_things_once() -> None:
    """TGI's and LMI's parameters are one object, and a key stands inside it or beside it."""
    assert refused("tgi", "lmi", {"inputs": "Hi", "parameters": [1]}) == "`parameters` is not an object"
    both = {"inputs": "Hi", "stream": True, "parameters": {"stream": True}}
    assert "`stream` stands inside `parameters` and beside it" in (refused("tgi", "lmi", both) or "")
    assert read("tgi", "lmi", {"inputs": "Hi", "parameters": None})["limit"] == 100


@pytest.mark.parametrize(
    ("client", "limit"),
    [("openai-completions", 16), ("bedrock-completion", 512), ("tgi", 100), ("lmi", 30), ("openai-chat", None)],
)
def test_a_dialects_own_limit_is_meant_when_none_is_said(client: str, limit: int | None) -> None:
    """What absence means is the client's dialect's affair."""
    text = {name: value for name, value in LEAST[client].items() if name in ("messages", "prompt", "inputs")}
    assert read(client, "openai-completions" if client == "openai-chat" else "openai-chat", text)["limit"] == limit


def test_null_is_absence_but_for_the_limit_of_completions() -> None:
    """vLLM reads `max_tokens: null` as no limit at all; any other null says nothing."""
    assert read("openai-completions", "openai-chat", {"prompt": "Hi", "max_tokens": None, "seed": None}) == {
        "text": "Hi",
        "limit": None,
    }


def test_the_newer_name_of_the_limit_wins() -> None:
    """OpenAI's `max_completion_tokens` replaces `max_tokens`, also beside it."""
    assert parameters("openai-chat", "tgi", max_completion_tokens=5)["max_new_tokens"] == 5


def test_lmi_has_two_names_for_stop_strings() -> None:
    """`stop_sequences` is LMI's word, `stop` is read as well; the former wins."""
    assert parameters("lmi", "tgi", stop=["a"])["stop"] == ["a"]
    assert parameters("lmi", "tgi", stop=["a"], stop_sequences=["b"])["stop"] == ["b"]
    assert parameters("lmi", "tgi", stop_sequences=["b"], stop=["a"])["stop"] == ["b"]


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    """Some OpenAI clients always send a list."""
    assert parameters("openai-completions", "tgi", prompt=["Hi"])["inputs"] == "Hi"


@pytest.mark.parametrize(("said", "meant"), [(1, True), (0, None), (True, True), (False, None)])
def test_stream_is_read_as_engines_read_it(said: Any, meant: bool | None) -> None:
    """JSON's true and 1 both ask for a stream."""
    assert parameters("tgi", "lmi", stream=said).get("stream") == meant


def test_dropped_keys_are_left_out() -> None:
    """What the policy drops refuses nothing and is not sent; what it does not name still refuses."""
    rule = TranslateRule(drop=frozenset({"watermark"}))
    assert refused("tgi", "lmi", with_parameters("tgi", watermark=True), rule) is None
    assert refused("tgi", "lmi", with_parameters("tgi", watermark=True, typical_p=0.5), rule)
