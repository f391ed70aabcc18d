"""Findings as text for people and as JSON for scripts. Bodies and values that may be secret are in neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .checks import Check, Result
from .runner import Finding
from .wire import Exchange

SECRET = frozenset({"x-amzn-sagemaker-custom-attributes", "set-cookie", "x-amzn-sagemaker-new-session-id"})
"""Headers of an answer whose values are counted, not shown."""
_MARKS = {Result.PASSED: "PASS", Result.FAILED: "FAIL", Result.SKIPPED: "SKIP", Result.UNVERIFIABLE: "????"}


def lines_of(finding: Finding) -> list[str]:
    """A finding as text: one line, and for a failure the contract's sentence and what was seen."""
    check = finding.check
    failed = finding.result is Result.FAILED
    mark = "NOTE" if failed and check.advice else _MARKS[finding.result]
    lines = [f"{mark}  {check.name:36} {finding.why}".rstrip()]
    if failed:
        lines.append(f"      the contract: {check.says} ({check.source})")
        lines += [f"      seen: {_seen(exchange)}" for exchange in finding.evidence]
    return lines


def summary(findings: Sequence[Finding]) -> str:
    """The last line."""
    found = Counter(finding.result for finding in findings)
    notes = sum(finding.result is Result.FAILED and finding.check.advice for finding in findings)
    words = [f"{found[Result.PASSED]} passed", f"{found[Result.FAILED] - notes} failed"]
    words += [f"{notes} of advice not met"] if notes else []
    words += [f"{found[each]} {each.value}" for each in (Result.SKIPPED, Result.UNVERIFIABLE) if found[each]]
    return ", ".join(words)


def described(check: Check) -> dict[str, object]:
    """A check as JSON."""
    return {"name": check.name, "says": check.says, "source": check.source, "advice": check.advice}


def document_of(finding: Finding) -> dict[str, object]:
    """A finding as JSON."""
    evidence = [_document(exchange) for exchange in finding.evidence]
    return {**described(finding.check), "result": finding.result.value, "why": finding.why, "evidence": evidence}


def _document(exchange: Exchange) -> dict[str, object]:
    return {
        "status": exchange.status,
        "headers": [[name, _value(name, value)] for name, value in exchange.headers],
        "body_bytes": len(exchange.body),
        "whole": exchange.whole,
    }


def _seen(exchange: Exchange) -> str:
    fields = ", ".join(f"{name}: {_value(name, value)}" for name, value in exchange.headers)
    cut = "" if exchange.whole else ", broken off"
    return f"{exchange.status}, {len(exchange.body)} bytes{cut}; {_clean(fields)}"


def _value(name: str, value: str) -> str:
    return f"({len(value)} characters)" if name.lower() in SECRET else value


def _clean(text: str) -> str:
    """Without control characters: a server must not be able to drive the terminal of who examines it."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
