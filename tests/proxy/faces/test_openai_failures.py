"""From failures to OpenAI's errors: complete, sent again by clients only where that does no harm, no insides."""

from __future__ import annotations

import itertools
import json

import pytest

from backends.errors import BackendError
from backends.http.edge import BodyTooLarge, BodyTooSlow, BudgetSpent
from backends.wire import openai as wire
from backends.wire.openai import Refused
from backends.wire.sagemaker import WireError, model_error, validation_error
from policies.facts import FailureFacts, Fault
from policies.table import Miss, Route, Target, VllmSpec, Weighted
from proxy.faces import openai_failures
from proxy.pipeline import NoTarget, RouteMissing

from .test_failures import FACTS, SAID, SECRETS, TARGET, record

RETRIED = {408, 409, 429} | set(range(500, 600))
"""Statuses that the openai package sends again by itself."""


def told(error: Exception) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and the error object of the answer."""
    status, headers, body = wire.write_problem(openai_failures.problem(error, record(), "chat"), "r")
    return status, dict(headers), json.loads(body)["error"]


def test_every_combination_of_facts_is_an_error_in_openais_shape() -> None:
    """No facts fall through, and every text is there."""
    for facts, said in itertools.product(FACTS, SAID):
        status, headers, error = told(BackendError(facts, TARGET, SECRETS, said))
        assert 400 <= status <= 599, (facts, said)
        assert error["message"], (facts, said)
        assert headers["x-request-id"] == "r"


def test_no_answer_shows_our_insides() -> None:
    """Causes, target names and hosts stay in the log, in answers and in the events of streams."""
    for facts, said in itertools.product(FACTS, SAID):
        error = BackendError(facts, TARGET, SECRETS, said)
        shown = repr(told(error)) + repr(wire.write_event(openai_failures.stream_problem(error)))
        assert not any(word in shown for word in (*SECRETS.split(), "inner-name"))


def test_what_may_have_run_is_not_sent_again_by_the_package() -> None:
    """Whenever the facts do not say that a second run is safe, the status or the header keeps clients from one."""
    for facts, said in itertools.product(FACTS, SAID):
        if facts.retry_safe is True or facts.cold or (facts.throttled and facts.fault is Fault.PLATFORM):
            continue
        status, headers, _ = told(BackendError(facts, TARGET, "x", said))
        assert status not in RETRIED or headers.get("x-should-retry") == "false", (facts, said)


@pytest.mark.parametrize(
    ("facts", "status", "code", "retry_after"),
    [
        (FailureFacts(Fault.PLATFORM, True, cold=True), 429, "model_not_ready", "10"),
        (FailureFacts(Fault.PLATFORM, True, 300.0, cold=True), 429, "model_not_ready", "300"),
        (FailureFacts(Fault.PLATFORM, True, throttled=True), 429, "rate_limit_exceeded", "1"),
        (FailureFacts(Fault.PLATFORM, True, 7.0, throttled=True), 429, "rate_limit_exceeded", "7"),
        (FailureFacts(Fault.MODEL, None, timed_out=True), 504, "deadline_exceeded", None),
        (FailureFacts(Fault.NETWORK, True, timed_out=True), 504, "deadline_exceeded", None),
        (FailureFacts(Fault.NETWORK, True), 503, "service_unavailable", None),
        (FailureFacts(Fault.PLATFORM, True, 3.0), 503, "service_unavailable", "3"),
        (FailureFacts(Fault.NETWORK, None), 502, "bad_gateway", None),
        (FailureFacts(Fault.PLATFORM, None), 502, "bad_gateway", None),
        (FailureFacts(Fault.CONFIG, True), 500, "internal_error", None),
        (FailureFacts(Fault.CALLER, False), 400, None, None),
        (FailureFacts(Fault.MODEL, None), 500, "model_error", None),
    ],
)
def test_each_fault_has_its_status(facts: FailureFacts, status: int, code: str | None, retry_after: str | None) -> None:
    """Not ready and throttled come with a wait, a deadline is a gateway's timeout, a lost answer a bad gateway."""
    answered, headers, error = told(BackendError(facts, TARGET, "x"))
    assert (answered, error["code"], headers.get("Retry-After")) == (status, code, retry_after)


def test_a_cold_model_says_when_it_may_be_back() -> None:
    """The policy's shortest restore, when the target itself said nothing."""
    cold = Target("t", "vllm", VllmSpec(("http://x",), "m"), restore=(60.0, 300.0))
    _, headers, _ = told(BackendError(FailureFacts(Fault.PLATFORM, True, cold=True), cold, "x"))
    assert headers["Retry-After"] == "60"


def test_cold_has_the_status_that_the_policy_gives_it() -> None:
    """A 503 of the same code, with the same time to come again."""
    asked = record()
    asked.route = Route("chat", None, (Weighted(TARGET, 1.0),), cold_status=503)
    error = BackendError(FailureFacts(Fault.PLATFORM, True, 30.0, cold=True), TARGET, "x")
    found = openai_failures.problem(error, asked, "chat")
    assert (found.status, found.code, found.retry_after) == (503, "model_not_ready", 30.0)


@pytest.mark.parametrize(
    ("error", "status", "code", "text"),
    [
        (Refused(wire.unauthorized("expired")), 401, "invalid_api_key", "expired"),
        (BodyTooLarge(25), 413, "request_too_large", "25 bytes"),
        (BodyTooSlow(), 408, None, "did not arrive in time"),
        (BudgetSpent(), 429, "rate_limit_exceeded", ""),
        (RouteMissing(Miss.UNKNOWN_ENDPOINT), 404, "model_not_found", "`chat` does not exist"),
        (RouteMissing(Miss.UNKNOWN_COMPONENT), 404, "model_not_found", "`chat`"),
        (RouteMissing(Miss.COMPONENT_REQUIRED), 404, "model_not_found", "endpoint/component"),
        (RouteMissing(Miss.COMPONENT_NOT_ALLOWED), 404, "model_not_found", "no inference components"),
        (WireError(validation_error("why")), 400, None, "why"),
        (
            WireError(model_error(418, "teapot", region="r", account="a", endpoint="e")),
            418,
            "model_error",
            "teapot",
        ),
        (NoTarget("x"), 500, "internal_error", ""),
        (ZeroDivisionError("secret"), 500, "internal_error", ""),
    ],
)
def test_failures_of_our_own_have_their_words(error: Exception, status: int, code: str | None, text: str) -> None:
    """Each has its status and code, and only a bug counts as one."""
    answered, _, found = told(error)
    assert (answered, found["code"]) == (status, code)
    assert text in str(found["message"])
    assert "secret" not in str(found)
    assert openai_failures.is_bug(error) is isinstance(error, ZeroDivisionError)


@pytest.mark.parametrize(
    ("facts", "said", "code"),
    [
        (FailureFacts(Fault.NETWORK, None, timed_out=True), None, "deadline_exceeded"),
        (FailureFacts(Fault.NETWORK, None), None, "stream_broken"),
        (FailureFacts(Fault.PLATFORM, None), SAID[4], "stream_broken"),
        (FailureFacts(Fault.MODEL, None), SAID[1], "model_error"),
        (FailureFacts(Fault.MODEL, None), None, "stream_broken"),
    ],
)
def test_a_broken_stream_names_its_kind(facts: FailureFacts, said: object, code: str) -> None:
    """Late, broken, or told of by the model in its own words."""
    found = openai_failures.stream_problem(BackendError(facts, TARGET, SECRETS, said))  # type: ignore[arg-type]  # table
    assert found.code == code
    assert ("bad prompt" in found.message) is (code == "model_error")
