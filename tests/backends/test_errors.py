"""The backend's one exception: facts for decisions, words for the log."""

from __future__ import annotations

from backends.errors import BackendError, Said
from policies.facts import FailureFacts, Fault
from policies.table import Target, VllmSpec


def test_the_text_names_the_target_and_the_cause_and_no_body() -> None:
    """What the upstream said may hold a client's data and stays out of the exception's text."""
    target = Target("gpu", "vllm", VllmSpec(("http://a",), "m"))
    error = BackendError(FailureFacts(Fault.MODEL, False), target, "answered 400", Said(400, "prompt: secret"))
    assert str(error) == "gpu: answered 400"
    assert "secret" not in repr(error)
