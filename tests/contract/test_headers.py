"""The contract's header fields: what of them reaches each kind of hosting, what comes back, and what never leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.standins import ACCESS_KEY_ID

from .clients import STREAMING
from .conftest import GetClient
from .hosting import Hosting, chat
from .raw import exchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

SENT: Mapping[str, tuple[str, str]] = {
    "Accept": ("accept", "application/json;q=0.9"),
    "CustomAttributes": ("x-amzn-sagemaker-custom-attributes", "tenant=rail; note=!~,"),
    "TargetVariant": ("x-amzn-sagemaker-target-variant", "AllTraffic"),
    "TargetContainerHostname": ("x-amzn-sagemaker-target-container-hostname", "primary"),
    "InferenceId": ("x-amzn-sagemaker-inference-id", "call-0001"),
    "EnableExplanations": ("x-amzn-sagemaker-enable-explanations", "`false`"),
    "SessionId": ("x-amzn-sagemaker-session-id", "session-1"),
}
"""Member of the API: its header and a value that the stand-in takes."""
UNARY_ONLY = ("EnableExplanations",)


def received(hosting: Hosting) -> dict[str, str]:
    """The header fields of the one request that reached the stand-in."""
    (call,) = hosting.calls()
    return {name.lower(): value for name, value in call["headers"]}


@pytest.mark.parametrize("member", SENT)
def test_field_reaches_an_endpoint_as_the_client_wrote_it(
    client_name: str, dedicated: Hosting, get_client: GetClient, member: str
) -> None:
    """An endpoint speaks the same contract, so nothing of it is lost on the way."""
    name, value = SENT[member]
    answer = get_client(client_name, dedicated.proxy).call(dedicated.ask(**{member: value}), chat())
    assert answer.error is None
    assert received(dedicated)[name] == value


@pytest.mark.parametrize("member", [member for member in SENT if member not in UNARY_ONLY])
def test_field_reaches_an_endpoint_from_the_streaming_operation(
    streaming_name: str, dedicated: Hosting, get_client: GetClient, member: str
) -> None:
    """The streaming operation has the same fields, but carries Accept under another name."""
    name, value = SENT[member]
    params = dedicated.ask(**{member: value})
    answer = get_client(streaming_name, dedicated.proxy).call(params, chat(stream=True), stream=True)
    assert answer.error is None
    assert received(dedicated)["x-amzn-sagemaker-accept" if member == "Accept" else name] == value


def test_prefix_aware_id_of_the_newest_sdk_reaches_an_endpoint(dedicated: Hosting, get_client: GetClient) -> None:
    """A field that only the newest release models is passed on as well."""
    answer = get_client("boto3-newest", dedicated.proxy).call(dedicated.ask(PrefixAwareId="prefix-7"), chat())
    assert answer.error is None
    assert received(dedicated)["x-amzn-sagemaker-prefix-aware-id"] == "prefix-7"


def test_component_of_the_policy_is_what_the_target_is_asked_for(dedicated: Hosting, get_client: GetClient) -> None:
    """The component header upstream is the target's own name, and a client of a plain endpoint needs none."""
    client = get_client("boto3-newest", dedicated.proxy)
    answer = client.call({"EndpointName": "host", "InferenceComponentName": "packed"}, chat())
    assert answer.error is None
    assert received(dedicated)["x-amzn-sagemaker-inference-component"] == "packed"


def test_client_s_credentials_end_at_the_proxy(standin_hosting: Hosting, get_client: GetClient) -> None:
    """What the client signed is dropped; a target of AWS gets the proxy's own signature, an engine gets none."""
    answer = get_client("boto3-newest", standin_hosting.proxy).call(standin_hosting.ask(), chat())
    assert answer.error is None
    (call,) = standin_hosting.calls()
    assert "AKIDANYCLIENT" not in json.dumps(call)
    signed = [value for name, value in call["headers"] if name.lower() == "authorization"]
    if standin_hosting.name == "engine":
        assert signed == []
    else:
        assert call["signature"] == "ok"
        assert [f"Credential={ACCESS_KEY_ID}/" in value for value in signed] == [True]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["imported", "engine"])
def test_other_kinds_get_no_field_of_sagemaker_s(
    dedicated: Hosting, get_client: GetClient, name: str, stream: bool
) -> None:
    """Custom attributes and ids are the client's business with SageMaker; Bedrock and engines know nothing of them."""
    fields = {member: value for member, (_, value) in SENT.items() if member not in UNARY_ONLY}
    params = {"EndpointName": name, "ContentType": "application/json", **fields}
    answer = get_client("boto3-newest", dedicated.proxy).call(params, chat(stream=stream), stream=stream)
    assert answer.error is None
    names = {field for field in received(dedicated) if field.startswith("x-amzn-sagemaker-")}
    # vLLM's /invocations ignores the body's `model`: this header is how the policy's model is asked for by name.
    assert names == ({"x-amzn-sagemaker-adapter-identifier"} if name == "engine" else set())


