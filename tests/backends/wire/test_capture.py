"""Lines in SageMaker's form of captured data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.capture import Capture, Payload, read_capture, write_capture

KINDS = st.sampled_from(["application/json; charset=utf-8", "text/csv", "text/event-stream", None])
CAPTURE = Capture(
    "e-1", "r-1", 1_800_000_000.0, Payload("application/json", '{"a":1}'), Payload("text/csv", "1,2"), {"side": "old"}
)
WRITTEN = {
    "captureData": {
        "endpointInput": {
            "observedContentType": "application/json",
            "mode": "INPUT",
            "data": '{"a":1}',
            "encoding": "JSON",
        },
        "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "1,2", "encoding": "CSV"},
    },
    "eventMetadata": {"eventId": "e-1", "inferenceId": "r-1", "inferenceTime": "2027-01-15T08:00:00Z"},
    "eventVersion": "0",
    "pointsman": {"side": "old"},
}


def test_form() -> None:
    """Every key and value stands where the developer guide's example has it."""
    line = write_capture(CAPTURE)
    assert line.endswith(b"}\n")
    assert json.loads(line) == WRITTEN


@given(st.text(), st.text(), KINDS, KINDS)
def test_what_is_written_is_read_back(asked: str, answered: str, one: str | None, other: str | None) -> None:
    """Any text of any type."""
    capture = Capture("e", "r", 0.0, Payload(one, asked), Payload(other, answered))
    assert read_capture(write_capture(capture)) == capture


def test_text_that_cannot_be_written_is_replaced() -> None:
    """Half of a surrogate pair, as from a body that is not UTF-8, makes no line unreadable."""
    found = read_capture(
        write_capture(Capture("e", "r", 0.0, Payload("application/json", "\ud800"), Payload(None, "")))
    )
    assert found is not None
    assert found.asked.text == "?"


def _without(*path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(WRITTEN))
    *outer, last = path
    inner = document
    for key in outer:
        inner = inner[key]
    del inner[last]
    return document


@pytest.mark.parametrize(
    "document",
    [
        [],
        _without("captureData"),
        _without("captureData", "endpointInput", "data"),
        _without("eventMetadata", "inferenceTime"),
        {**WRITTEN, "captureData": {"endpointInput": {"data": 1}, "endpointOutput": {"data": ""}}},
        {
            **WRITTEN,
            "captureData": {"endpointInput": {"data": "", "observedContentType": 5}, "endpointOutput": {"data": ""}},
        },
        {**WRITTEN, "captureData": {"endpointInput": {"data": "?", "encoding": "BASE64"}, "endpointOutput": {}}},
    ],
)
def test_other_lines_are_none(document: Any) -> None:
    """What lacks a part, or has one of another type, is no capture and no error."""
    assert read_capture(json.dumps(document).encode()) is None


@pytest.mark.parametrize("line", [b"", b"{", b"\xff"])
def test_garbage_is_none(line: bytes) -> None:
    """A torn line is passed over."""
    assert read_capture(line) is None


def test_sagemakers_own_lines_are_read() -> None:
    """They have no key of ours, and an inference id only where the client gave one."""
    document = _without("eventMetadata", "inferenceId")
    del document["pointsman"]
    found = read_capture(json.dumps(document).encode())
    assert found is not None
    assert (found.inference_id, found.own) == ("", {})
