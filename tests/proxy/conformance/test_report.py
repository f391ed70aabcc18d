"""The report shows what came, and nothing that may be secret."""

from __future__ import annotations

import json
from dataclasses import replace

from proxy.conformance import CHECKS, Finding, Result, document_of, lines_of, summary
from proxy.conformance.wire import Exchange

EXCHANGE = Exchange(500, (("X-Amzn-SageMaker-Custom-Attributes", "hidden"), ("X", "a\x1b[2J")), b"body-text", False)
FINDING = Finding(CHECKS[0], Result.FAILED, "it broke", (EXCHANGE,))


def test_failure_says_what_was_seen_without_bodies_and_secrets() -> None:
    """Status and headers are shown; bodies, custom attributes and control characters are not."""
    said = "\n".join(lines_of(FINDING)) + json.dumps(document_of(FINDING))
    assert "FAIL" in said
    assert "500, 9 bytes, broken off" in said
    assert "hidden" not in said
    assert "body-text" not in said
    assert "\x1b" not in said


def test_advice_is_noted_and_does_not_count() -> None:
    """A failure of advice is a NOTE, and none of the failures."""
    advice = replace(FINDING, check=replace(CHECKS[0], advice=True))
    assert lines_of(advice)[0].startswith("NOTE")
    assert (FINDING.counts, advice.counts) == (True, False)
    assert summary([FINDING, advice]) == "0 passed, 1 failed, 1 of advice not met"
