"""The tables of keys: whole, printed in docs/dialects.md, and what the code does."""

from __future__ import annotations

import pytest

from backends.wire.dialects.keys import BY_NAME, TABLES, UNTOLD_LIMIT, Key, fate
from policies.dialects import SHAPES
from policies.table import TranslateRule
from tests.backends.wire.dialects.page import PAGE, printed
from tests.backends.wire.dialects.vectors import PAIRS, RULE, refused, sent, with_parameters


def test_the_page_is_printed_from_the_tables() -> None:
    """docs/dialects.md holds the matrix and the tables as they are; `python -m ...dialects.page` writes them."""
    assert printed() in PAGE.read_text()


def test_every_dialect_has_its_keys_once() -> None:
    """Each dialect that is looked at has a table and a default limit, and no key stands twice in a table."""
    assert set(TABLES) == set(UNTOLD_LIMIT) == set(SHAPES)
    for dialect, keys in TABLES.items():
        assert len(BY_NAME[dialect]) == len(keys)


def test_a_concept_has_one_key_that_is_written() -> None:
    """A carried value goes under one name, so that no target is sent two words for one thing."""
    for keys in TABLES.values():
        written = [
            key.concept for key in keys if key.concept not in (None, "grammar", "template") and not key.reads_only
        ]
        assert len(written) == len(set(written))


VALUES: dict[str, object] = {
    "text": "Hi", "limit": 5, "stream": True, "usage": {"include_usage": True}, "temperature": 0.5, "top_p": 0.5,
    "top_k": 7, "seed": 3, "stop": ["x"], "sample": True, "full_text": True, "details": True, "include_stop": True,
    "template": True, "model": "m", "n": 2, "images": ["iVBORw0KGgo="], "logprobs": 0,
}  # fmt: skip
NAMED: dict[str, object] = {
    "messages": [{"role": "user", "content": "Hi"}],
    "logprobs": True,
    "chat_template_kwargs": {"x": 1},
    "documents": [],
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string"}}},
    "structured_outputs": {"json": {"type": "string"}},
    "grammar": {"type": "json", "value": {"type": "string"}},
    "min_p": 0.1,
}


def value_of(client: str, key: Key) -> object:
    """A value that asks for something."""
    if client == "openai-completions" and key.name == "logprobs":
        return 0
    return NAMED.get(key.name, VALUES.get(key.concept or "", 0.125))


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_every_key_meets_the_fate_that_the_table_says(client: str, target: str) -> None:
    """A key with a fate is carried; one without refuses the request by its name, and goes with the policy's word."""
    for key in TABLES[client]:
        extra: dict[str, object] = {key.name: value_of(client, key)}
        if key.name == "top_logprobs":
            extra = {"logprobs": True, "top_logprobs": 0} if fate(client, target, key) else {"top_logprobs": 2}
        if key.name == "top_n_tokens":
            extra = {"top_n_tokens": 2, "details": target in ("openai-chat", "openai-completions")}
        if key.name in ("top_k", "top_p", "min_p") and client in ("tgi", "lmi"):
            extra["do_sample"] = True
        request = with_parameters(client, **extra)
        if fate(client, target, key) is not None:
            assert sent(client, target, request)
            continue
        message = refused(client, target, request) or ""
        assert message.startswith(f"`{key.name}` cannot be carried from {client} to {target}; ")
        assert f"drop: [{key.name}]" in message
        dropping = TranslateRule(RULE.prompt_as, RULE.chat_template, frozenset({key.name}))
        assert sent(client, target, request, dropping)


def test_neutral_values_are_left_out() -> None:
    """What asks for nothing is neither refused nor sent, in every table and for every target."""
    for client, target in PAIRS:
        for key in TABLES[client]:
            for value in key.neutral:
                assert key.name == "stream_options" or sent(
                    client, target, with_parameters(client, **{key.name: value})
                )
