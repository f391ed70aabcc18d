"""What a collector says of spans that it took and rejects."""

from __future__ import annotations

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from proxy.rejections import APART, LONGEST, Rejections

PROTOBUF = "application/x-protobuf"


def response(rejected: int, message: str = "", *, status: int = 200, kind: str = PROTOBUF) -> requests.Response:
    told = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return answer(ExportTraceServiceResponse(partial_success=told).SerializeToString(), status, kind)


def answer(content: bytes, status: int = 200, kind: str = PROTOBUF) -> requests.Response:
    made = requests.Response()
    made.status_code, made._content = status, content
    made.headers["Content-Type"] = kind
    return made


def test_they_are_told_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """How many since the line before, and the collector's last word."""
    now = 5
    rejections = Rejections(lambda: now)
    for number in (2, 3, 4):
        rejections(response(number, f"quota {number}"), verify=True)
    now += APART
    rejections(response(1, "quota 1"))
    assert [record.getMessage() for record in caplog.records] == [
        "spans that the collector of traces took and then rejected: 2; it says 'quota 2'",
        "spans that the collector of traces took and then rejected: 8; it says 'quota 1'",
    ]


@pytest.mark.parametrize(
    "heard",
    [
        response(0),
        response(3, status=400),
        response(3, kind="text/html"),
        answer(b"\xff\xff\xff"),
        answer(b""),
        answer(b"", kind="application/json"),
    ],
    ids=["none", "refused", "another type", "garbage", "nothing", "nothing of another type"],
)
def test_other_answers_say_nothing(heard: requests.Response, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is counted as a loss elsewhere; what is no such answer is nobody's word."""
    Rejections(lambda: 0)(heard)
    assert caplog.records == []


def test_a_warning_without_a_number_is_told_and_a_long_one_cut(caplog: pytest.LogCaptureFixture) -> None:
    """OTLP has such for collectors that took all. Line breaks do not come through."""
    Rejections(lambda: 0)(response(0, "a\nb" + "x" * 5000))
    [record] = caplog.records
    assert "rejected: 0; it says 'a\\nbxxx" in record.getMessage()
    assert len(record.getMessage()) < LONGEST + 100
