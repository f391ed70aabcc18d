"""What clients get when something goes wrong: every error that an upstream can send, from every kind of hosting.

The tables say what the client must see, from the API's documentation and from how SDKs retry, not from the code: the
caller's mistakes are his, a model's error is a 424 with the model's own status and words, a platform's failure keeps
its name, and what is wrong between the proxy and its target is nobody's business but the operator's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from backends.emulator.aws import BEDROCK, SAGEMAKER, modelled_errors, stream_errors_of

from .clients import Answer, Client
from .conftest import GetClient
from .hosting import COLD, Hosting, Name, chat, params_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the client must see it."""

    status: int
    code: str
    says: str
    original: int | None = None
    """OriginalStatusCode of a ModelError."""
    typed: bool = True
    """The SDK has a class of that name; else it raises a plain ClientError."""


def model_error(original: int, says: str) -> Refusal:
    """A 424 about a container's answer."""
    side = "client" if 400 <= original < 500 else "server"
    return Refusal(424, "ModelError", f'Received {side} error ({original}) from primary with message "{says}', original)


TIMED_OUT = model_error(0, "Your invocation timed out while waiting for a response from container primary.")
LOST = model_error(502, "")
NOT_READY = Refusal(429, "ModelNotReadyException", "not ready")
NO_CAPACITY = Refusal(400, "ValidationError", "Inference Component has no capacity to process this request.")
THROTTLED = Refusal(429, "ThrottlingException", "Rate exceeded", typed=False)
UNAVAILABLE = Refusal(503, "ServiceUnavailable", "unavailable")
INTERNAL = Refusal(500, "InternalFailure", "internal failure")

Fault = Mapping[str, Any]
SPOILT: tuple[tuple[Fault, Refusal], ...] = (
    ({"name": "refuse"}, LOST),
    ({"name": "reset"}, LOST),
    ({"name": "wrong-content-length", "on": "unary"}, LOST),
)
"""Connections and bodies that any upstream can spoil."""
GATEWAYS: tuple[tuple[Fault, Refusal], ...] = (
    ({"name": "html-502"}, INTERNAL),
    ({"name": "html-503"}, UNAVAILABLE),
    ({"name": "html-504"}, INTERNAL),
    ({"name": "empty-503"}, UNAVAILABLE),
)
"""Pages of load balancers in front of AWS."""
CONFIGURATION = ("AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException")
"""The proxy's own credentials are wrong: the client did nothing wrong and learns nothing of them."""

FROM_SAGEMAKER: tuple[tuple[Fault, Refusal], ...] = (
    *(
        (
            {"name": "ModelError", "original_status_code": status, "original_message": "it said so"},
            model_error(status, "it said so"),
        )
        for status in (400, 404, 429, 500, 503)
    ),
    ({"name": "model-timeout"}, TIMED_OUT),
    ({"name": "ModelNotReadyException"}, NOT_READY),
    ({"name": "no-capacity"}, NO_CAPACITY),
    ({"name": "ThrottlingException"}, THROTTLED),
    ({"name": "ThrottlingException", "status": 400}, THROTTLED),
    ({"name": "InternalFailure"}, INTERNAL),
    ({"name": "ServiceUnavailable"}, UNAVAILABLE),
    ({"name": "InternalDependencyException"}, Refusal(530, "InternalDependencyException", "depends on")),
    (
        {"name": "ValidationError", "message": "Session is not there."},
        Refusal(400, "ValidationError", "Session is not there."),
    ),
    *(({"name": name}, INTERNAL) for name in (*CONFIGURATION, "unknown-endpoint")),
    *GATEWAYS,
    *SPOILT,
)
FROM_BEDROCK: tuple[tuple[Fault, Refusal], ...] = (
    *(
        (
            {"name": "ModelErrorException", "original_status_code": status, "message": "it said so"},
            model_error(status, "it said so"),
        )
        for status in (400, 500)
    ),
    ({"name": "ValidationException", "message": "it said so"}, model_error(400, "it said so")),
    ({"name": "ModelTimeoutException"}, TIMED_OUT),
    ({"name": "ModelStreamErrorException", "original_message": "it said so"}, model_error(500, "it said so")),
    ({"name": "ModelNotReadyException"}, NOT_READY),
    ({"name": "ThrottlingException"}, THROTTLED),
    ({"name": "ServiceUnavailableException"}, UNAVAILABLE),
    ({"name": "InternalServerException"}, INTERNAL),
    *(
        ({"name": name}, INTERNAL)
        for name in (*CONFIGURATION, "ResourceNotFoundException", "ServiceQuotaExceededException", "ConflictException")
    ),
    *(({"name": "garbage-200", "content": content}, LOST) for content in ("json", "html", "empty", "cut-json")),
    *GATEWAYS,
    *SPOILT,
)
FROM_ENGINE: tuple[tuple[Fault, Refusal], ...] = (
    *(
        ({"name": "engine-error", "status": status, "message": "it said so"}, model_error(status, '{"error"'))
        for status in (400, 404, 429, 500, 503)
    ),
    *SPOILT,
)
"""An engine is a container: whatever it answers is the model's own error, as it is behind a SageMaker endpoint."""

