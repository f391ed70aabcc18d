"""From failures to typed errors: complete, and nothing of our insides on the wire."""

from __future__ import annotations

import itertools
import json

import pytest
from botocore.session import Session

from backends.errors import BackendError, Said
from backends.http.edge import BodyTooLarge, BodyTooSlow, BudgetSpent
from backends.wire.sagemaker import WireError, write_error
from policies.facts import FailureFacts, Fault
from policies.load import load_policy
from policies.table import EndpointSpec, Miss, Route, Target, Weighted
from proxy.faces import failures
from proxy.pipeline import NoTarget, RouteMissing
from proxy.policy_source import InForce
from proxy.record import Record

from ..parts import POLICY, invocation

TARGET = Target("gpu", "endpoint", EndpointSpec("inner-name"), region="eu-west-1")
SECRETS = "10.1.2.3 arn:aws:iam::999999999999:role/inner AKIAINNER"
SHAPES = Session().get_service_model("sagemaker-runtime").error_shapes
MODELLED = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in SHAPES if "error" in shape.metadata}
UNMODELLED = {"ThrottlingException": 429, "413": 413}


def record(component: str | None = None) -> Record:
    written = Record("r", 0.0, 0.0)
    written.invocation = invocation("chat", component)
    written.route = Route("chat", component, (Weighted(TARGET, 1.0),))
    return written


FACTS = [
    FailureFacts(fault, safe, retry_after, throttled, timed_out, cold)
    for fault, safe, retry_after, throttled, timed_out, cold in itertools.product(
        Fault, (True, False, None), (None, 2.0), (False, True), (False, True), (False, True)
    )
]
SAID = [
    None,
    Said(400, "bad prompt"),
    Said(503, "busy"),
    Said(404, "no adapter", "ModelError", "arn:aws:logs:x", "CLIENT_ERROR_FROM_MODEL"),
    Said(503, "unavailable", "ServiceUnavailable"),
    Said(530, "dependency", "InternalDependencyException"),
    Said(500, "failure", "InternalFailure"),
]


def test_every_combination_of_facts_is_a_modelled_error_with_its_status() -> None:
    """No facts fall through: each gives one of the contract's errors, with the status that botocore's model has."""
    for facts, said in itertools.product(FACTS, SAID):
        reply = failures.error_reply(BackendError(facts, TARGET, SECRETS, said), record())
        assert reply.status == (MODELLED | UNMODELLED)[reply.type], (facts, said)
        status, _, body = write_error(reply, "r")
        assert (status, json.loads(body)["Message"] != "") == (reply.status, True)


def test_no_answer_shows_our_insides() -> None:
    """Causes, target names and hosts stay in the log."""
    for facts, said in itertools.product(FACTS, SAID):
        _, headers, body = write_error(failures.error_reply(BackendError(facts, TARGET, SECRETS, said), record()), "r")
        told = body.decode() + repr(headers)
        assert not any(word in told for word in (*SECRETS.split(), "inner-name"))


@pytest.mark.parametrize("facts", [facts for facts in FACTS if facts.retry_safe is None])
def test_what_may_have_run_is_not_sent_again_by_sdks(facts: FailureFacts) -> None:
    """botocore repeats 429 and 5xx: a lost answer of a model is a 424, which it does not repeat."""
    if facts.fault is Fault.NETWORK and not facts.cold:
        reply = failures.error_reply(BackendError(facts, TARGET, "reset"), record())
        assert reply.status == 424


