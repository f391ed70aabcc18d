"""SageMaker's bearer tokens: form and time are held, nothing of a token is repeated, no bytes are an exception."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.bearer import LONGEST_TOKEN, PREFIX, SKEW, bearer_tokens, token_refusal

SIGNED = datetime(2026, 11, 21, 4, 0, 0, tzinfo=UTC).timestamp()
FIELDS = {
    "Action": "CallWithBearerToken",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Credential": "AKIDTOKEN/20261121/us-east-1/sagemaker/aws4_request",
    "X-Amz-Date": "20261121T040000Z",
    "X-Amz-Expires": "3600",
    "X-Amz-SignedHeaders": "host",
    "X-Amz-Signature": "ab" * 32,
    "Version": "1",
}


def packed(url: str, *, url_safe: bool = False, padded: bool = True) -> str:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(url.encode()).decode()
    return PREFIX + (text if padded else text.rstrip("="))


def token(**changes: str) -> str:
    """A token as AWS's generator makes it, with some fields changed."""
    fields = FIELDS | {name.replace("_", "-"): value for name, value in changes.items()}
    return packed("sagemaker.amazonaws.com/?" + urlencode({name: value for name, value in fields.items() if value}))


@pytest.mark.parametrize("url_safe", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("more", ["", "x", "xx"])
def test_a_valid_token_is_taken_in_each_spelling_of_base64(url_safe: bool, padded: bool, more: str) -> None:
    """Generators differ in alphabet and padding; the scheme before the host is no matter either."""
    url = "https://sagemaker.amazonaws.com/?" + urlencode(FIELDS | {"X-Amz-Security-Token": "a?b/c+d>~~" + more})
    assert token_refusal(packed(url, url_safe=url_safe, padded=padded), SIGNED + 1) is None


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (-SKEW - 1, "not valid yet"),
        (-SKEW, None),
        (0, None),
        (3599, None),
        (3600, "expired"),
    ],
)
def test_a_token_has_its_time(after: float, words: str | None) -> None:
    """From its date, less the tolerated skew, to its end, which is no longer in it."""
    refusal = token_refusal(token(), SIGNED + after)
    assert refusal is None if words is None else words in (refusal or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"Action": "AssumeRole"},
        {"Action": ""},
        {"X_Amz_Algorithm": "AWS4-ECDSA-P256-SHA256"},
        {"X_Amz_Credential": "AKIDTOKEN/20261121/us-east-1/bedrock/aws4_request"},
        {"X_Amz_Date": "20261121"},
        {"X_Amz_Date": "20261399T040000Z"},
        {"X_Amz_Expires": "0"},
        {"X_Amz_Expires": "43201"},
        {"X_Amz_Expires": "forever"},
        {"X_Amz_Signature": ""},
        {"X_Amz_Signature": "short"},
    ],
)
def test_a_token_for_something_else_is_refused(changes: dict[str, str]) -> None:
    """Another action, service, algorithm or form is no key for this API, and the refusal repeats nothing of it."""
    refusal = token_refusal(token(**changes), SIGNED)
    assert refusal is not None
    assert "not a SageMaker API key" in refusal
    assert "AKID" not in refusal


@pytest.mark.parametrize("expires", ["1", "43200"])
def test_a_life_of_up_to_twelve_hours_is_taken(expires: str) -> None:
    """The bounds are those of AWS's generator."""
    assert token_refusal(token(X_Amz_Expires=expires), SIGNED) is None


def test_a_token_longer_than_any_real_one_is_not_decoded() -> None:
    """Although it has every field."""
    long = token(X_Amz_Security_Token="A" * LONGEST_TOKEN)
    assert len(long) > LONGEST_TOKEN
    assert token_refusal(long, SIGNED) is not None
    assert token_refusal(token(X_Amz_Security_Token="A" * 2000), SIGNED) is None


@pytest.mark.parametrize("other", ["EMPTY", "sk-proj-1", "sagemaker"])
def test_keys_of_others_are_nobodys_business_here(other: str) -> None:
    """OpenAI's clients always send a key; one that is not SageMaker's is not judged."""
    assert token_refusal(other, SIGNED) is None


def test_tokens_are_read_from_bearer_fields_only() -> None:
    """The scheme in any case; a SigV4 signature is no token."""
    given = ["Bearer one", " bearer  two ", "AWS4-HMAC-SHA256 Credential=x", "Bearer", "Bearer a b"]
    assert list(bearer_tokens(given)) == ["one", "two"]


@settings(max_examples=100)
@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()))
def test_nothing_but_a_token_is_taken(text: str) -> None:
    """Whatever stands behind the prefix, the answer is a refusal and never an exception."""
    assert token_refusal(PREFIX + text, SIGNED) is not None
