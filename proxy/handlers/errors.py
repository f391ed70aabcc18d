"""What can go wrong with a customer's code, as two exceptions: at load, and with a request on its way."""

from __future__ import annotations


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


def raised(status: int | None, text: str, trace: str, *, of_invoke: bool = False) -> HandlerError:
    """A hook raised. `status` is its exception's `status_code`, `text` the exception's; both go to the client only
    together, because an exception that names no status was not meant for it."""
    if status is None:
        return HandlerError("raised", "The model's handler failed.", trace=trace)
    return HandlerError("raised", text, status=status, trace=trace, of_invoke=of_invoke)


def too_slow(seconds: float) -> HandlerError:
    """A hook did not end within its limit."""
    return HandlerError(
        "timed_out",
        "The model's handler did not answer in time.",
        status=504,
        timed_out=True,
        trace=f"over {seconds} s",
    )


def gone() -> HandlerError:
    """The handler is being replaced, or was."""
    return HandlerError("refused", "The model's handler has been replaced.", status=503)
