"""What a client is told when several targets have turned its request away, each with a wait of its own.

Whoever comes again is served by the target that takes requests first. So the shortest wait is told, and of an
overloaded target beside a cold one the overload: it is over in seconds, the restore in minutes, and SDKs send a
throttled request again by themselves, but not one whose model is not ready.
"""

from __future__ import annotations

from dataclasses import replace

from backends.errors import BackendError


def noted(before: BackendError | None, error: BackendError) -> BackendError | None:
    """The refusal of a request that asks for the shortest wait, once it has met `error` as well; None: there is none.

    A target that is asked twice is taken by its last word. One that is not there says nothing of when to come again.
    """
    facts = error.facts
    if facts.retry_safe is not True or facts.cold or not (facts.throttled or facts.retry_after is not None):
        return before
    if before is None or before.target.name == error.target.name:
        return error
    return before if _wait(before) <= _wait(error) else error


def told(error: BackendError, before: BackendError | None) -> BackendError:
    """The failure that is the answer to a request whose last one is `error`, others having refused it `before`."""
    facts = error.facts
    if before is None or before.target.name == error.target.name or facts.retry_safe is not True:
        return error
    if facts.cold:
        return before
    if _wait(before) < _wait(error):
        error.facts = replace(facts, retry_after=before.facts.retry_after)
    return error


def _wait(error: BackendError) -> float:
    """Seconds; of one that names none they are not known, and any that is named is better."""
    wait = error.facts.retry_after
    return float("inf") if wait is None else wait
