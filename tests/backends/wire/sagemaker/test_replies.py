"""Heads of answers, and the frame that ends a broken stream."""

from __future__ import annotations

import json

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Reply
from backends.http.answer import lines
from backends.wire.sagemaker import reply_lines, stream_failure, stream_lines, write_reply, write_stream_head
from backends.wire.sagemaker.replies import LONGEST


def test_a_full_reply_has_every_modelled_header() -> None:
    """What the container set reaches the client under the API's names."""
    reply = Reply(
        body=b"x",
        content_type="text/csv",
        custom_attributes="t=1",
        variant="v1",
        new_session_id="s; Expires=2026-01-01T00:00:00Z",
        closed_session_id="s0",
    )
    assert write_reply(reply, "r-1") == (
        ("x-amzn-RequestId", "r-1"),
        ("x-Amzn-Invoked-Production-Variant", "v1"),
        ("Content-Type", "text/csv"),
        ("X-Amzn-SageMaker-Custom-Attributes", "t=1"),
        ("X-Amzn-SageMaker-New-Session-Id", "s; Expires=2026-01-01T00:00:00Z"),
        ("X-Amzn-SageMaker-Closed-Session-Id", "s0"),
    )


def test_a_bare_reply_invents_only_the_variant() -> None:
    """No Content-Type is made up for a container that set none."""
    assert write_reply(Reply(), "r-1") == (
        ("x-amzn-RequestId", "r-1"),
        ("x-Amzn-Invoked-Production-Variant", "AllTraffic"),
    )


def test_a_streams_head_moves_the_containers_type() -> None:
    """Content-Type is the framing's; the container's stands in X-Amzn-SageMaker-Content-Type, and sessions nowhere."""
    reply = Reply(content_type="text/event-stream", custom_attributes="t=1", new_session_id="s", closed_session_id="s")
    assert write_stream_head(reply, "r-1") == (
        ("x-amzn-RequestId", "r-1"),
        ("x-Amzn-Invoked-Production-Variant", "AllTraffic"),
        ("X-Amzn-SageMaker-Content-Type", "text/event-stream"),
        ("X-Amzn-SageMaker-Custom-Attributes", "t=1"),
        ("Content-Type", "application/vnd.amazon.eventstream"),
    )


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 60_000])
def test_a_value_that_is_longer_than_awss_model_has_it_is_left_out(length: int, streaming: bool) -> None:
    """Whatever a target makes of its fields, the head is one that clients take: many refuse 8 KB."""
    long = "a" * length
    reply = Reply(b"x", None, long, long, long, long, long)
    lines = stream_lines(reply, "r-1") if streaming else reply_lines(reply, "r-1")
    assert (long in lines) is (length == LONGEST)
    assert len(lines) < 6 * 1024


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "\x00", "é", "\x7f"])
def test_a_value_that_could_split_the_answer_is_left_out(value: str) -> None:
    """A customer's handler cannot add header lines through an attribute."""
    assert write_reply(Reply(custom_attributes=value), "r") == write_reply(Reply(), "r")
    assert write_stream_head(Reply(content_type=value), "r") == write_stream_head(Reply(), "r")


@pytest.mark.parametrize(
    ("kind", "code", "document"),
    [
        ("ModelStreamError", "StreamBroken", {"Message": "m", "ErrorCode": "StreamBroken"}),
        ("InternalStreamFailure", None, {"Message": "m"}),
    ],
)
def test_a_broken_stream_ends_in_an_exception_frame(kind: str, code: str | None, document: dict[str, str]) -> None:
    """botocore's own decoder reads the frame as the modelled exception."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream_failure(kind, "m", code))
    (event,) = list(buffer)
    assert event.headers[":message-type"] == "exception"
    assert event.headers[":exception-type"] == kind
    assert json.loads(event.payload) == document


def test_a_long_message_is_cut_in_a_frame_too() -> None:
    """Message is at most 2048 characters, in a stream as in an answer."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream_failure("ModelStreamError", "x" * 3000, "StreamBroken"))
    (event,) = list(buffer)
    assert len(json.loads(event.payload)["Message"]) == 2048


@given(
    st.builds(
        Reply,
        content_type=st.sampled_from([None, "", "application/json", "text/event-stream", "text/csv", "a\r\nb"]),
        variant=st.sampled_from([None, "", "v1", "é"]),
        custom_attributes=st.sampled_from([None, "", "t=1", "\n"]),
        new_session_id=st.sampled_from([None, "s"]),
        closed_session_id=st.sampled_from([None, "s"]),
    )
)
def test_the_lines_of_a_head_are_its_fields(reply: Reply) -> None:
    """The usual answer, made in one piece, is byte for byte what its fields would come to."""
    assert reply_lines(reply, "r-1") == lines(write_reply(reply, "r-1"))
    assert stream_lines(reply, "r-1") == lines(write_stream_head(reply, "r-1"))
