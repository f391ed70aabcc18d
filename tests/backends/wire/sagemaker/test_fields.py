"""The table of modelled header fields, held against botocore's service model."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.wire.sagemaker.fields import (
    ENDPOINT,
    FIELDS,
    INVOKE_BY_NAME,
    STREAM_BY_NAME,
    Field,
    Kind,
    printable,
)

MODEL: dict[str, Any] = Loader().load_service_model("sagemaker-runtime", "service-2")
INPUTS = {Kind.INVOKE: "InvokeEndpointInput", Kind.STREAM: "InvokeEndpointWithResponseStreamInput"}


def field(member: str) -> Field:
    return next(one for one in FIELDS if one.member == member)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_modelled_header_is_in_the_table_and_no_other(kind: Kind) -> None:
    """Names and operations of the table are those of the service model."""
    members = MODEL["shapes"][INPUTS[kind]]["members"]
    modelled = {
        value["locationName"]: name[0].lower() + name[1:]
        for name, value in members.items()
        if value.get("location") == "header"
    }
    assert modelled == {one.wire[kind]: one.member for one in FIELDS if kind in one.wire}
    by_name = INVOKE_BY_NAME if kind is Kind.INVOKE else STREAM_BY_NAME
    assert set(by_name) == {name.lower() for name in modelled}


@pytest.mark.parametrize("kind", list(Kind))
def test_lengths_patterns_and_secrecy_are_the_models(kind: Kind) -> None:
    """A change of a limit in a newer service model is seen here; EnableExplanations is stricter by intent."""
    members = MODEL["shapes"][INPUTS[kind]]["members"]
    for one in FIELDS:
        if kind not in one.wire:
            continue
        shape = MODEL["shapes"][members[one.member[0].upper() + one.member[1:]]["shape"]]
        assert one.longest == shape["max"], one.member
        assert one.sensitive == shape.get("sensitive", False), one.member
        pattern = one.streaming_pattern if kind is Kind.STREAM and one.streaming_pattern else one.pattern
        assert one.member == "enableExplanations" or pattern == shape["pattern"], one.member


def test_the_endpoint_name_is_held_to_its_model() -> None:
    """The one value that stands in the path has the model's length and pattern."""
    shape = MODEL["shapes"]["EndpointName"]
    assert (ENDPOINT.longest, ENDPOINT.pattern) == (shape["max"], shape["pattern"])


@pytest.mark.parametrize(
    ("member", "value", "accepted"),
    [
        ("endpointName", "a", True),
        ("endpointName", "a--b-9", True),
        ("endpointName", "a-", False),
        ("endpointName", "-a", False),
        ("endpointName", "a_b", False),
        ("endpointName", "a/b c", False),
        ("endpointName", "a\n", False),
        ("endpointName", "", False),
        ("inferenceComponentName", "ic-1", True),
        ("inferenceComponentName", "ic-", False),
        ("inferenceComponentName", "-", False),
        ("inferenceId", "é", False),
        ("inferenceId", "a b", True),
        ("inferenceId", "a\tb", False),
        ("targetModel", "dir/m 1.tar.gz", True),
        ("targetModel", "m\x7f", False),
        ("targetVariant", "v1", True),
        ("targetContainerHostname", "c.1", False),
        ("contentType", "application/json; charset=utf-8", True),
        ("contentType", "café/json", False),
        ("customAttributes", "a\tb", True),
        ("enableExplanations", "`true`", True),
        ("enableExplanations", "`é`", False),
        ("prefixAwareId", "p:1", True),
        ("sessionId", "NEW_SESSION", True),
        ("sessionId", "NEW_SESSIONS", False),
    ],
)
def test_values_are_matched_in_full(member: str, value: str, accepted: bool) -> None:
    """Each pattern accepts what AWS's accepts, to the very end of the value."""
    one = ENDPOINT if member == "endpointName" else field(member)
    assert (list(one.problems(value, Kind.INVOKE)) == []) is accepted


def test_a_stream_cannot_open_a_session() -> None:
    """NEW_SESSION is refused on the streaming operation, with that operation's pattern in the message."""
    assert list(field("sessionId").problems("s-1", Kind.STREAM)) == []
    assert list(field("sessionId").problems("NEW_SESSION", Kind.STREAM)) == [
        "Value 'NEW_SESSION' at 'sessionId' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
    ]


@pytest.mark.parametrize("one", [ENDPOINT, *FIELDS], ids=lambda one: one.member)
def test_the_longest_value_passes_and_one_more_character_does_not(one: Field) -> None:
    """Lengths are counted to the character, and a long value is named only once."""
    assert list(one.problems("a" * one.longest, Kind.INVOKE)) == []
    too_long = list(one.problems("a" * (one.longest + 1), Kind.INVOKE))
    assert len(too_long) == 1
    assert too_long[0].endswith(f"Member must have length less than or equal to {one.longest}")


def test_sensitive_values_are_never_repeated() -> None:
    """The message about custom attributes does not hold them."""
    (problem,) = field("customAttributes").problems("geheim-é", Kind.INVOKE)
    assert problem.startswith("Value at 'customAttributes' failed to satisfy constraint: Member must satisfy")
    assert "geheim" not in problem


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8"), max_size=20) | st.binary(max_size=20).map(lambda b: b.decode("latin-1")))
def test_printable_is_always_encodable(value: str) -> None:
    """Whatever bytes a header held, the text about it can be written as UTF-8, and clean text is unchanged."""
    assert printable(value).encode() == value.encode()
    raw = value.encode("utf-8", "surrogateescape") + b"\xff"
    assert printable(raw.decode("utf-8", "surrogateescape")).encode()
