"""What is remembered of requests."""

from __future__ import annotations

from backends.emulator.answers import Received
from backends.emulator.config import Keep
from backends.emulator.journal import Journal

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKID/20260101/r/sagemaker/aws4_request, SignedHeaders=host, Signature=abc123"
)
HEADERS = (
    ("Authorization", AUTHORIZATION),
    ("X-Amz-Security-Token", "token"),
    ("Cookie", "c"),
    ("X-Amzn-SageMaker-Custom-Attributes", "kept"),
)


def received(number: int = 1, body: bytes = b"hi", headers: tuple[tuple[str, str], ...] = HEADERS) -> Received:
    return Received(number, "r", "POST", "/x?y", headers, body, len(body))


def test_no_credential_enters_the_journal() -> None:
    """The signature, the token and cookies go; key id, scope and signed headers stay, for tests to look at."""
    seen = Journal(Keep()).note(received(), 5.0)
    assert seen.header("authorization") == AUTHORIZATION.replace("abc123", "(removed)")
    assert seen.header("x-amz-security-token") == seen.header("cookie") == "(removed)"
    assert seen.header("x-amzn-sagemaker-custom-attributes") == "kept"
    assert seen.header("x-other") is None
    bearer = Journal(Keep()).note(received(headers=(("authorization", "Bearer secret"),)), 5.0)
    assert bearer.header("Authorization") == "(removed)"


def test_bodies_are_kept_only_when_asked_for() -> None:
    """Size and hash always, the body never by default and never above 1 MiB."""
    sha = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
    seen = Journal(Keep()).note(received(), 5.0)
    assert (seen.size, seen.sha256, seen.body) == (2, sha, None)
    assert Journal(Keep(bodies=True)).note(received(), 5.0).body == b"hi"
    assert Journal(Keep(bodies=True)).note(received(body=bytes((1 << 20) + 1)), 5.0).body is None


def test_the_journal_is_bounded() -> None:
    """The oldest go first."""
    journal = Journal(Keep(calls=2))
    for number in (1, 2, 3):
        journal.note(received(number), 5.0)
    assert [seen.number for seen in journal.calls] == [2, 3]


def test_a_report_is_json() -> None:
    """Every field is there; a kept body is base64."""
    report = Journal(Keep(bodies=True)).note(received(), 5.0).report()
    assert (report["body"], report["target"], report["finished"]) == ("aGk=", "/x?y", None)
    assert report["headers"][2] == ["Cookie", "(removed)"]
