"""Bodies of each dialect."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.emulator.asks import Ask, AskError, import_shape, openai_shape, read_ask
from backends.emulator.config import Dialect

CHAT = {"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": None}]}
DIALECTS: list[Dialect] = ["openai-chat", "openai-completions", "tgi", "lmi", "bedrock-completion", "echo"]


def ask(dialect: Dialect, value: object) -> Ask:
    return read_ask(dialect, json.dumps(value).encode())


def test_chat() -> None:
    """Messages make the prompt, text parts count, and the newer limit wins over the older."""
    parts = [{"type": "text", "text": "c d"}, {"type": "image_url"}]
    found = ask("openai-chat", {"messages": [*CHAT["messages"], {"role": "user", "content": parts}], "model": "m"})
    assert (found.prompt_tokens, found.limit, found.stream, found.model) == (4, None, False, "m")
    both = {**CHAT, "max_tokens": 5, "max_completion_tokens": 3, "stream": True, "model": 7}
    assert (ask("openai-chat", both).limit, ask("openai-chat", both).stream, ask("openai-chat", both).model) == (
        3,
        True,
        None,
    )


def test_completions() -> None:
    """vLLM's default limit is 16; ignore_eos and min_tokens make it longer, a list of one prompt is a prompt."""
    assert ask("openai-completions", {"prompt": "x"}).limit == 16
    assert ask("openai-completions", {"prompt": ["x"], "max_tokens": 40, "ignore_eos": True}).minimum == 40
    assert ask("openai-completions", {"prompt": "x", "min_tokens": 9}).minimum == 9
    options = {"prompt": "x", "stream_options": {"include_usage": True}, "stop": ["a", 1]}
    assert (ask("openai-completions", options).include_usage, ask("openai-completions", options).stop) == (True, ("a",))


def test_tgi_and_lmi() -> None:
    """Parameters are in their own object; the defaults differ."""
    assert ask("tgi", {"inputs": "x"}).limit == 100
    assert ask("lmi", {"inputs": "x"}).limit == 30
    found = ask(
        "lmi", {"inputs": "x", "parameters": {"max_new_tokens": 2, "details": True, "stop": "s"}, "stream": True}
    )
    assert (found.limit, found.details, found.stop, found.stream) == (2, True, ("s",), True)


def test_bedrock_completion() -> None:
    """The native format ignores what it does not know, its limit has another name."""
    found = ask("bedrock-completion", {"prompt": "x y", "max_gen_len": 4, "whatever": 1})
    assert (found.limit, found.prompt_tokens) == (4, 2)
    assert ask("bedrock-completion", {"prompt": "x"}).limit == 512


def test_only_sampling_changes_what_is_said() -> None:
    """Stream, model and limits are not part of the key, temperature and seed are, in any order."""
    plain = ask("openai-chat", {**CHAT, "stream": True, "model": "x", "max_tokens": 3}).sampling
    assert plain == ask("openai-chat", CHAT).sampling
    one = ask("openai-chat", {**CHAT, "temperature": 0.5, "seed": 1}).sampling
    assert one == ask("openai-chat", {**CHAT, "seed": 1, "temperature": 0.5}).sampling
    assert one != plain


def test_the_likeliest_words_are_the_same_however_they_are_asked_for() -> None:
    """LMI takes them by itself or at `do_sample: false`, OpenAI's dialects at a temperature of 0, whatever the seed."""
    silent = ask("lmi", {"inputs": "x", "parameters": {}}).sampling
    assert silent == ask("lmi", {"inputs": "x", "parameters": {"do_sample": False, "top_p": 0.9}}).sampling
    assert silent == ask("openai-completions", {"prompt": "x", "temperature": 0, "seed": 3}).sampling
    assert silent != ask("openai-completions", {"prompt": "x", "temperature": 0, "presence_penalty": 1}).sampling
    assert silent != ask("lmi", {"inputs": "x", "parameters": {"do_sample": True, "seed": 3}}).sampling


@pytest.mark.parametrize(
    ("dialect", "value", "status", "said"),
    [
        ("openai-chat", [], 400, "must be a JSON object"),
        ("openai-chat", {}, 400, "messages"),
        ("openai-chat", {"messages": []}, 400, "messages"),
        ("openai-chat", {"messages": ["x"]}, 400, "role"),
        ("openai-chat", {"messages": [{"role": "user", "content": 5}]}, 400, "list of parts"),
        ("openai-chat", {**CHAT, "n": 2}, 400, "one choice"),
        ("openai-chat", {**CHAT, "max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ("openai-chat", {**CHAT, "max_tokens": True}, 400, "max_tokens must be at least 1"),
        ("openai-completions", {"prompt": "x", "min_tokens": -1}, 400, "min_tokens must be at least 0"),
        ("openai-completions", {"inputs": "x"}, 400, "Either prompt or prompt_embeds"),
        ("openai-completions", {"prompt": ["a", "b"]}, 400, "Either prompt or prompt_embeds"),
        ("tgi", {"prompt": "x"}, 422, "missing field `inputs`"),
        ("lmi", {"inputs": "x", "parameters": 1}, 424, "must be an object"),
        ("lmi", {"inputs": "x", "parameters": {"max_new_tokens": "9"}}, 424, "max_new_tokens"),
        ("bedrock-completion", {}, 400, "required key [prompt]"),
    ],
)  # fmt: skip
def test_what_a_container_refuses(dialect: Dialect, value: Any, status: int, said: str) -> None:
    """Each refusal has the container's status."""
    with pytest.raises(AskError) as found:
        ask(dialect, value)
    assert found.value.status == status
    assert said in found.value.message


def test_shapes_are_told_apart_as_the_engines_do() -> None:
    """`messages` is chat; for an import `max_tokens` makes a prompt an OpenAI completion; garbage is native."""
    assert openai_shape(json.dumps(CHAT).encode()) == "openai-chat"
    assert openai_shape(b'{"prompt": "x"}') == "openai-completions"
    assert import_shape(json.dumps(CHAT).encode()) == "openai-chat"
    assert import_shape(b'{"prompt": "x", "max_tokens": 1}') == "openai-completions"
    assert import_shape(b'{"prompt": "x", "max_gen_len": 1}') == "bedrock-completion"
    assert import_shape(b"{") == "bedrock-completion"
    with pytest.raises(AskError, match="Invalid JSON"):
        openai_shape(b"\xff")


@settings(max_examples=100)
@given(st.sampled_from(DIALECTS), st.binary(max_size=60))
def test_any_bytes_are_an_ask_or_a_refusal(dialect: Dialect, body: bytes) -> None:
    """No body breaks the stand-in."""
    with contextlib.suppress(AskError):
        assert read_ask(dialect, body).prompt_tokens >= 0
