"""Checks of what must be tolerated: clients differ more than the API's model says."""

from __future__ import annotations

from .checks import Check, Unverifiable, expect, expect_answer, happy, happy_stream, shown
from .probe import Probe

CAPTURED = "requests captured from boto3, aiobotocore, the AWS CLI and the JavaScript SDK"
OPTIONAL = (
    "Custom-Attributes",
    "Target-Variant",
    "Target-Container-Hostname",
    "Inference-Id",
    "Enable-Explanations",
    "Session-Id",
    "Prefix-Aware-Id",
)


async def _lower(probe: Probe) -> None:
    await happy(probe)
    expect_answer(await probe.ask(spell=str.lower))


async def _upper(probe: Probe) -> None:
    await happy(probe)
    expect_answer(await probe.ask(spell=str.upper))


async def _encoded(probe: Probe) -> None:
    await happy(probe)
    name = "".join(f"%{ord(letter):02X}" for letter in probe.subject.endpoint)
    expect_answer(await probe.ask(path=probe.subject.path(endpoint=name)))


async def _empty(probe: Probe) -> None:
    await happy(probe)
    expect_answer(await probe.ask(headers=tuple((f"X-Amzn-SageMaker-{name}", "") for name in OPTIONAL)))


async def _bare(probe: Probe) -> None:
    await happy(probe)
    exchange = await probe.ask(bare=True)
    if exchange.status == 424:
        message = "the model itself wants a Content-Type (424 ModelError)"
        raise Unverifiable(message)
    expect_answer(exchange)


async def _accept_list(probe: Probe) -> None:
    await happy(probe)
    expect_answer(await probe.ask(headers=(("Accept", "application/json, text/csv;q=0.5, */*;q=0.1"),)))


async def _stream_accept(probe: Probe) -> None:
    await happy_stream(probe)
    headers = (("X-Amzn-SageMaker-Accept", "application/json"),)
    expect_answer(await probe.ask(stream=True, body=probe.subject.sample.to_stream, headers=headers))


async def _unknown(probe: Probe) -> None:
    await happy(probe)
    headers = (("X-Conformance", "1"), ("X-Amzn-SageMaker-Conformance", "1"), ("traceparent", "not-a-trace"))
    expect_answer(await probe.ask(headers=headers))


async def _unmodelled(probe: Probe) -> None:
    await happy_stream(probe)
    headers = (("X-Amzn-SageMaker-Target-Model", "m.tar.gz"), ("Accept", "application/json"))
    exchange = await probe.ask(stream=True, body=probe.subject.sample.to_stream, headers=headers)
    expect(exchange.status == 200, f"200 is due, and {shown(exchange)} came")


async def _sdk(probe: Probe) -> None:
    await happy(probe)
    headers = (
        ("Accept-Encoding", "gzip, deflate"),
        ("amz-sdk-invocation-id", "00000000-0000-4000-8000-000000000000"),
        ("amz-sdk-request", "attempt=2; max=3"),
        ("User-Agent", "pointsman-conformance"),
    )
    expect_answer(await probe.ask(headers=headers))


async def _query(probe: Probe) -> None:
    await happy(probe)
    expect_answer(await probe.ask(path=f"{probe.subject.path()}?"))


async def _longest(probe: Probe) -> None:
    await happy(probe)
    headers = (
        ("X-Amzn-SageMaker-Custom-Attributes", "a" * 1024),
        ("X-Amzn-SageMaker-Inference-Id", "a" * 64),
    )
    expect_answer(await probe.ask(headers=headers))


TOLERANCE = (
    Check("header-lower-case", "Header names in lower case mean the same.", "RFC 9110, section 5.1", _lower),
    Check("header-upper-case", "Header names in upper case mean the same.", "RFC 9110, section 5.1", _upper),
    Check(
        "percent-encoding",
        "An endpoint's name may be percent-encoded, every letter of it.",
        "RFC 3986, section 6.2.2.2; botocore encodes what its URL label needs",
        _encoded,
    ),
    Check("empty-headers", "A header without a value counts as absent.", CAPTURED, _empty),
    Check("no-content-type", "A request needs neither Content-Type nor Accept.", CAPTURED, _bare),
    Check("accept-list", "Accept may be a list.", CAPTURED, _accept_list),
    Check("stream-accept", "X-Amzn-SageMaker-Accept on a stream is not refused.", CAPTURED, _stream_accept),
    Check("unknown-headers", "Headers that the API does not know are ignored.", CAPTURED, _unknown),
    Check(
        "unmodelled-headers",
        "Headers that only the blocking operation has are ignored on a stream.",
        CAPTURED,
        _unmodelled,
    ),
    Check("sdk-headers", "What SDKs add (amz-sdk-*, Accept-Encoding) changes nothing.", CAPTURED, _sdk),
    Check("bare-query", "A bare `?` behind the path changes nothing.", CAPTURED, _query),
    Check(
        "longest-values",
        "CustomAttributes of 1024 and an InferenceId of 64 characters are allowed.",
        "botocore 1.44.5, sagemaker-runtime model",
        _longest,
    ),
)
"""In the order of the report."""
