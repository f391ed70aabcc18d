"""Frames, decoded with botocore."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.emulator.aws import BEDROCK, SAGEMAKER, stream_errors_of
from backends.emulator.frames import data_frame, error_frame, exception_frame, frame

HELLO = (
    "0000006e000000595197ff150b3a6576656e742d7479706507000b5061796c6f6164506172740d3a636f6e74656e742d747970650700186170706c"
    "69636174696f6e2f6f637465742d73747265616d0d3a6d6573736167652d747970650700056576656e7468656c6c6f29738ab4"
)


def decoded(data: bytes) -> list[Any]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


def test_sagemaker_part_is_the_known_vector() -> None:
    """The bytes that botocore and AWS's JavaScript SDK both accepted as PayloadPart `hello`."""
    assert data_frame(SAGEMAKER, b"hello").hex() == HELLO


@settings(max_examples=100)
@given(st.binary(max_size=2000))
def test_payload_bytes_survive_both_services(content: bytes) -> None:
    """Whatever bytes go in come out of botocore's decoder, raw or in base64."""
    (part,) = decoded(data_frame(SAGEMAKER, content))
    assert part.payload == content
    (chunk,) = decoded(data_frame(BEDROCK, content))
    assert base64.b64decode(json.loads(chunk.payload)["bytes"]) == content
    assert chunk.headers[":event-type"] == "chunk"


@pytest.mark.parametrize("service", [SAGEMAKER, BEDROCK])
def test_every_modelled_exception_is_an_exception_frame(service: str) -> None:
    """Each has message-type exception, its type and its fields as JSON."""
    for name, shape in stream_errors_of(service).items():
        (event,) = decoded(exception_frame(service, name, {shape.fields[0]: "said"}))
        assert event.headers[":message-type"] == "exception"
        assert event.headers[":exception-type"] == name
        assert json.loads(event.payload) == {shape.fields[0]: "said"}


def test_a_field_that_the_model_lacks_is_refused() -> None:
    """An unmodelled field would be a stand-in that invents; an unmodelled name is a KeyError."""
    with pytest.raises(ValueError, match="ModelStreamError has no field Sorry"):
        exception_frame(SAGEMAKER, "ModelStreamError", {"Sorry": 1})
    with pytest.raises(KeyError):
        exception_frame(BEDROCK, "modelNotReadyException", {})


def test_error_frame_has_code_and_message_in_headers() -> None:
    """Unmodelled errors have no payload."""
    (event,) = decoded(error_frame("Code", "words"))
    assert event.headers == {":error-code": "Code", ":error-message": "words", ":message-type": "error"}
    assert event.payload == b""


@pytest.mark.parametrize("where", ["message", "prelude"])
def test_a_spoilt_checksum_is_refused_by_botocore(where: Any) -> None:
    """Both checksums matter."""
    with pytest.raises(ChecksumMismatch):
        decoded(frame({":event-type": "x"}, b"payload", bad_crc=where))
