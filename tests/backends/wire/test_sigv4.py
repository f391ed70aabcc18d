"""Signatures against AWS's published suite, against botocore, and against the Host header that is really sent."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from botocore import auth as botocore_auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from backends.base import Headers
from backends.wire.sigv4 import Credentials, Place, Signer, canonical_request, wire_host

SUITE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "aws4_testsuite.json").read_text())
NOW = datetime(2026, 11, 21, 23, 59, 58, tzinfo=UTC)
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@dataclass(frozen=True, slots=True)
class Signing:
    """What botocore would put on a request of ours."""

    authorization: str
    headers: dict[str, str]


class _FixedAuth(botocore_auth.SigV4Auth):  # type: ignore[misc] # botocore has no types
    """botocore's signer with its clock given, by the two steps of its `add_auth` after the clock is read."""

    def sign_at(self, request: AWSRequest, now: datetime) -> None:
        request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        text = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, text), request))


class _FixedS3Auth(botocore_auth.S3SigV4Auth, _FixedAuth):  # type: ignore[misc] # botocore has no types
    """The same for S3."""


def botocore_signing(
    url: str, headers: tuple[tuple[str, str], ...], body: bytes, token: str | None, service: str, now: datetime
) -> Signing:
    """Signs with botocore."""
    request = AWSRequest(method="POST", url=url, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    credentials = BotocoreCredentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, token)
    signer = _FixedS3Auth if service == "s3" else _FixedAuth
    signer(credentials, service, "us-east-1").sign_at(request, now)
    return Signing(request.headers["Authorization"], {name.lower(): value for name, value in request.headers.items()})


def sign(
    url: str,
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    signer: Signer | None = None,
    **changes: Any,
) -> dict[str, str]:
    """Our added headers, names as written; by a signer that has signed nothing yet, unless another is given."""
    arguments: dict[str, Any] = {
        "credentials": CREDENTIALS,
        "service": "sagemaker",
        "region": "us-east-1",
        "now": NOW,
    } | changes
    return dict((signer or Signer()).sign("POST", url, headers, body, **arguments))


@pytest.mark.parametrize("case", SUITE["cases"], ids=lambda case: case["name"])
def test_published_suite(case: dict[str, Any]) -> None:
    """Every case of AWS's test suite gives the published canonical request and the published Authorization value."""
    headers = [(name, value) for name, value in case["headers"]]
    host = next(value for name, value in headers if name == "Host")
    parts = urlsplit(f"https://{host}{case['path']}")
    body_hash = sha256(case["body"].encode()).hexdigest()
    text, names = canonical_request(case["method"], parts, headers, body_hash, service=SUITE["service"])
    assert text == case["canonical_request"]
    actual = Signer().authorization(
        text,
        names,
        credentials=Credentials(SUITE["access_key"], SUITE["secret_key"]),
        service=SUITE["service"],
        region=SUITE["region"],
        stamp=SUITE["time"],
    )
    assert actual == case["authorization"]


SEGMENT = st.text(string.ascii_letters + string.digits + "-._~%:$@!", min_size=1, max_size=12)
QUERY = st.lists(
    st.tuples(
        st.text(string.ascii_letters + "-._~", min_size=1, max_size=5), st.sampled_from(["", "a", "%2F", "B-_.~"])
    ),
    max_size=3,
)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="\x7f"), max_size=40)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "Content-Type",
                "accept",
                "X-Amzn-SageMaker-Custom-Attributes",
                "x-amzn-sagemaker-inference-component",
                "X-Amzn-Bedrock-Accept",
                "User-Agent",
                "traceparent",
                "X-Amzn-Trace-Id",
            ]
        ),
        VALUE,
    ),
    max_size=6,
).map(tuple)


@settings(max_examples=100, deadline=None)
@given(
    host=st.sampled_from(
        [
            "https://runtime.sagemaker.us-east-1.amazonaws.com",
            "http://127.0.0.1:9080",
            "http://[::1]:8",
            "https://h:443",
        ]
    ),
    segments=st.lists(SEGMENT, max_size=4),
    query=QUERY,
    headers=HEADERS,
    body=st.binary(max_size=64),
    token=st.none() | st.text(string.ascii_letters, min_size=1, max_size=20),
    service=st.sampled_from(["sagemaker", "bedrock", "s3"]),
    now=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
)
def test_equal_to_botocore(
    host: str,
    segments: list[str],
    query: list[tuple[str, str]],
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    token: str | None,
    service: str,
    now: datetime,
) -> None:
    """Whatever the path, query, headers, body and credentials are, botocore computes the same Authorization value."""
    url = host + ("".join(f"/{segment}" for segment in segments) or "/")
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query)
    at = now.replace(tzinfo=UTC)
    expected = botocore_signing(url, headers, body, token, service, at)
    credentials = Credentials(CREDENTIALS.access_key, CREDENTIALS.secret_key, token)
    actual = sign(url, headers, body, credentials=credentials, service=service, now=at)
    assert expected.authorization == actual["Authorization"]
    assert token == actual.get("X-Amz-Security-Token")
    assert all(expected.headers[name.lower()] == value for name, value in actual.items())