@pytest.mark.parametrize(("endpoint", "asked_for"), [("engine", "engine"), ("engine-lora", "lora-a")])
def test_engine_is_asked_for_the_policy_s_model(
    client_name: str, dedicated: Hosting, get_client: GetClient, endpoint: str, asked_for: str
) -> None:
    """The body names a model that nobody serves; who answers is the policy's word."""
    params = {"EndpointName": endpoint, "ContentType": "application/json"}
    answer = get_client(client_name, dedicated.proxy).call(params, chat())
    assert answer.error is None
    assert json.loads(answer.body)["model"] == asked_for
    assert received(dedicated)["x-amzn-sagemaker-adapter-identifier"] == asked_for


@pytest.mark.parametrize("stream", [False, True])
def test_custom_attributes_of_the_model_come_back(dedicated: Hosting, get_client: GetClient, stream: bool) -> None:
    """What the model's container sets is the client's, on both operations."""
    for name in STREAMING if stream else (*STREAMING, "awscli"):
        params = {"EndpointName": "echo", "CustomAttributes": "tenant=rail"}
        answer = get_client(name, dedicated.proxy).call(params, b"body", stream=stream)
        assert answer.members["CustomAttributes"] == "tenant=rail"


@pytest.mark.parametrize("name", ["dedicated", "packed"])
def test_session_is_opened_used_and_closed(
    client_name: str, dedicated: Hosting, get_client: GetClient, name: str
) -> None:
    """A stateful session of the model's container passes the proxy in both directions."""
    place = (
        {"EndpointName": "dedicated"}
        if name == "dedicated"
        else {"EndpointName": "host", "InferenceComponentName": name}
    )
    client = get_client(client_name, dedicated.proxy)
    opened = client.call({**place, "SessionId": "NEW_SESSION"}, json.dumps({"requestType": "NEW_SESSION"}).encode())
    assert opened.error is None
    found = re.fullmatch(r"([a-zA-Z0-9-]+); Expires=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", opened.members["NewSessionId"])
    assert found is not None
    used = client.call({**place, "SessionId": found[1], "ContentType": "application/json"}, chat())
    assert used.error is None
    closed = client.call({**place, "SessionId": found[1]}, json.dumps({"requestType": "CLOSE"}).encode())
    assert closed.error is None
    assert closed.members["ClosedSessionId"] == found[1]


def test_answer_says_by_whom_and_under_which_policy_it_was_served(
    standin_hosting: Hosting, get_client: GetClient
) -> None:
    """The proxy's own header fields: target, attempts, policy, and the time it took itself."""
    answer = get_client("boto3-newest", standin_hosting.proxy).call(standin_hosting.ask(), chat())
    assert answer.headers is not None
    assert answer.headers["x-pointsman-target"] == standin_hosting.name
    assert answer.headers["x-pointsman-attempts"] == "1"
    assert re.fullmatch(r"[0-9a-f]{12}/\d+", answer.headers["x-pointsman-policy"])
    assert 0 < int(answer.headers["x-pointsman-overhead-us"]) < 20_000_000


def test_request_log_names_the_call_and_none_of_its_secrets(dedicated: Hosting, get_client: GetClient) -> None:
    """One line for the request that the client can name, without body, credentials or custom attributes."""
    attributes, words = "tenant=very-secret-attribute", "very-secret-words"
    answer = get_client("boto3-newest", dedicated.proxy).call(
        dedicated.ask(CustomAttributes=attributes), chat(says=words)
    )
    assert answer.headers is not None
    request_id = answer.headers["x-amzn-requestid"]
    lines = lines_of(dedicated, request_id)
    assert len(lines) == 1
    log = dedicated.proxy.log.read_text()
    for secret in (attributes, words, "AKIDANYCLIENT", "any-client-secret", "emulator-secret"):
        assert secret not in log


def lines_of(hosting: Hosting, request_id: str) -> list[Any]:
    """The lines of the request log about one request; it is written behind the answer, so later requests push it."""
    for _ in range(50):
        exchange(hosting.proxy.port, "/endpoints/nope/invocations", b"")
        lines = [json.loads(line) for line in hosting.proxy.log.read_text().splitlines()]
        found = [line for line in lines if request_id in line.values()]
        if found:
            return found
    return []
