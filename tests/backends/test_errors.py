"""The backend's one exception: facts for decisions, words for the log."""

from __future__ import annotations

from backends.errors import BackendError, Said, let_go
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec


def test_the_text_names_the_target_and_the_cause_and_no_body() -> None:
    """What the upstream said may hold a client's data and stays out of the exception's text."""
    target = Target("gpu", "vllm", VllmSpec(("http://a",), "m"))
    error = BackendError(FailureFacts(Fault.MODEL, False), target, "answered 400", Said(400, "prompt: secret"))
    assert str(error) == "gpu: answered 400"
    assert "secret" not in repr(error)


def test_a_failure_that_was_dealt_with_holds_no_frames() -> None:
    """Neither it, nor what it came from, nor what was being handled meanwhile."""
    try:
        try:
            try:
                raise ValueError("first")
            except ValueError:
                raise KeyError("second")  # noqa: B904 - the context without a cause is what is looked at
        except KeyError as error:
            raise BackendError(
                FailureFacts(Fault.MODEL, False), Target("t", "vllm", VllmSpec((), "m")), "third"
            ) from error
    except BackendError as error:
        last = error
    chain = [last, last.__cause__, last.__cause__.__context__ if last.__cause__ else None]
    assert all(each is not None and each.__traceback__ is not None for each in chain)
    let_go(last)
    assert all(each is not None and each.__traceback__ is None for each in chain)


def test_a_failure_that_led_to_itself_ends() -> None:
    """A stored failure that is raised again while its consequence is handled: Python breaks such circles of contexts,
    and not of causes."""
    stored = ValueError("the connection broke")
    last = BackendError(FailureFacts(Fault.NETWORK, None), Target("t", "vllm", VllmSpec((), "m")), "broke")
    try:
        try:
            raise last from stored
        except BackendError:
            raise stored  # noqa: B904 - as a connection's own failure is, at the next look
    except ValueError:
        pass
    assert (last.__cause__, stored.__context__) == (stored, last)
    let_go(last)
    assert (last.__cause__, stored.__context__) == (None, None)