ANSWERS = {"dedicated": FROM_SAGEMAKER, "packed": FROM_SAGEMAKER, "imported": FROM_BEDROCK, "engine": FROM_ENGINE}


def cases() -> list[Any]:
    """Every hosting with every fault of its service."""
    return [
        pytest.param(name, fault, refusal, id=f"{name}-{'-'.join(str(value) for value in fault.values())}")
        for name, table in ANSWERS.items()
        for fault, refusal in table
    ]


def told(name: str, refusal: Refusal) -> Refusal:
    """The words of one hosting: a component that is not ready has its own, and nothing else has those."""
    if refusal in (NOT_READY, NO_CAPACITY):
        return NO_CAPACITY if name == "packed" else NOT_READY
    return refusal


def assert_refused(client: Client, answer: Answer, refusal: Refusal) -> None:
    """The typed exception, with every member that its class models, and with a request id to ask about."""
    assert answer.error is not None
    assert answer.error["code"] == refusal.code
    assert refusal.says in answer.error["message"]
    if not client.told_status:
        return
    assert answer.status == refusal.status
    assert answer.error["kind"] == (refusal.code if refusal.typed else "ClientError")
    assert answer.headers is not None
    assert answer.headers["x-amzn-errortype"] == refusal.code
    assert answer.headers["x-amzn-requestid"]
    members = answer.error["members"]
    if refusal.original is not None:
        assert members["OriginalStatusCode"] == refusal.original
        assert members["OriginalMessage"] or refusal.says.endswith('"')
        assert members["LogStreamArn"].startswith(
            "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/"
        )
    else:
        assert set(members) <= {"Message"}


@pytest.mark.parametrize(("name", "fault", "refusal"), cases())
def test_blocking_call_raises_the_typed_error(
    client_name: str, dedicated: Hosting, get_client: GetClient, name: Name, fault: Fault, refusal: Refusal
) -> None:
    """Each error of each upstream, through each client."""
    hosting, client = at(name, dedicated).of(fault), get_client(client_name, dedicated.proxy)
    hosting.fail(fault)
    assert_refused(client, client.call(hosting.ask(), chat()), told(name, refusal))
    assert fault["name"] in COLD or len(hosting.calls()) == 1  # a cold one is asked by the proxy itself, too


