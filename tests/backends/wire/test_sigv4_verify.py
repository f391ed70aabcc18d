"""Signatures held against what botocore signs, and against every way to change a signed request."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Headers
from backends.wire.sigv4 import Signer
from backends.wire.sigv4_verify import LONGEST, WINDOW, Flaw, Unverified, is_signature, read_claim, verify

SECRET = "s" * 40
BODY = b'{"inputs": "x"}'
PATH = "/endpoints/a/invocations"


class _At(SigV4Auth):  # type: ignore[misc] # botocore has no types
    """botocore's signer with its clock given."""

    def sign_at(self, request: AWSRequest, stamp: str) -> None:
        request.context["timestamp"] = stamp
        self._modify_request_before_signing(request)
        text = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, text), request))


STAMP = "20261121T120000Z"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp()


def signed(path: str = PATH, extra: Headers = (), service: str = "sagemaker", body: bytes = BODY) -> Headers:
    """The header fields that botocore sends."""
    request = AWSRequest(method="POST", url=f"http://h:8080{path}", data=body)
    for name, value in (*extra, ("Content-Type", "application/json")):
        request.headers.add_header(name, value)
    _At(Credentials("PMKX", SECRET), service, "eu-west-1").sign_at(request, STAMP)
    fields = tuple((name, str(value)) for name, value in request.headers.items())
    return (("Host", "h:8080"), *fields)


def held(headers: Headers, *, path: str = PATH, body: bytes = BODY, method: str = "POST", secret: str = SECRET) -> None:
    verify(read_claim(headers, NOW), method, path, headers, body, secret, Signer())


def changed(headers: Headers, name: str, value: str) -> Headers:
    return tuple((each, value if each == name else old) for each, old in headers)


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/pre/fix/endpoints/a%20b/invocations",
        "/endpoints/a%3Ab/invocations?x=1&b=%20",
        "/endpoints/é~/invocations",
    ],
)
def test_what_botocore_signs_is_verified(path: str) -> None:
    """Paths as they come on the wire, queries, and fields that decide about the invocation."""
    headers = signed(path, (("X-Amzn-SageMaker-Inference-Component", "c"), ("X-Amz-Thing", "a  b")))
    held(headers, path=path)
    claim = read_claim(headers, NOW)
    assert (claim.access_key, claim.region, claim.stamp) == ("PMKX", "eu-west-1", STAMP)


@given(
    st.from_regex(r"(/[A-Za-z0-9._~%-]{0,8}){1,4}", fullmatch=True).filter(lambda p: "%" not in p),
    st.binary(max_size=40),
    st.lists(st.from_regex(r"[ !-~]{0,20}", fullmatch=True), max_size=3),
)
@settings(max_examples=100)
def test_any_request_that_botocore_signs_is_verified(path: str, body: bytes, values: list[str]) -> None:
    """Paths with dots and empty parts, any body, any printable value."""
    extra = tuple((f"X-Amzn-SageMaker-F{i}", value) for i, value in enumerate(values))
    held(signed(path, extra, body=body), path=path, body=body)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"path": "/endpoints/b/invocations"}, id="path"),
        pytest.param({"path": PATH + "?a=1"}, id="query"),
        pytest.param({"body": BODY + b" "}, id="body"),
        pytest.param({"method": "PUT"}, id="method"),
        pytest.param({"secret": "other"}, id="secret"),
    ],
)
def test_a_changed_request_does_not_match(change: dict[str, str]) -> None:
    """Nothing of the request line, the body or the key can be exchanged."""
    with pytest.raises(Unverified) as found:
        held(signed(), **change)  # type: ignore[arg-type] # one of each
    assert found.value.flaw is Flaw.SIGNATURE


@pytest.mark.parametrize(
    ("name", "value"),
    [("Host", "other"), ("X-Amzn-SageMaker-Custom-Attributes", "k=w"), ("Content-Type", "text/plain")],
)
def test_a_changed_signed_field_does_not_match(name: str, value: str) -> None:
    """The fields that are listed are covered with their values."""
    headers = signed(extra=(("X-Amzn-SageMaker-Custom-Attributes", "k=v"),))
    with pytest.raises(Unverified) as found:
        held(changed(headers, name, value))
    assert found.value.flaw is Flaw.SIGNATURE


def test_a_signed_field_cannot_be_doubled() -> None:
    """A second field of the same name changes what was signed."""
    headers = signed(extra=(("X-Amzn-SageMaker-Custom-Attributes", "k=v"),))
    with pytest.raises(Unverified):
        held((*headers, ("x-amzn-sagemaker-custom-attributes", "k=w")))


