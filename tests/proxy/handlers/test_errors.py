"""What goes to the client of a customer's failure, and what to the log."""

from __future__ import annotations

import pytest

from proxy.handlers.errors import HandlerError, busy, crashed, failing, gone, raised, state_lost, too_slow
from proxy.handlers.guest.native import Raised


def test_text_goes_out_with_a_status_only() -> None:
    """An exception that names no status was not meant for clients: neither its text nor its trace reaches them."""
    plain = raised(Raised(None, "SECRET", "trace with SECRET", False))
    assert (plain.status, plain.said, plain.trace) == (500, "The model's handler failed.", "trace with SECRET")
    assert "SECRET" not in str(plain)
    meant = raised(Raised(422, "too long", "trace", True))
    assert (meant.status, meant.said, meant.of_invoke) == (422, "too long", True)


@pytest.mark.parametrize(
    ("error", "reason", "status", "timed_out"),
    [
        (too_slow(0.5), "timed_out", 504, True),
        (crashed("status 3"), "crashed", 500, False),
        (state_lost(), "crashed", 500, False),
        (busy(0.5), "busy", 503, False),
        (failing(2), "refused", 503, False),
        (gone(), "refused", 503, False),
    ],
)
def test_each_end_has_its_word_and_status(error: HandlerError, reason: str, status: int, timed_out: bool) -> None:
    """The word is the metric's, the status the model's; details such as an exit status stay in the log."""
    assert (error.reason, error.status, error.timed_out) == (reason, status, timed_out)
    assert "status 3" not in error.said