@pytest.mark.parametrize("fault", list(Fault))
def test_a_wait_that_a_target_asks_for_is_passed_on(fault: Fault) -> None:
    """Whatever the failure is to the client: a model's own 429 is a 424, which SDKs do not repeat, and callers may."""
    error = BackendError(FailureFacts(fault, True, 7.5, throttled=fault is Fault.MODEL), TARGET, "x", Said(429, "busy"))
    _, headers, _ = write_error(failures.error_reply(error, record()), "r")
    assert dict(headers)["Retry-After"] == "8"
    assert dict(headers)["x-amz-retry-after"] == "7500"


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        (Said(503, "busy"), "ServiceUnavailable", 503),
        (Said(500, "busy", "ServiceUnavailableException"), "ServiceUnavailable", 503),
        (Said(500, "broken"), "InternalFailure", 500),
        (Said(530, "", "InternalDependencyException"), "InternalDependencyException", 530),
        (None, "InternalFailure", 500),
    ],
)
def test_a_platform_that_is_busy_is_told_from_one_that_is_broken(said: Said | None, kind: str, status: int) -> None:
    """By its word for it, or by the status alone, as from a load balancer in front of it."""
    error = BackendError(FailureFacts(Fault.PLATFORM, retry_safe=None), TARGET, "x", said)
    reply = failures.error_reply(error, record())
    assert (reply.type, reply.status) == (kind, status)


def test_a_deadline_is_a_424_with_status_0() -> None:
    """SageMaker's own words for a container that does not answer."""
    facts = FailureFacts(Fault.NETWORK, None, timed_out=True)
    reply = failures.error_reply(BackendError(facts, TARGET, "late"), record())
    assert (reply.status, reply.type, reply.original_status) == (424, "ModelError", 0)
    assert "timed out while waiting for a response" in reply.message


def test_cold_is_not_ready_for_a_model_and_no_capacity_for_a_component() -> None:
    """Each kind of hosting has its own word, and clients match it."""
    error = BackendError(FailureFacts(Fault.PLATFORM, True, 30.0, cold=True), TARGET, "cold")
    model, component = failures.error_reply(error, record()), failures.error_reply(error, record("ic"))
    assert (model.type, model.status, model.retry_after) == ("ModelNotReadyException", 429, 30.0)
    assert (component.type, component.status, component.retry_after) == ("ValidationError", 400, 30.0)
    assert component.message.startswith("Inference Component has no capacity")


@pytest.mark.parametrize("component", [None, "ic"])
@pytest.mark.parametrize(
    ("status", "kind"), [(429, "ModelNotReadyException"), (503, "ServiceUnavailable")], ids=["429", "503"]
)
def test_cold_has_the_status_that_the_policy_gives_it(status: int, kind: str, component: str | None) -> None:
    """SDKs send a 503 again by themselves and SageMaker's 429 not; each says when to come again."""
    asked = record(component)
    asked.route = Route("chat", component, (Weighted(TARGET, 1.0),), cold_status=status)
    reply = failures.error_reply(BackendError(FailureFacts(Fault.PLATFORM, True, 30.0, cold=True), TARGET, "x"), asked)
    assert (reply.status, reply.type, reply.retry_after) == (status, kind, 30.0)


def test_what_sagemaker_wrapped_is_passed_on_word_for_word() -> None:
    """A ModelError of the target is the client's ModelError: status, message, log stream, code."""
    said = Said(418, "teapot", "ModelError", "arn:aws:logs:one", "CLIENT_ERROR_FROM_MODEL")
    reply = failures.error_reply(BackendError(FailureFacts(Fault.MODEL, False), TARGET, "x", said), record())
    assert (reply.original_status, reply.original_message) == (418, "teapot")
    assert (reply.log_stream_arn, reply.error_code) == ("arn:aws:logs:one", "CLIENT_ERROR_FROM_MODEL")


def test_a_model_is_where_the_client_believes_it_to_be() -> None:
    """Its own endpoint's name, the policy's account and the target's region: what callers and their logs go by."""
    asked = record()
    asked.policy = InForce(load_policy(POLICY, {}), 1)
    error = BackendError(FailureFacts(Fault.MODEL, False), TARGET, "x", Said(418, "teapot"))
    reply = failures.error_reply(error, asked)
    arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/chat"
    assert (reply.log_stream_arn, "in account 123456789012 for more" in reply.message) == (arn, True)
    assert "https://eu-west-1.console.aws.amazon.com/" in reply.message


