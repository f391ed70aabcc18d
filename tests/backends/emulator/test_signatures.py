"""Signatures, made by botocore and checked."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from backends.emulator.signatures import Key, Signed, check

KEYS = {"AKID": Key("AKID", "secret"), "ASIA": Key("ASIA", "secret", "token")}
ARN = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aimported-model%2Fabc/invoke"


def signed(
    *,
    key: str = "AKID",
    secret: str = "secret",
    token: str | None = None,
    service: str = "sagemaker",
    region: str = "us-east-1",
    target: str = "/endpoints/e/invocations",
    body: bytes = b"{}",
    extra: dict[str, str] | None = None,
) -> Signed:
    headers = {"Host": "127.0.0.1:9080", "Content-Type": "text/plain", **(extra or {})}
    request = AWSRequest("POST", f"http://127.0.0.1:9080{target}", data=body, headers=headers)
    SigV4Auth(Credentials(key, secret, token), service, region).add_auth(request)
    return Signed("POST", target, tuple(request.headers.items()), body)


def verdict(request: Signed, service: str = "sagemaker", now: datetime.datetime | None = None) -> str | None:
    now = now or datetime.datetime.now(datetime.UTC)
    refusal = check(request, KEYS, service, "us-east-1", lambda: now)
    return None if refusal is None else refusal.error


def changed(request: Signed, **changes: Any) -> Signed:
    values = {"method": request.method, "target": request.target, "headers": request.headers, "body": request.body}
    return Signed(**{**values, **changes})


def without(request: Signed, name: str, value: str | None = None) -> tuple[tuple[str, str], ...]:
    kept = tuple(pair for pair in request.headers if pair[0].lower() != name.lower())
    return kept if value is None else (*kept, (name, value))


@pytest.mark.parametrize("target", ["/endpoints/e/invocations", "/endpoints/a%20b%2Fc/invocations?x=1&a=%20", ARN])
def test_what_botocore_signs_is_accepted(target: str) -> None:
    """The check and botocore agree on paths that are encoded again, queries and spaces in header values."""
    assert verdict(signed(target=target, extra={"X-Spaces": "a   b "})) is None
    assert verdict(signed(service="bedrock", target=target), "bedrock") is None


def test_temporary_credentials_need_their_token() -> None:
    """A token is part of the key: missing, wrong or superfluous, it is no known key."""
    assert verdict(signed(key="ASIA", token="token")) is None
    assert verdict(signed(key="ASIA")) == "UnrecognizedClientException"
    assert verdict(signed(key="ASIA", token="other")) == "UnrecognizedClientException"
    assert verdict(signed(token="token")) == "UnrecognizedClientException"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (signed(secret="other"), "InvalidSignatureException"),
        (signed(key="WHO"), "UnrecognizedClientException"),
        (signed(service="runtime.sagemaker"), "InvalidSignatureException"),
        (signed(region="eu-west-1"), "InvalidSignatureException"),
        (changed(signed(), body=b"{} "), "InvalidSignatureException"),
        (changed(signed(), target="/endpoints/f/invocations"), "InvalidSignatureException"),
        (changed(signed(target=ARN), target=ARN.replace("%3A", ":")), "InvalidSignatureException"),
        (changed(signed(), method="PUT"), "InvalidSignatureException"),
        (changed(signed(), headers=without(signed(), "Content-Type")), "InvalidSignatureException"),
        (changed(signed(), headers=without(signed(), "Host", "elsewhere")), "InvalidSignatureException"),
        (changed(signed(), headers=without(signed(), "Content-Type", "\udcff")), "InvalidSignatureException"),
        (changed(signed(), headers=without(signed(), "Host", "[")), "InvalidSignatureException"),
        (changed(signed(), target="/\udcff"), "InvalidSignatureException"),
        (changed(signed(), headers=()), "MissingAuthenticationTokenException"),
        (changed(signed(), headers=(("Authorization", "Bearer x"),)), "UnrecognizedClientException"),
        (changed(signed(), headers=(("Authorization", "Basic x"),)), "IncompleteSignatureException"),
        (changed(signed(), headers=without(signed(), "X-Amz-Date")), "IncompleteSignatureException"),
        (changed(signed(), headers=without(signed(), "X-Amz-Date", "20200101T000000Z")), "InvalidSignatureException"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_awss_own_error(request_: Signed, error: str) -> None:
    """Each way to sign wrongly has the error that AWS gives it."""
    assert verdict(request_) == error


def test_signatures_are_good_for_five_minutes() -> None:
    """Older ones have expired, later ones aren't yet current."""
    minutes = {-6: "InvalidSignatureException", -4: None, 4: None, 6: "InvalidSignatureException"}
    now = datetime.datetime.now(datetime.UTC)  # botocore signs by the real clock, and a suite takes minutes
    assert {step: verdict(signed(), now=now + datetime.timedelta(minutes=step)) for step in minutes} == minutes


def test_host_and_date_must_be_signed() -> None:
    """A signature over other headers alone proves nothing about where the request was to go."""
    request = signed()
    authorization = str(request.header("Authorization")).replace("host;", "")
    assert (
        verdict(changed(request, headers=without(request, "Authorization", authorization)))
        == "InvalidSignatureException"
    )


def test_a_body_hash_that_is_sent_must_be_the_bodys() -> None:
    """A client may send X-Amz-Content-SHA256; then it is signed, and it is checked against the body."""
    right = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert verdict(signed(extra={"X-Amz-Content-SHA256": right})) is None
    assert verdict(signed(extra={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})) == "InvalidSignatureException"
