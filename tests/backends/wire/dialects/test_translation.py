"""One exchange from end to end: pairs, types of bodies, what answers say of themselves."""

from __future__ import annotations

import json

import pytest

from backends.base import Usage
from backends.wire.dialects import DialectError, Stamp, Wrong, pair
from backends.wire.dialects.translation import LONGEST_ANSWER
from policies.dialects import DIALECTS
from policies.table import TranslateRule
from tests.backends.wire.dialects.vectors import (
    LEAST,
    PAIRS,
    RULE,
    STAMP,
    STREAMS,
    WHOLE,
    answered,
    exchange,
    recorded,
    with_parameters,
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_same_dialect_and_opaque_are_bytes(dialect: str) -> None:
    """There is nothing to translate, and nothing is looked at."""
    assert pair(dialect, dialect, RULE) is None
    assert pair(dialect, "opaque", RULE) is None
    assert pair("opaque", dialect, RULE) is None


def test_what_the_policy_does_not_allow_is_refused_at_run_time_too() -> None:
    """A face may speak another dialect than the one the policy was checked for."""
    with pytest.raises(DialectError) as caught:
        pair("openai-chat", "lmi", TranslateRule())
    assert caught.value.wrong is Wrong.REQUEST
    assert caught.value.message == (
        "This endpoint's model reads lmi, and its policy does not allow it to be sent openai-chat."
    )


def test_a_template_that_is_none_is_said_when_the_pair_is_made() -> None:
    """Not when the first request meets it."""
    with pytest.raises(ValueError, match="is not a Jinja template"):
        pair("openai-chat", "lmi", TranslateRule(chat_template="{% for %}"))


TYPES = {
    "openai-chat": "text/event-stream", "openai-completions": "text/event-stream",
    "bedrock-completion": "text/event-stream", "tgi": "text/event-stream", "lmi": "application/jsonlines",
}  # fmt: skip


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_whole_stays_whole_and_a_stream_a_stream(client: str, target: str) -> None:
    """The answer's own type decides; without one the request's word does."""
    plain = exchange(client, target)
    assert plain.answer("application/json; charset=utf-8")[1] == "application/json"
    assert plain.answer(None)[1] == "application/json"
    streaming = exchange(client, target, with_parameters(client, stream=True))
    assert streaming.answer(STREAMS[target][0])[1] == TYPES[client]
    assert streaming.answer(None)[1] == TYPES[client]
    assert streaming.answer("application/json")[1] == "application/json"


@pytest.mark.parametrize("content_type", ["text/html", "application/vnd.amazon.eventstream", "application/jsonlines"])
def test_a_body_of_another_type_is_an_error(content_type: str) -> None:
    """JSON lines are LMI's alone, and a page of HTML is nobody's answer."""
    with pytest.raises(DialectError) as caught:
        exchange("lmi", "tgi").answer(content_type)
    assert caught.value.wrong is Wrong.ANSWER


def test_lmi_targets_may_send_events() -> None:
    """LMI streams Server-Sent Events when its container is told to; the type says which."""
    lines = STREAMS["lmi"][1].splitlines()
    body = b"".join(b"data: " + line + b"\n\n" for line in lines)
    one = exchange("tgi", "lmi", with_parameters("tgi", stream=True))
    assert answered(one, body, "text/event-stream") == answered(one, *STREAMS["lmi"][::-1])


def test_an_answer_without_a_name_gets_ours() -> None:
    """OpenAI's answers have an id, a time and a model; vLLM's own are kept."""
    ours = json.loads(answered(exchange("openai-chat", "tgi"), WHOLE["tgi"]))
    assert (ours["id"], ours["created"], ours["model"]) == (STAMP.id, STAMP.created, STAMP.model)
    vllms = json.loads(answered(exchange("openai-chat", "openai-completions"), WHOLE["openai-completions"]))
    recorded_one = json.loads(recorded("openai-completions")["plain"].body)
    assert (vllms["id"], vllms["model"]) == (recorded_one["id"], "tiny")


def test_the_clients_word_for_the_model_comes_back() -> None:
    """Where the target says none, the client reads the name it sent."""
    named = exchange("openai-chat", "tgi", with_parameters("openai-chat", model="theirs"))
    assert json.loads(answered(named, WHOLE["tgi"]))["model"] == "theirs"
    assert named.stamp == Stamp(STAMP.id, STAMP.created, "theirs")


def test_counts_of_a_whole_answer_are_known_once_it_is_read() -> None:
    """The record of the request has them."""
    translator, _ = exchange("tgi", "openai-chat").answer("application/json")
    assert translator.usage is None
    assert translator.feed(WHOLE["openai-chat"]) == []
    translator.finish()
    assert translator.usage == Usage(21, 8)


def test_a_whole_answer_has_a_longest_length() -> None:
    """A target that never stops does not fill the memory."""
    translator, _ = exchange("tgi", "openai-chat").answer("application/json")
    with pytest.raises(DialectError):
        translator.feed(b" " * (LONGEST_ANSWER + 1))


def test_errors_go_back_in_the_clients_shape() -> None:
    """What vLLM said stands where a TGI client looks."""
    translation = pair("tgi", "openai-completions", RULE)
    assert translation is not None
    said = translation.error(400, recorded("openai-completions")["too long"].body.decode())
    assert json.loads(said)["error"].startswith("max_tokens=100000 cannot be greater")


def test_one_translation_serves_any_number_of_requests() -> None:
    """Nothing of one request is left for the next."""
    translation = pair("openai-chat", "tgi", RULE)
    assert translation is not None
    bodies = [translation.request(json.dumps(LEAST["openai-chat"]).encode(), None, STAMP).body for _ in range(2)]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("client", ["tgi", "lmi", "openai-completions", "bedrock-completion"])
def test_reasoning_of_real_vllm_reaches_prompt_clients_only_by_declaration(client: str) -> None:
    """With the key dropped the content comes alone, in whole answers and in streams."""
    rule = TranslateRule("user-message", None, frozenset({"reasoning"}))
    for name in ("reasoning", "reasoning stream"):
        one = recorded("openai-chat")[name]
        request = with_parameters(client, stream="stream" in name)
        with pytest.raises(DialectError):
            answered(exchange(client, "openai-chat", request), one.body, one.content_type)
        assert answered(exchange(client, "openai-chat", request, rule), one.body, one.content_type)