def test_bytes_that_are_no_text_do_not_slip_through() -> None:
    """They would be left out of the hash, and so could be put into a signed field by anyone."""
    headers = signed(extra=(("X-Amzn-SageMaker-Custom-Attributes", "k=v"),))
    with pytest.raises(Unverified) as found:
        held(changed(headers, "X-Amzn-SageMaker-Custom-Attributes", "k=v\udcff"))
    assert found.value.flaw is Flaw.SIGNATURE


@pytest.mark.parametrize("path", [f"{PATH}\udcff", f"{PATH}?x=\udcff"])
def test_bytes_that_are_no_text_in_the_path_are_a_wrong_signature(path: str) -> None:
    """They can't be written into what is signed; who sends them is told so, and finds no bug of ours."""
    with pytest.raises(Unverified) as found:
        held(signed(), path=path)
    assert found.value.flaw is Flaw.SIGNATURE


@pytest.mark.parametrize("name", ["X-Amzn-SageMaker-Inference-Component", "x-amz-anything"])
def test_a_field_that_decides_cannot_be_added(name: str) -> None:
    """What was not signed, and would be obeyed, is refused; a tracing proxy's own field is not."""
    with pytest.raises(Unverified) as found:
        held((*signed(), (name, "c")))
    assert found.value.flaw is Flaw.COVER
    held((*signed(), ("X-Amzn-Trace-Id", "Root=1"), ("X-Forwarded-For", "1.2.3.4")))


def test_a_field_that_was_signed_cannot_be_dropped() -> None:
    """It is missed by name, before anything is computed."""
    headers = signed(extra=(("X-Amzn-SageMaker-Custom-Attributes", "k=v"),))
    with pytest.raises(Unverified) as found:
        held(tuple(each for each in headers if "Custom" not in each[0]))
    assert found.value.flaw is Flaw.COVER


@pytest.mark.parametrize(("away", "good"), [(WINDOW, True), (-WINDOW, True), (WINDOW + 1, False), (-WINDOW - 1, False)])
def test_the_clocks_may_differ_by_five_minutes(away: float, good: bool) -> None:
    """Either way, and not a second more."""
    headers = signed()
    if good:
        read_claim(headers, NOW + away)
        return
    with pytest.raises(Unverified) as found:
        read_claim(headers, NOW + away)
    assert found.value.flaw is Flaw.TIME


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (("sagemaker/", "bedrock/"), Flaw.SCOPE),
        (("/20261121/", "/20261120/"), Flaw.SCOPE),
        (("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), Flaw.FORM),
        (("Signature=", "Signature="), None),
        (("Signature=", "Signature=0"), Flaw.FORM),
        (("Credential=PMKX", "Credential=PM/KX"), Flaw.FORM),
        (("host;", ""), Flaw.COVER),
        (("content-type;host", "host;content-type"), Flaw.COVER),
        (("content-type;host", "content-type;content-type;host"), Flaw.COVER),
        ((" SignedHeaders", " " * LONGEST + "SignedHeaders"), Flaw.FORM),
    ],
)
def test_the_field_is_read_strictly(change: tuple[str, str], flaw: Flaw | None) -> None:
    """Scope, form, and a list of fields that is sorted, complete and without doubles."""
    headers = tuple((name, value.replace(*change) if name == "Authorization" else value) for name, value in signed())
    if flaw is None:
        read_claim(headers, NOW)
        return
    with pytest.raises(Unverified) as found:
        read_claim(headers, NOW)
    assert found.value.flaw is flaw


@pytest.mark.parametrize("name", ["Authorization", "X-Amz-Date"])
def test_one_of_each_is_needed(name: str) -> None:
    """None is no claim, and two are no better: which of them counts would be anybody's guess."""
    headers = signed()
    for wrong in (tuple(each for each in headers if each[0] != name), (*headers, (name, dict(headers)[name]))):
        with pytest.raises(Unverified) as found:
            read_claim(wrong, NOW)
        assert found.value.flaw is Flaw.FORM


def test_a_date_that_is_none_is_not_in_time() -> None:
    """Digits alone are no date."""
    headers = tuple((name, value.replace("20261121", "20261399")) for name, value in signed())
    with pytest.raises(Unverified) as found:
        read_claim(headers, NOW)
    assert found.value.flaw is Flaw.TIME


def test_a_signature_is_told_from_a_token() -> None:
    """By how the field begins."""
    assert is_signature("AWS4-HMAC-SHA256 Credential=")
    assert not is_signature("Bearer x")


@given(st.text(max_size=200))
@settings(max_examples=100)
def test_garbage_is_refused_and_nothing_else_happens(text: str) -> None:
    """Whatever stands in the field: Unverified, with nothing of it in the message."""
    headers = (("Host", "h"), ("X-Amz-Date", STAMP), ("Authorization", text))
    with pytest.raises(Unverified) as found:
        read_claim(headers, NOW)
    assert str(found.value) == found.value.flaw.value
