"""Errors in the client's shape."""

from __future__ import annotations

import json

import pytest

from backends.wire.dialects.errors import LONGEST, read_error, translate_error, write_error
from tests.backends.wire.dialects.vectors import ALL, recorded

VLLM = recorded("openai-completions")["bad value"]
SAID = "temperature must be non-negative, got -1.0. (parameter=temperature, value=-1.0)"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("tgi", {"error": SAID, "error_type": "validation"}),
        ("lmi", {"error": SAID, "code": 400}),
        ("bedrock-completion", {"message": SAID}),
    ],
)
def test_an_error_of_real_vllm_in_each_shape(client: str, expected: object) -> None:
    """The words of vLLM's 400 stand where the client looks for them."""
    assert json.loads(translate_error(client, "openai-completions", 400, VLLM.body.decode())) == expected


def test_within_openai_nothing_changes() -> None:
    """Both dialects have one shape for errors, `param` included."""
    body = VLLM.body.decode()
    assert translate_error("openai-chat", "openai-completions", 400, body) == body
    assert json.loads(translate_error("openai-chat", "openai-completions", 500, "boom")) == {
        "error": {"message": "boom", "type": "InternalServerError", "param": None, "code": 500}
    }


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"error": {"message": "a"}}', "a"),
        ('{"error": "a", "error_type": "validation"}', "a"),
        ('{"error": "a", "code": 424}', "a"),
        ('{"message": "a"}', "a"),
        ('{"Message": "a"}', "a"),
        ('{"object": "error", "message": "a", "code": 400}', "a"),
        ('{"detail": []}', '{"detail": []}'),
        ("plain words", "plain words"),
        ('{"error": 5}', '{"error": 5}'),
        ("", ""),
        ("\ud800", "\ud800"),
        ("x" * 9999, "x" * LONGEST),
    ],
)
def test_words_are_found_wherever_engines_put_them(said: str, words: str) -> None:
    """What has no known shape is passed on as it is, within a bound."""
    assert read_error(said) == words


@pytest.mark.parametrize(
    ("status", "openai", "tgi"),
    [
        (400, "BadRequestError", "validation"),
        (404, "NotFoundError", "validation"),
        (418, "BadRequestError", "validation"),
        (422, "BadRequestError", "validation"),
        (429, "RateLimitError", "overloaded"),
        (500, "InternalServerError", "generation"),
        (503, "InternalServerError", "generation"),
    ],
)
def test_types_follow_the_status(status: int, openai: str, tgi: str) -> None:
    """Each dialect's own word for whose fault it is."""
    assert json.loads(write_error("openai-chat", status, "m"))["error"]["type"] == openai
    assert json.loads(write_error("tgi", status, "m"))["error_type"] == tgi


@pytest.mark.parametrize("client", ALL)
def test_words_come_back_from_every_shape(client: str) -> None:
    """What is written can be read again."""
    assert read_error(write_error(client, 400, "the words")) == "the words"
