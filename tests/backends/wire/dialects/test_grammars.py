"""Constraints on the text: a schema and a regular expression are carried, the rest is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.wire.dialects.vectors import parameters, refused, with_parameters

SCHEMA = {"type": "object"}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("client", "target", "key", "value", "expected"),
    [
        ("tgi", "openai-chat", "grammar", {"type": "json", "value": SCHEMA}, {"response_format": FORMAT}),
        ("tgi", "bedrock-completion", "grammar", {"type": "json", "value": SCHEMA}, {"response_format": FORMAT}),
        ("tgi", "openai-chat", "grammar", {"type": "json_schema", "value": {"schema": SCHEMA}},
         {"response_format": FORMAT}),
        ("tgi", "openai-chat", "grammar", {"type": "regex", "value": "a+"}, {"structured_outputs": {"regex": "a+"}}),
        ("openai-chat", "tgi", "response_format", FORMAT, {"grammar": {"type": "json", "value": SCHEMA}}),
        ("openai-chat", "tgi", "structured_outputs", {"json": SCHEMA}, {"grammar": {"type": "json", "value": SCHEMA}}),
        ("openai-chat", "tgi", "structured_outputs", {"regex": "a+"}, {"grammar": {"type": "regex", "value": "a+"}}),
        ("openai-chat", "bedrock-completion", "response_format", {"type": "json_object"},
         {"response_format": {"type": "json_object"}}),
        ("openai-chat", "bedrock-completion", "structured_outputs", {"json_object": True},
         {"response_format": {"type": "json_object"}}),
        ("bedrock-completion", "openai-completions", "response_format", FORMAT, {"response_format": FORMAT}),
    ],
)  # fmt: skip
def test_what_both_sides_have_is_carried(
    client: str, target: str, key: str, value: Any, expected: dict[str, Any]
) -> None:
    """Each dialect's own word for the constraint is said, and only that."""
    body = parameters(client, target, **{key: value})
    assert {
        name: body[name] for name in ("response_format", "structured_outputs", "grammar") if name in body
    } == expected


@pytest.mark.parametrize(
    ("client", "target", "keys", "said"),
    [
        ("tgi", "openai-chat", {"grammar": {"type": "ebnf", "value": "x"}}, "`grammar` is neither"),
        ("tgi", "openai-chat", {"grammar": "x"}, "`grammar` is not an object"),
        ("tgi", "bedrock-completion", {"grammar": {"type": "regex", "value": "x"}}, "(regex)"),
        ("openai-chat", "tgi", {"response_format": {"type": "json_object"}}, "(object)"),
        ("openai-chat", "tgi", {"response_format": {"type": "structural_tag"}}, "`response_format` is neither"),
        ("openai-chat", "tgi", {"structured_outputs": {"choice": ["a"]}}, "`structured_outputs` is something else"),
        ("openai-chat", "tgi", {"structured_outputs": {"regex": "a"}, "response_format": FORMAT}, "keep one"),
        ("openai-chat", "lmi", {"response_format": FORMAT}, "`response_format` cannot be carried"),
    ],
)
def test_what_one_side_lacks_is_refused(client: str, target: str, keys: dict[str, Any], said: str) -> None:
    """An answer without its constraint would look like a wrong answer of the model."""
    assert said in (refused(client, target, with_parameters(client, **keys)) or "")
