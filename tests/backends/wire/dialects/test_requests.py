"""Requests carried to another dialect: names, sampling, limits, stop strings, and what the answer will need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.dialects import DialectError
from backends.wire.dialects.keys import OPENAI, TABLES, fate
from backends.wire.dialects.requests import carry
from policies.table import TranslateRule
from tests.backends.wire.dialects.vectors import (
    LEAST,
    PAIRS,
    RULE,
    exchange,
    parameters,
    refused,
    sent,
    with_parameters,
)
from tests.policies.written import PATIENT

PROMPT = {"openai-completions": "prompt", "bedrock-completion": "prompt", "tgi": "inputs", "lmi": "inputs"}
LIMIT = {
    "openai-chat": "max_tokens", "openai-completions": "max_tokens", "bedrock-completion": "max_gen_len",
    "tgi": "max_new_tokens", "lmi": "max_new_tokens",
}  # fmt: skip


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_the_text_and_the_limit_arrive(client: str, target: str) -> None:
    """A prompt goes on as it is, as one user message, or a chat goes through the template; the limit goes with it."""
    body = parameters(client, target)
    assert body[LIMIT[target]] == 9
    if target == "openai-chat":
        assert body["messages"] == [{"role": "user", "content": "Hi"}]
    else:
        assert body[PROMPT[target]] == ("<|user|>Hi\n<|assistant|>" if client == "openai-chat" else "Hi")


def test_a_chat_without_a_limit_needs_a_target_that_has_none() -> None:
    """vLLM's completions take null for as much as there is room for; the others are not sent a limit we made up."""
    chat = {"messages": LEAST["openai-chat"]["messages"]}
    assert sent("openai-chat", "openai-completions", chat)["max_tokens"] is None
    for target in ("tgi", "lmi", "bedrock-completion"):
        assert "`max_tokens` is missing" in (refused("openai-chat", target, chat) or "")
    assert "max_tokens" not in sent("openai-completions", "openai-chat", {"prompt": "Hi", "max_tokens": None})