def test_path_is_encoded_once_more() -> None:
    """A percent-encoded ARN enters the canonical request with its percent signs encoded, and for S3 as it is."""
    parts = urlsplit("https://h/model/arn%3Aaws%2Fx/invoke")
    assert (
        canonical_request("POST", parts, (), "", service="bedrock")[0].split("\n")[1]
        == "/model/arn%253Aaws%252Fx/invoke"
    )
    assert canonical_request("POST", parts, (), "", service="s3")[0].split("\n")[1] == "/model/arn%3Aaws%2Fx/invoke"


def test_an_empty_path_is_the_root() -> None:
    """A URL without a path is sent, so signed, as the root."""
    assert sign("https://h/") == sign("https://h")
    assert sign("https://h/", service="s3") == sign("https://h", service="s3")


def test_s3_needs_the_body_hash_as_a_header() -> None:
    """A request to S3 carries the hash of its body in X-Amz-Content-SHA256, and signs it."""
    added = sign("https://bucket.s3.amazonaws.com", body=b"x", service="s3")
    assert added["X-Amz-Content-SHA256"] == sha256(b"x").hexdigest()
    assert "x-amz-content-sha256" in added["Authorization"]


def test_other_headers_are_not_signed() -> None:
    """A header that proxies may change is not part of the signature; a SageMaker header is."""
    headers = (
        ("User-Agent", "x"),
        ("traceparent", "00-1"),
        ("X-Amzn-Trace-Id", "t"),
        ("X-Amzn-SageMaker-Target-Variant", "v"),
    )
    names = sign("https://h/", headers)["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert names == "host;x-amz-date;x-amzn-sagemaker-target-variant"


def test_times_are_utc() -> None:
    """The same moment in another time zone gives the same signature."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert sign("https://h/") == sign("https://h/", now=elsewhere)


def test_a_signature_is_of_its_own_second() -> None:
    """Whichever was signed before: an earlier one, a later one, or another moment of the same."""
    signer = Signer()
    for moment in (NOW, NOW + timedelta(microseconds=5), NOW + timedelta(seconds=1), NOW):
        assert sign("https://h/", now=moment, signer=signer) == sign("https://h/", now=moment)


def test_a_time_without_zone_is_refused() -> None:
    """Signing with a naive time is an error, since its UTC offset would be guessed."""
    with pytest.raises(ValueError, match="time zone"):
        sign("https://h/", now=NOW.replace(tzinfo=None))


@pytest.mark.parametrize("name", ["Authorization", "x-amz-date", "X-Amz-Security-Token"])
def test_a_caller_s_signature_is_refused(name: str) -> None:
    """A request that still carries its caller's signature can't be signed: both would go out."""
    with pytest.raises(ValueError, match=name):
        sign("https://h/", ((name, "x"),))


def test_keys_are_remembered_per_secret_and_day() -> None:
    """One signer gives the same as a fresh one for every secret, day, region and service, in any order."""
    signer = Signer()
    moments = (NOW, NOW + timedelta(seconds=2))
    variants: list[dict[str, Any]] = [
        {"credentials": credentials, "service": service, "region": region, "now": now}
        for credentials in (CREDENTIALS, Credentials("AKIDEXAMPLE", "another"))
        for service in ("sagemaker", "bedrock")
        for region in ("us-east-1", "us-west-2")
        for now in moments
    ]
    both = [*variants, *reversed(variants)]
    assert [sign("https://h/", **each) for each in both] == [
        dict(signer.sign("POST", "https://h/", (), b"", **each)) for each in both
    ]


def test_what_is_remembered_is_bounded() -> None:
    """More regions than keys are remembered change no signature, and are forgotten again."""
    signer = Signer()
    given: dict[str, Any] = {"credentials": CREDENTIALS, "service": "sagemaker", "now": NOW}
    for number in range(600):
        region = f"r-{number % 300}"
        signed = signer.sign("POST", "https://h/", (), b"", region=region, **given)
        if number % 100 == 0:
            assert dict(signed) == sign("https://h/", region=region)
    assert len(signer._keys) <= 256


_FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["Content-Type", "Accept", "X-Amz-A", "x-amz-a", "X-Amzn-%s-B", "X-Other", "Host"]),
        st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=12),
    ),
    max_size=5,
).map(tuple)


def as_sent(fields: Headers) -> str:
    """Header fields as they go out."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields)


_REQUESTS = st.lists(
    st.tuples(
        _FIELDS,
        st.binary(max_size=8),
        st.sampled_from([CREDENTIALS, Credentials("AKIDEXAMPLE", "another", "token"), Credentials("OTHER", "s")]),
        st.integers(0, 200_000).map(lambda seconds: NOW + timedelta(seconds=seconds / 2)),
    ),
    min_size=1,
    max_size=6,
)


_DAYS = [((), b"", CREDENTIALS, NOW + timedelta(days=day)) for day in (0, 1)]


@settings(max_examples=100)
@example(_DAYS, "sagemaker", "")
@given(_REQUESTS, st.sampled_from(["sagemaker", "s3"]), st.sampled_from(["/a%3Ab/invoke", "/100%25?x=%s&y", ""]))
def test_a_place_signs_any_request_as_one_made_for_it_would(
    requests: list[tuple[Headers, bytes, Credentials, datetime]], service: str, path: str
) -> None:
    """What a place knows of earlier requests, their fields, credentials and times, is in no later signature."""
    url, signer = f"https://h{path}", Signer()
    place = Place("POST", url, service=service, region="us-east-1")
    for headers, body, credentials, now in requests:
        begun, signature = signer.sign_at(place, headers, body, credentials, now)
        fresh = Signer().sign(
            "POST", url, headers, body, credentials=credentials, service=service, region="us-east-1", now=now
        )
        assert (begun.own, f"{begun.added}{signature}\r\n") == (as_sent(headers), as_sent(fresh))
        assert begun.count == len(headers) + len(fresh)


def test_requests_of_one_second_begin_alike() -> None:
    """With the same fields and credentials only the body is hashed anew; the next second, another field or other
    credentials begin anew, and to S3 every request does, since there the body's hash is a field."""
    signer, other, headers = Signer(), Credentials("OTHER", "s"), (("Accept", "*/*"),)
    place = Place("POST", "https://h/", service="bedrock", region="us-east-1")
    first, one = signer.sign_at(place, headers, b"1", CREDENTIALS, NOW)
    again, two = signer.sign_at(place, (("Accept", "*/*"),), b"2", CREDENTIALS, NOW + timedelta(seconds=0.9))
    assert again is first
    assert one != two
    for fields, credentials, seconds in ((headers, CREDENTIALS, 1), ((), CREDENTIALS, 1), ((), other, 1)):
        begun, _ = signer.sign_at(place, fields, b"2", credentials, NOW + timedelta(seconds=seconds))
        assert begun is not again
        again = begun
    s3 = Place("POST", "https://h/", service="s3", region="us-east-1")
    same, _ = signer.sign_at(s3, headers, b"1", CREDENTIALS, NOW)
    assert signer.sign_at(s3, headers, b"1", CREDENTIALS, NOW)[0] is not same


@settings(max_examples=100)
@given(_FIELDS, st.sampled_from(["/a%3Ab/invoke", "/100%25?x=%s&y", ""]))
def test_the_form_of_a_place_is_the_canonical_request(headers: Headers, path: str) -> None:
    """Filled in, it is the text that the canonical form asks for, percent signs and repeated fields included."""
    url, body = f"https://h{path}", b"body"
    place = Place("POST", url, service="sagemaker", region="us-east-1")
    begun, signature = Signer().sign_at(place, headers, body, CREDENTIALS, NOW)
    signed = [(name, value) for name, value in headers if name.lower() in place.signed.split(";") and name != "Host"]
    fields = [("host", "h"), *signed, *begun.pairs[:-1]]
    text, names = canonical_request("POST", urlsplit(url), fields, sha256(body).hexdigest(), service="sagemaker")
    stamp = begun.pairs[0][1]
    expected = Signer().authorization(
        text, names, credentials=CREDENTIALS, service="sagemaker", region="us-east-1", stamp=stamp
    )
    assert begun.added + signature == as_sent((*begun.pairs[:-1], ("Authorization", expected)))[:-2]


def test_representation_hides_secrets() -> None:
    """Credentials can be logged by accident without giving the secret or the token away."""
    assert "hush" not in repr(Credentials("AKID", "hush-secret", "hush-token"))


@pytest.fixture
async def hosts_seen() -> Any:
    """Asks a raw listener which Host header aiohttp sends for a URL of it."""
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.put_nowait(next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def ask(template: str) -> tuple[str, str]:
            url = template.format(port=port)
            async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True)):
                return url, await seen.get()

        yield ask


@pytest.mark.parametrize(
    "template", ["http://127.0.0.1:{port}/x", "http://LOCALHOST:{port}", "http://user:word@localhost:{port}/a%3Ab"]
)
async def test_host_is_what_is_sent(hosts_seen: Callable[[str], Any], template: str) -> None:
    """The Host that is signed is the Host that aiohttp writes on the wire."""
    url, sent = await hosts_seen(template)
    assert sent == wire_host(urlsplit(url))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://h.example:443/x", "h.example"),
        ("http://h.example:80", "h.example"),
        ("http://h.example:/", "h.example"),
        ("https://h.example:80/", "h.example:80"),
        ("https://[::1]:8443/", "[::1]:8443"),
        ("https://[::1]/", "[::1]"),
        ("https://h.example./x", "h.example"),
        ("https://a:b@h.example/x", "h.example"),
    ],
)
def test_host_of_a_url(url: str, host: str) -> None:
    """A default port, the user and a trailing dot are no part of Host; yarl, which aiohttp asks, agrees."""
    assert host == wire_host(urlsplit(url)) == URL(url, encoded=True).host_port_subcomponent
