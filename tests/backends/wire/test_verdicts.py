"""The table of what errors mean for a retry, and the page that prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.http.transport import TransportError
from backends.wire.verdicts import (
    BEDROCK,
    BEDROCK_TEXTS,
    COMMON,
    GARBLED,
    MODEL_ERRORS,
    ORIGINAL,
    SAGEMAKER,
    SAGEMAKER_TEXTS,
    STATUSES,
    after,
    by_original,
    by_status,
    by_type,
    in_stream,
)
from policies.facts import FailureFacts, Fault

PAGE = Path(__file__).parents[3] / "docs" / "retry-safety.md"
WORDS = {True: "yes", False: "no", None: "unknown"}
Row = tuple[str, str, str, str]


def section(title: str) -> set[Row]:
    """The rows of the table under a heading: the first four cells of each, without code marks."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/retry-safety.md has no section {title!r}"
    lines = [line for line in found[1].splitlines() if line.startswith("|")][2:]
    rows = set()
    for line in lines:
        cells = [cell.strip().replace("`", "").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        rows.add((cells[0], cells[1], cells[2], cells[3]))
    assert len(rows) == len(lines)
    return rows


def row(name: object, facts: FailureFacts) -> Row:
    marks = [mark for mark in ("cold", "throttled", "timed_out") if getattr(facts, mark)]
    return str(name), facts.fault.value, WORDS[facts.retry_safe], ", ".join(marks)


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("Types of both services", COMMON),
        ("Types of SageMaker Runtime", SAGEMAKER),
        ("Texts of SageMaker's ValidationError", SAGEMAKER_TEXTS),
        ("Types of Bedrock Runtime", BEDROCK),
        ("Texts of Bedrock's ValidationException", BEDROCK_TEXTS),
    ],
)
def test_the_page_prints_the_types(title: str, table: Mapping[str, FailureFacts]) -> None:
    """Document and data say the same, row for row."""
    assert section(title) == {row(name, facts) for name, facts in table.items()}


def test_the_page_prints_the_statuses() -> None:
    """Also the rules for statuses that are in no table."""
    assert section("Status alone") == {row(status, facts) for status, facts in STATUSES.items()} | {
        row("other 4xx", by_status(418)),
        row("other 5xx", by_status(599)),
        row("1xx, 3xx", by_status(302)),
    }
    assert section("What the model's container answered") == {
        row(status, facts) for status, facts in ORIGINAL.items()
    } | {
        row("other 4xx", by_original(404)),
        row("all else", by_original(500)),
    }


def test_the_page_prints_the_connection() -> None:
    """Refused and never connected are safe; anything after the request was sent is not known to be, unless the other
    side says that it has not read it."""
    assert section("The connection") == {
        row("refused, name not resolved", TransportError("c", sent=False).facts),
        row("no connection in time", TransportError("c", sent=False).facts),
        row("deadline passed before there was a connection", TransportError("c", sent=False, timed_out=True).facts),
        row("reset or closed after the request was sent", TransportError("c", sent=True).facts),
        row("a 408 that closes a connection which was idle", TransportError("c", sent=False).facts),
        row("deadline passed after the request was sent", TransportError("c", sent=True, timed_out=True).facts),
        row("an answer of another form, a wrong checksum", GARBLED),
        row("no credentials, no region", FailureFacts(Fault.CONFIG, retry_safe=True)),
    }


def test_a_known_type_beats_the_status() -> None:
    """Throttling is throttling with 400 too; the service's own table comes before the common one."""
    own = {"ThrottlingException": GARBLED}
    assert by_type({}, {}, "ThrottlingException", "", 400) == COMMON["ThrottlingException"]
    assert by_type(own, {}, "ThrottlingException", "", 400) == GARBLED
    assert by_type({}, {}, None, "", 503) == STATUSES[503]


def test_texts_count_for_validation_errors_alone() -> None:
    """A message that looks alike in another error changes nothing."""
    text = "Inference Component has no capacity to process this request."
    assert by_type(SAGEMAKER, SAGEMAKER_TEXTS, "ValidationError", text, 400).cold
    assert not by_type(SAGEMAKER, SAGEMAKER_TEXTS, "InternalFailure", text, 500).cold
    assert not by_type(SAGEMAKER, SAGEMAKER_TEXTS, "ValidationError", f"Not: {text}", 400).cold


@settings(max_examples=100)
@given(st.integers(100, 599), st.sampled_from([None, *COMMON, *SAGEMAKER, *BEDROCK, *MODEL_ERRORS, "New"]))
def test_what_may_have_run_is_never_called_safe(status: int, kind: str | None) -> None:
    """A 500, 502, 504 or 530 is never safe to send again, under whatever known or unknown type that means one."""
    facts = by_type(SAGEMAKER, SAGEMAKER_TEXTS, kind, "", status)
    if kind in {None, "New"} and status >= 500 and status != 503:
        assert facts.retry_safe is None
    assert not (facts.timed_out and facts.retry_safe)
    assert not facts.cold or facts.retry_safe


@settings(max_examples=100)
@given(st.integers(0, 999))
def test_every_status_of_a_container_has_a_meaning(status: int) -> None:
    """It is always the model's answer; only 429 and 503 are surely safe to repeat."""
    facts = by_original(status)
    assert facts.fault is Fault.MODEL
    assert (facts.retry_safe is True) is (status in {429, 503})


def test_inside_a_stream_only_throttling_is_safe() -> None:
    """Once the head of an answer was sent the model may have run, unless the service says that it counted."""
    assert in_stream(COMMON["ServiceUnavailable"]).retry_safe is None
    assert in_stream(COMMON["ThrottlingException"]).retry_safe is True
    assert in_stream(SAGEMAKER["ValidationError"]).retry_safe is False


def test_a_wait_is_added_when_there_is_one() -> None:
    """Facts are values: a wait makes new ones."""
    facts = COMMON["ThrottlingException"]
    assert after(facts, None) is facts
    assert after(facts, 2.0).retry_after == 2.0
    assert facts.retry_after is None