@pytest.mark.parametrize(
    ("client", "target", "keys", "expected"),
    [
        ("tgi", "openai-completions", {}, {"temperature": 0}),
        ("tgi", "openai-completions", {"do_sample": True}, {"temperature": 1.0}),
        ("tgi", "openai-completions", {"temperature": 0.7}, {"temperature": 0.7}),
        ("tgi", "openai-completions", {"temperature": 0}, {"temperature": 0}),
        ("tgi", "openai-completions", {"temperature": 1.0}, {"temperature": 0}),
        ("tgi", "openai-completions", {"top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
        ("tgi", "openai-completions", {"do_sample": False, "top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
        ("lmi", "openai-completions", {"do_sample": False, "top_p": 0.5}, {"temperature": 0}),
        ("lmi", "openai-completions", {"temperature": 0.5}, {"temperature": 0.5}),
        ("lmi", "bedrock-completion", {}, {"temperature": 0}),
        ("openai-completions", "tgi", {}, {"do_sample": True}),
        ("openai-completions", "tgi", {"temperature": 0}, {"do_sample": False}),
        ("openai-completions", "tgi", {"temperature": 0, "top_p": 0.5, "top_k": 3}, {"do_sample": False}),
        ("openai-completions", "tgi", {"temperature": 0.5, "top_p": 1}, {"do_sample": True, "temperature": 0.5}),
        ("openai-completions", "tgi", {"top_k": -1}, {"do_sample": True}),
        ("openai-completions", "lmi", {"top_k": 4}, {"do_sample": True, "top_k": 4}),
        ("openai-completions", "openai-chat", {}, {}),
        ("openai-completions", "bedrock-completion", {"temperature": 0.5}, {"temperature": 0.5}),
        ("tgi", "lmi", {"temperature": 0.5, "top_k": 2}, {"do_sample": True, "temperature": 0.5, "top_k": 2}),
        ("bedrock-completion", "tgi", {"temperature": 0.0}, {"do_sample": False}),
    ],
)
def test_greedy_stays_greedy_and_sampling_stays_sampling(
    client: str, target: str, keys: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Each dialect's word for drawing a token is said; TGI is never sent a temperature of 0."""
    body = parameters(client, target, **keys)
    shown = {name: body[name] for name in ("do_sample", "temperature", "top_p", "top_k") if name in body}
    assert shown == expected


@pytest.mark.parametrize(
    ("client", "target", "expected", "trims"),
    [
        ("tgi", "openai-completions", {"stop": ["x"], "include_stop_str_in_output": True}, ()),
        ("tgi", "lmi", {"stop_sequences": ["x"], "include_stop_str_in_output": True}, ()),
        ("lmi", "tgi", {"stop": ["x"]}, ("x",)),
        ("openai-chat", "tgi", {"stop": ["x"]}, ("x",)),
        ("openai-completions", "openai-chat", {"stop": ["x"]}, ()),
        ("openai-completions", "lmi", {"stop_sequences": ["x"]}, ()),
    ],
)
def test_the_stop_string_stays_where_the_client_expects_it(
    client: str, target: str, expected: dict[str, Any], trims: tuple[str, ...]
) -> None:
    """TGI leaves it in its text and its clients expect it there; the others do not."""
    request = with_parameters(client, stop=["x"])
    one = exchange(client, target, request)
    body = parameters(client, target, stop=["x"])
    assert {name: value for name, value in body.items() if "stop" in name} == expected
    assert one.carried.wish.trims == trims


def test_a_client_that_wants_the_stop_string_gets_it() -> None:
    """`include_stop_str_in_output` is TGI's own way, so nothing is cut off then."""
    request = with_parameters("openai-completions", stop="x", include_stop_str_in_output=True)
    assert exchange("openai-completions", "tgi", request).carried.wish.trims == ()


@pytest.mark.parametrize("client", ["tgi", "lmi"])
@pytest.mark.parametrize("target", ["openai-chat", "openai-completions"])
def test_streamed_tokens_need_ids_and_probabilities(client: str, target: str) -> None:
    """Every event of TGI and LMI has a token, so vLLM is asked for what it is made of, and for the counts."""
    body = parameters(client, target, stream=True)
    assert body["stream_options"] == {"include_usage": True}
    assert body["return_token_ids"] is True
    assert body["logprobs"] == (True if target == "openai-chat" else 0)
    assert body.get("top_logprobs") == (0 if target == "openai-chat" else None)
    assert "logprobs" not in parameters(client, target)


def test_details_are_asked_for_where_finish_reasons_stand_in_them() -> None:
    """An OpenAI answer needs a finish reason and counts; a TGI client without details does not."""
    assert parameters("openai-chat", "tgi")["details"] is True
    assert parameters("bedrock-completion", "lmi")["details"] is True
    assert parameters("lmi", "tgi")["details"] is False
    assert parameters("lmi", "tgi", stream=True)["details"] is True
    assert parameters("lmi", "openai-completions", details=True)["logprobs"] == 0


def test_alternatives_to_tokens() -> None:
    """How many are wanted goes by three names; LMI has none and says so."""
    assert parameters("openai-chat", "tgi", logprobs=True, top_logprobs=2)["top_n_tokens"] == 2
    assert parameters("tgi", "openai-chat", details=True, top_n_tokens=3)["top_logprobs"] == 3
    assert parameters("tgi", "openai-completions", details=True, top_n_tokens=3)["logprobs"] == 3
    assert parameters("openai-chat", "openai-completions", logprobs=True)["logprobs"] == 0
    said = refused("openai-completions", "lmi", with_parameters("openai-completions", logprobs=2))
    assert said is not None
    assert said.startswith("`logprobs` asks for alternatives")


def test_echo_is_done_here_and_not_beside_logprobs() -> None:
    """The target is sent a plain prompt; probabilities of the prompt cannot be had that way."""
    assert "return_full_text" not in parameters("openai-completions", "tgi", echo=True)
    said = refused("openai-completions", "openai-chat", with_parameters("openai-completions", echo=True, logprobs=1))
    assert said is not None
    assert said.startswith("`echo` cannot be carried beside")


def test_images_become_parts_of_the_user_message() -> None:
    """Bedrock's base64-coded images go to a chat target."""
    body = parameters("bedrock-completion", "openai-chat", images=["iVBORw0KGgo="])
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]


def test_the_policys_model_name_wins() -> None:
    """A target that needs a name is sent the policy's, whatever the body says; others are sent none."""
    request = with_parameters("openai-completions", model="theirs")
    assert json.loads(exchange("openai-completions", "openai-chat", request, model="ours").body)["model"] == "ours"
    assert "model" not in sent("openai-completions", "openai-chat", request)
    assert "model" not in json.loads(exchange("openai-completions", "tgi", request, model="ours").body)
    assert exchange("openai-completions", "tgi", request).stamp.model == "theirs"


def test_a_chat_needs_the_template_that_the_policy_gives() -> None:
    """Without one there is no prompt, and the client is told."""
    with pytest.raises(DialectError) as caught:
        carry("openai-chat", "tgi", json.dumps(LEAST["openai-chat"]).encode(), TranslateRule(), None, None)
    assert "chat template" in caught.value.message


def test_a_body_that_is_too_deep_is_the_clients_fault() -> None:
    """It can be read, and not written: its client is told, and it is no failure of ours."""
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    grammar = {"grammar": {"type": "json", "value": {"enum": deep}}}
    body = json.dumps({"inputs": "x", "parameters": grammar}).encode()
    with pytest.raises(DialectError, match="request") as caught:
        carry("tgi", "openai-completions", body, TranslateRule(), None, "m")
    assert "too deeply" in caught.value.message


CARRIED = {
    "frequency_penalty": 0.5, "presence_penalty": 0.5, "repetition_penalty": 1.5, "min_p": 0.25, "top_p": 0.5,
    "top_k": 7, "seed": 11, "temperature": 0.75, "stop": ["x"], "ignore_eos": True, "stop_token_ids": [4],
    "watermark": True, "typical_p": 0.5, "n": 2, "logit_bias": {"1": 2}, "unheard_of": 1,
}  # fmt: skip


@PATIENT
@given(st.sampled_from(PAIRS), st.sets(st.sampled_from(sorted(CARRIED))), st.sets(st.sampled_from(sorted(CARRIED))))
def test_no_key_is_lost(ends: tuple[str, str], names: set[str], drop: set[str]) -> None:
    """Every key with a fate arrives under its concept's name with its value; every other refuses or was dropped."""
    client, target = ends
    keys = {key.name: key for key in TABLES[client]}
    given_keys = {name: CARRIED[name] for name in names}
    lost = {name for name in names if name not in keys or fate(client, target, keys[name]) is None}
    rule = TranslateRule(RULE.prompt_as, RULE.chat_template, frozenset(drop))
    request = with_parameters(client, **given_keys)
    said = refused(client, target, request, rule)
    assert (said is None) == (lost <= drop)
    if said is not None:
        assert any(said.startswith(f"`{name}` ") for name in lost - drop)
        return
    body = sent(client, target, request, rule)
    flat = {**body, **body.get("parameters", {})}
    written = {key.concept: key.name for key in TABLES[target] if key.concept and not key.reads_only}
    for name in names - lost:
        assert flat[written[keys[name].concept or ""]] == CARRIED[name]
    assert not {"unheard_of", "watermark", "typical_p"} & set(flat)
    assert set(flat) - {"parameters"} <= {key.name for key in TABLES[target]}


def test_same_values_between_the_two_openai_dialects() -> None:
    """What vLLM's two request models share goes through as it is, constraints included."""
    keys = {"response_format": {"type": "json_object"}, "structured_outputs": {"choice": ["a"]}, "user": "u"}
    body = parameters("openai-completions", "openai-chat", **keys)
    assert {name: body[name] for name in keys} == keys
    assert {"openai-chat", "openai-completions"} == OPENAI