@pytest.mark.parametrize(
    ("error", "kind", "status", "text"),
    [
        (RouteMissing(Miss.UNKNOWN_ENDPOINT), "ValidationError", 400, "Endpoint chat of account"),
        (RouteMissing(Miss.COMPONENT_REQUIRED), "ValidationError", 400, "Inference Component Name header is required"),
        (RouteMissing(Miss.COMPONENT_NOT_ALLOWED), "ValidationError", 400, "is not allowed for endpoints"),
        (RouteMissing(Miss.UNKNOWN_COMPONENT), "ValidationError", 400, "nference"),
        (BodyTooLarge(25), "413", 413, ""),
        (BodyTooSlow(), "RequestTimeoutException", 408, "did not arrive in time"),
        (BudgetSpent(), "ThrottlingException", 429, ""),
        (NoTarget("x"), "InternalFailure", 500, ""),
        (ZeroDivisionError("secret"), "InternalFailure", 500, ""),
    ],
)
def test_failures_of_our_own_have_their_words(error: Exception, kind: str, status: int, text: str) -> None:
    """Each has its type and status; the four ways to miss a route have the texts that clients match."""
    reply = failures.error_reply(error, record())
    assert (reply.status, text in reply.message) == (status, True)
    if kind != "413":
        assert reply.type == kind
    assert "secret" not in reply.message
    assert failures.is_bug(error) is isinstance(error, ZeroDivisionError)


def test_a_body_that_the_target_finds_too_long_is_a_413() -> None:
    """Whoever refuses it, the client sees the status that its SDK knows, and the limit that was met."""
    error = BackendError(FailureFacts(Fault.CALLER, False), TARGET, "too long", Said(413, "inner words"))
    reply = failures.error_reply(error, record())
    assert (reply.status, str(TARGET.body_limit) in reply.message) == (413, True)


def test_every_miss_has_an_answer() -> None:
    """A fifth way to miss a route would be noticed here."""
    assert {failures.error_reply(RouteMissing(miss), record()).type for miss in Miss} == {"ValidationError"}


@pytest.mark.parametrize(
    ("facts", "kind", "code"),
    [
        (FailureFacts(Fault.NETWORK, None, timed_out=True), "ModelStreamError", "ModelInvocationTimeExceeded"),
        (FailureFacts(Fault.NETWORK, None), "ModelStreamError", "StreamBroken"),
        (FailureFacts(Fault.MODEL, None), "ModelStreamError", "StreamBroken"),
        (FailureFacts(Fault.PLATFORM, None), "InternalStreamFailure", None),
    ],
)
def test_a_broken_stream_names_its_kind(facts: FailureFacts, kind: str, code: str | None) -> None:
    """Late, broken by the model, or broken by the platform."""
    reply = failures.stream_failure(BackendError(facts, TARGET, SECRETS))
    assert (reply.type, reply.error_code) == (kind, code)
    assert "10.1.2.3" not in reply.message


@pytest.mark.parametrize(
    ("hops", "refused"), [("0", False), ("2", False), ("3", True), ("x", True), ("9" * 5000, True), (None, False)]
)
def test_a_request_that_went_around_is_refused(hops: str | None, refused: bool) -> None:
    """A loop ends after a few turns, with an answer that SDKs do not send again."""
    call = invocation()
    looping = type(call)(call.endpoint, None, False, b"", "r", hops=hops)
    if not refused:
        failures.refuse_loop(looping, 3)
        return
    with pytest.raises(WireError) as caught:
        failures.refuse_loop(looping, 3)
    assert caught.value.reply.status == 400


def test_what_never_became_a_request_says_whose_fault_it_is() -> None:
    """Bytes that are no HTTP are the client's mistake; want of room and a bug of ours are not."""
    told = {status: failures.malformed(status, "BadHttpMessage").type for status in (400, 414, 431, 500, 503)}
    mistakes = dict.fromkeys((400, 414, 431), "ValidationError")
    assert told == {**mistakes, 500: "InternalFailure", 503: "ServiceUnavailable"}
