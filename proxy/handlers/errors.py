"""What can go wrong with a customer's code, as two exceptions: at load, and with a request on its way."""

from __future__ import annotations

from pathlib import Path

from .guest.native import Raised

OVER = "the request that this call belongs to is over"
"""What a hook is told that asks another model for nobody any longer."""


class LoadError(Exception):
    """A handler cannot be used. The message is for the operator: file, reason, remedy, the customer's own frames."""


class HandlerError(Exception):
    """A customer's hook did not do its part for one request.

    A face answers with `status` as the model's own, and with `said`, which is the customer's deliberate word for
    clients (the text of an exception that carries a `status_code`) or a sentence of ours. What is in `trace` goes to
    the log and nowhere else.
    """

    def __init__(
        self,
        reason: str,
        said: str,
        *,
        status: int = 500,
        timed_out: bool = False,
        trace: str | None = None,
        of_invoke: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {said}")
        self.reason = reason
        """`raised`, `timed_out`, `crashed`, `busy` or `refused`: the word in metrics."""
        self.said = said
        self.status = status
        self.timed_out = timed_out
        self.trace = trace
        self.of_invoke = of_invoke
        """What was raised came out of `call.invoke`."""


def too_long(file: Path, seconds: float) -> LoadError:
    """The file did not load in time."""
    return LoadError(
        f"{file}: did not load within {seconds:g} s; mend what it waits for, or give more with --load-time"
    )


def raised(told: Raised) -> HandlerError:
    """A hook raised. Status and text go to the client only together: an exception that names no status was not meant
    for it."""
    if told.status is None:
        return HandlerError("raised", "The model's handler failed.", trace=told.trace)
    return HandlerError("raised", told.text, status=told.status, trace=told.trace, of_invoke=told.of_invoke)


def too_slow(seconds: float) -> HandlerError:
    """A hook did not end within its limit."""
    return HandlerError(
        "timed_out",
        "The model's handler did not answer in time.",
        status=504,
        timed_out=True,
        trace=f"over {seconds:g} s",
    )


def gone() -> HandlerError:
    """The handler is being replaced, or was."""
    return HandlerError("refused", "The model's handler has been replaced.", status=503)


def crashed(how: str) -> HandlerError:
    """The worker process died; `how` is for the log."""
    return HandlerError("crashed", "The model's handler stopped working.", trace=how)


def busy(seconds: float) -> HandlerError:
    """No worker came free within the limit."""
    return HandlerError("busy", "The model's handler is busy.", status=503, trace=f"no worker free for {seconds:g} s")


def state_lost() -> HandlerError:
    """What `before` left for `after` was in a worker that is gone."""
    return crashed("the worker that held the state of this request is gone")


def failing(lost: int) -> HandlerError:
    """So many workers are lost that it takes no requests for now."""
    why = f"{lost} workers are lost; it is tried again in a moment"
    return HandlerError("refused", "The model's handler keeps failing.", status=503, trace=why)
