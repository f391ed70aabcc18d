"""The one exception that a backend raises, and what the other side said when it said something."""

from __future__ import annotations

from dataclasses import dataclass

from policies.facts import FailureFacts
from policies.table import Target


@dataclass(frozen=True, slots=True)
class Said:
    """An error answer of the upstream, unwrapped: faces repeat it where the contract has a place for it."""

    status: int
    """HTTP status of the answer as the model's container gave it; 0 when none came."""
    message: str
    type: str | None = None
    """AWS error type without namespace, e.g. `ModelError`, when the upstream named one."""
    log_stream_arn: str | None = None
    error_code: str | None = None


class BackendError(Exception):
    """A target did not answer as asked. `facts` say what that means, `said` what it told us."""

    def __init__(
        self, facts: FailureFacts, target: Target, cause: str, said: Said | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(f"{target.name}: {cause}")
        self.facts = facts
        self.target = target
        self.cause = cause
        """For the log: names hosts and exceptions, never bodies or credentials, and is never sent to a client."""
        self.said = said
        self.request_id = request_id
        """By which the target's own logs, and AWS's support, know the request; None when it named none."""


def let_go(error: BaseException | None) -> None:
    """Take the frames off a failure that has been dealt with, and off what led to it, which it forgets.

    Its traceback holds every frame that it came through, these hold bodies, and some of them, in a variable or in what
    they waited for, the failure again. Such a circle stays until the collector finds it, which counts objects and not
    bytes: a few failures a second of requests with large bodies would hold hundreds of megabytes.
    """
    while error is not None:
        before = error.__cause__ or error.__context__
        # Cut as well: one that is raised a second time, while what it had caused is dealt with, came from itself.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        error = before