@pytest.mark.parametrize(("name", "fault", "refusal"), [case for case in cases() if "on" not in case.values[1]])
def test_streaming_call_raises_the_same_error_before_its_first_part(
    streaming_name: str, dedicated: Hosting, get_client: GetClient, name: Name, fault: Fault, refusal: Refusal
) -> None:
    """Until a part is there a stream fails as a blocking call does: with an HTTP error, from which SDKs can retry."""
    hosting, client = at(name, dedicated).of(fault), get_client(streaming_name, dedicated.proxy)
    hosting.fail(fault)
    answer = client.call(hosting.ask(), chat(stream=True), stream=True)
    assert not answer.began
    assert_refused(client, answer, told(name, refusal))


def at(name: Name, hosting: Hosting) -> Hosting:
    """The hosting `name` beside `hosting`."""
    return Hosting(name, hosting.proxy, params_of(name), hosting.standin)


BROKEN, INTERRUPTED = "ModelStreamError", "InternalStreamFailure"
CUTS: tuple[tuple[Fault, str], ...] = (
    ({"name": "cut-stream", "end": "close"}, BROKEN),
    ({"name": "cut-stream", "end": "reset"}, BROKEN),
)
FRAMED: tuple[tuple[Fault, str], ...] = (
    *CUTS,
    ({"name": "cut-stream", "end": "half-frame"}, BROKEN),
    ({"name": "bad-crc", "where": "message"}, BROKEN),
    ({"name": "bad-crc", "where": "prelude"}, BROKEN),
    ({"name": "unmodelled-stream-error"}, INTERRUPTED),
)
STREAMS: Mapping[str, tuple[tuple[Fault, str], ...]] = {
    "dedicated": (*FRAMED, ({"name": "ModelStreamError"}, BROKEN), ({"name": "InternalStreamFailure"}, INTERRUPTED)),
    "packed": (*FRAMED, ({"name": "ModelStreamError"}, BROKEN), ({"name": "InternalStreamFailure"}, INTERRUPTED)),
    "imported": (
        *FRAMED,
        *(
            ({"name": name}, BROKEN)
            for name in ("modelStreamErrorException", "validationException", "modelTimeoutException")
        ),
        *(
            ({"name": name}, INTERRUPTED)
            for name in ("internalServerException", "throttlingException", "serviceUnavailableException")
        ),
    ),
    "engine": (*CUTS, ({"name": "cut-stream", "end": "clean"}, BROKEN)),
}


@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        pytest.param(name, fault, code, id=f"{name}-{'-'.join(fault.values())}")
        for name, table in STREAMS.items()
        for fault, code in table
    ],
)
def test_stream_that_breaks_raises_after_what_came(
    streaming_name: str, dedicated: Hosting, get_client: GetClient, name: Name, fault: Fault, code: str
) -> None:
    """The parts that came whole are the client's, and then its loop raises: a broken stream is no short answer."""
    hosting, client = at(name, dedicated), get_client(streaming_name, dedicated.proxy)
    whole = client.call(hosting.ask(), chat(stream=True), stream=True)
    hosting.fail({**fault, "after": {"part": 2}})
    answer = client.call(hosting.ask(), chat(stream=True), stream=True)
    assert answer.began
    assert answer.error is not None
    assert (answer.error["kind"], answer.error["code"]) == ("EventStreamError", code)
    assert answer.error["message"]
    assert [content(part) for part in answer.parts] == [content(part) for part in whole.parts[:2]]


def content(part: bytes) -> object:
    """What the model says in an event; ids and times differ between two calls."""
    return json.loads(part.removeprefix(b"data: "))["choices"]


def test_every_modelled_error_is_in_the_tables() -> None:
    """A new release of the service models that brings an error fails here until somebody says what clients see."""
    for service, table, streams in (
        (SAGEMAKER, FROM_SAGEMAKER, STREAMS["dedicated"]),
        (BEDROCK, FROM_BEDROCK, STREAMS["imported"]),
    ):
        assert set(modelled_errors(service)) <= {fault["name"] for fault, _ in table}
        assert set(stream_errors_of(service)) <= {fault["name"] for fault, _ in streams}


