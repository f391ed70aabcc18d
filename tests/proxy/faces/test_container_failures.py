"""From failures to what a container answers: for all facts, what is wrapped is what the client would have got."""

from __future__ import annotations

import itertools
import json

import pytest

from backends.errors import BackendError
from backends.http.edge import BodyTooLarge, BodyTooSlow, BudgetSpent
from policies.table import Miss
from proxy.faces import container_failures, failures
from proxy.pipeline import NoTarget, RouteMissing

from .test_failures import FACTS, SAID, SECRETS, TARGET, record


def test_every_combination_of_facts_is_an_error_with_the_direct_answers_status() -> None:
    """A model's own error has its own status and body; any other has the status and text of the runtime API's error."""
    for facts, said in itertools.product(FACTS, SAID):
        error = BackendError(facts, TARGET, SECRETS, said)
        direct = failures.error_reply(error, record())
        kind, answer = container_failures.answer(error, record())
        assert kind == direct.type
        if direct.original_status is None:
            assert (answer.status, json.loads(answer.body)["Message"]) == (direct.status, direct.message)
        else:
            assert answer.status == (direct.original_status or 504), (facts, said)
            assert answer.body.decode() == direct.original_message


def test_no_answer_is_a_424() -> None:
    """A 424 of ours would reach the client as a 424 about a 424."""
    for facts, said in itertools.product(FACTS, SAID):
        assert container_failures.answer(BackendError(facts, TARGET, "x", said), record())[1].status != 424


def test_no_answer_shows_our_insides() -> None:
    """Causes, target names and hosts stay in the log."""
    for facts, said in itertools.product(FACTS, SAID):
        answer = container_failures.answer(BackendError(facts, TARGET, SECRETS, said), record())[1]
        assert not any(word in repr(answer) for word in (*SECRETS.split(), "inner-name"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RouteMissing(Miss.UNKNOWN_ENDPOINT), 400),
        (BodyTooLarge(25), 413),
        (BodyTooSlow(), 408),
        (BudgetSpent(), 429),
        (NoTarget("x"), 500),
        (ZeroDivisionError("secret"), 500),
        (container_failures.no_endpoint(None), 400),
        (container_failures.no_endpoint("model"), 400),
    ],
)
def test_failures_of_our_own_have_their_status(error: Exception, status: int) -> None:
    """The same as on the runtime API."""
    _, answer = container_failures.answer(error, record())
    assert answer.status == status
    assert b"secret" not in answer.body


def test_a_request_that_names_no_endpoint_is_told_how() -> None:
    """By the declared item, or not at all."""
    assert b"no item model=NAME" in container_failures.answer(container_failures.no_endpoint("model"), record())[1].body
    assert b"no endpoint" in container_failures.answer(container_failures.no_endpoint(None), record())[1].body


def test_other_paths_have_their_answer() -> None:
    """Status and words as given, with a request id."""
    answer = container_failures.other_path(404, "words", "r-1")
    assert (answer.status, json.loads(answer.body)["Message"], dict(answer.headers)["x-amzn-RequestId"]) == (
        404,
        "words",
        "r-1",
    )
