"""The container contract in pure form: what reaches a container, what leaves it, errors without a wrapping."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Reply
from backends.wire import container
from backends.wire import sagemaker as wire
from backends.wire.sagemaker import ErrorReply

PLACE = {"region": "us-east-1", "account": "1", "endpoint": "e"}


def test_only_the_contracts_headers_count() -> None:
    """In any case; everything else that arrives is ignored."""
    given = (
        ("CONTENT-TYPE", "a/b"),
        ("Accept", "*/*"),
        ("X-Amzn-SageMaker-Custom-Attributes", "a=b"),
        ("x-amzn-sagemaker-inference-id", "i"),
        ("X-Amzn-SageMaker-Session-Id", "s"),
        ("X-Amzn-SageMaker-Inference-Component", "c"),
        ("traceparent", "t"),
        ("Authorization", "x"),
    )
    assert container.passed(given) == given[:5]


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        (None, None),
        ("", None),
        ("model=a", "a"),
        ("x=1;model=a/b,y", "a/b"),
        ("x=1, model=a", "a"),
        ("mymodel=a", None),
        ("model=", ""),
        ("model=a model=b", "a"),
    ],
)
def test_an_item_of_custom_attributes_is_read_by_its_key(attributes: str | None, value: str | None) -> None:
    """Items are separated as the trace's item is; the first one counts, and a longer key is another key."""
    assert container.read_attribute(attributes, "model") == value


def test_a_key_is_no_pattern() -> None:
    """A dot in a key is a dot."""
    assert container.read_attribute("axb=1", "a.b") is None


def test_an_answer_has_the_headers_that_clients_get() -> None:
    """Type, attributes and sessions; the variant's name and the request id are the platform's to give."""
    reply = Reply(b"x", None, "text/x", "a=b", "blue", "s; Expires=2026-11-21T00:00:00Z", "t")
    assert [name for name, _ in container.write_head(reply, "r")] == [
        "Content-Type",
        "X-Amzn-SageMaker-Custom-Attributes",
        "X-Amzn-SageMaker-New-Session-Id",
        "X-Amzn-SageMaker-Closed-Session-Id",
    ]


@pytest.mark.parametrize(
    ("status", "text", "told", "kind"),
    [
        (400, '{"error": "bad"}', 400, "application/json"),
        (503, "busy", 503, "text/plain; charset=utf-8"),
        (302, "moved", 502, "text/plain; charset=utf-8"),
        (500, "", 500, "text/plain; charset=utf-8"),
    ],
)
def test_a_models_error_goes_out_raw(status: int, text: str, told: int, kind: str) -> None:
    """Its own status and body: the platform wraps it once more."""
    answered, headers, body = container.write_failure(wire.model_error(status, text, **PLACE), "r")
    assert (answered, body.decode(), dict(headers)["Content-Type"]) == (told, text, kind)


def test_a_long_error_of_a_model_is_whole() -> None:
    """What is cut is cut by the platform."""
    assert len(container.write_failure(wire.model_error(400, "x" * 9000, **PLACE), "r")[2]) == 9000


def test_a_deadline_is_a_504_with_the_text_that_clients_match() -> None:
    """A container can't answer 0."""
    status, _, body = container.write_failure(wire.model_timeout(**PLACE), "r")
    assert status == 504
    assert b"timed out while waiting for a response" in body


def test_any_other_error_keeps_status_type_and_text() -> None:
    """So that they are the wrapped answer's OriginalStatusCode and OriginalMessage."""
    status, headers, body = container.write_failure(wire.model_not_ready(3.0), "r-1")
    assert (status, dict(headers)["x-amzn-RequestId"]) == (429, "r-1")
    told = json.loads(body)
    assert told["__type"] == "ModelNotReadyException"
    assert told["Message"].startswith("Model is not ready")


@settings(max_examples=100)
@given(st.integers(-5, 999), st.text(max_size=40))
def test_every_error_is_an_error_on_the_wire(status: int, text: str) -> None:
    """Whatever a model is said to have answered, the platform sees an HTTP error of 400 to 599."""
    said = ErrorReply(424, "ModelError", "m", original_status=status, original_message=text)
    answered, _, body = container.write_failure(said, "r")
    assert 400 <= answered <= 599
    assert body == text.encode("utf-8", "replace")