INVALID: Mapping[str, tuple[Mapping[str, str], str]] = {
    "unknown endpoint": ({"EndpointName": "nope"}, "Endpoint nope of account 123456789012 not found."),
    "component missing": (
        {"EndpointName": "host"},
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components.",
    ),
    "component not allowed": (
        {"EndpointName": "dedicated", "InferenceComponentName": "packed"},
        "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference",
    ),
    "unknown component": (
        {"EndpointName": "host", "InferenceComponentName": "nope"},
        "Inference Component nope of account 123456789012 not found.",
    ),
    "endpoint with characters that paths use": (
        {"EndpointName": "a b/c"},
        "1 validation error detected: Value 'a b/c' at 'endpointName' failed to satisfy constraint",
    ),
    "endpoint too long": ({"EndpointName": "e" * 64}, "at 'endpointName' failed to satisfy constraint"),
    "variant too long": ({"EndpointName": "dedicated", "TargetVariant": "v" * 64}, "at 'targetVariant' failed"),
    "inference id too long": ({"EndpointName": "dedicated", "InferenceId": "i" * 65}, "at 'inferenceId' failed"),
    "attributes too long": ({"EndpointName": "dedicated", "CustomAttributes": "c" * 1025}, "'customAttributes' failed"),
    "session with a space": ({"EndpointName": "dedicated", "SessionId": "a b"}, "at 'sessionId' failed"),
}


@pytest.mark.parametrize("case", INVALID)
def test_caller_s_mistake_is_a_validation_error_in_sagemaker_s_words(
    client_name: str, dedicated: Hosting, get_client: GetClient, case: str
) -> None:
    """No SDK checks names and lengths, and programs match these texts; nothing is sent to any target."""
    params, says = INVALID[case]
    client = get_client(client_name, dedicated.proxy)
    assert_refused(client, client.call(params, chat()), Refusal(400, "ValidationError", says))
    assert dedicated.calls() == []


LIMIT = 25 * 1024 * 1024


def test_body_above_the_limit_is_413(client_name: str, dedicated: Hosting, get_client: GetClient) -> None:
    """One byte above 25 MiB: every client gets the answer, though it is still sending when the answer is known."""
    client = get_client(client_name, dedicated.proxy)
    answer = client.call({"EndpointName": "echo"}, bytes(LIMIT + 1))
    assert_refused(client, answer, Refusal(413, "413", str(LIMIT), typed=False))
    assert dedicated.calls() == []


def test_body_at_the_limit_is_served(dedicated: Hosting, get_client: GetClient) -> None:
    """Exactly 25 MiB go through, there and back."""
    answer = get_client("boto3-newest", dedicated.proxy).call({"EndpointName": "echo"}, bytes(LIMIT))
    assert answer.error is None
    assert answer.body == bytes(LIMIT)


@pytest.mark.parametrize(
    ("fault", "client", "retries"),
    [
        ({"name": "ModelError", "original_status_code": 500}, "boto3-newest", 0),
        ({"name": "ModelError", "original_status_code": 500}, "boto3-1.43", 0),
        ({"name": "ModelError", "original_status_code": 500}, "aiobotocore", 0),
        ({"name": "ModelNotReadyException"}, "boto3-newest", 0),
        ({"name": "reset"}, "boto3-newest", 0),
        ({"name": "reset"}, "boto3-1.43", 0),
        ({"name": "ServiceUnavailable"}, "boto3-newest", 2),
    ],
)
def test_clients_own_retries_see_an_answer_that_tells_them_right(
    dedicated: Hosting, get_client: GetClient, fault: Fault, client: str, retries: int
) -> None:
    """With a client's own defaults: what may have run is not sent again, what surely has not may be."""
    hosting = dedicated.of(fault)
    hosting.fail(fault)
    answer = get_client(client, hosting.proxy).call(hosting.ask(), chat(), attempts=None)
    assert answer.error is not None
    assert answer.retries == retries
    assert fault["name"] in COLD or len(hosting.calls()) == 1 + retries
