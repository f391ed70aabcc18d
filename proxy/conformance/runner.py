"""Runs the checks one after the other, and turns whatever happens in one into a finding."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .answers import ANSWERS
from .checks import Check, Result, Skipped, Unverifiable, Violation
from .connections import CONNECTIONS
from .probe import Probe, Subject
from .refusals import REFUSALS
from .streams import STREAMS
from .tolerance import TOLERANCE
from .wire import Exchange, NoAnswer, connected

CHECKS: tuple[Check, ...] = (*ANSWERS, *STREAMS, *REFUSALS, *TOLERANCE, *CONNECTIONS)
"""Every check, in the order in which they run and are reported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: Check
    result: Result
    why: str
    """In which way it failed, or why it shows nothing; empty when it passed."""
    evidence: tuple[Exchange, ...]

    @property
    def counts(self) -> bool:
        """Whether it means that the server does not keep the contract."""
        return self.result is Result.FAILED and not self.check.advice


def chosen(patterns: Sequence[str]) -> list[Check]:
    """The checks whose names match one of the shell patterns; all of them without a pattern."""
    return [check for check in CHECKS if not patterns or any(fnmatchcase(check.name, each) for each in patterns)]


async def reach(subject: Subject) -> None:
    """Raises NoAnswer when the server can't be connected to at all."""
    async with connected(subject.origin, subject.seconds):
        """That it can be reached is all that is asked."""


async def examine(subject: Subject, checks: Sequence[Check]) -> AsyncIterator[Finding]:
    """One finding for each check, as it comes. A check that fails does not stop the others."""
    shared: dict[str, Exchange] = {}
    for check in checks:
        probe = Probe(subject, shared)
        result, why = await _outcome(check, probe)
        yield Finding(check, result, why, tuple(probe.seen))


async def _outcome(check: Check, probe: Probe) -> tuple[Result, str]:
    try:
        await check.run(probe)
    except Violation as violation:
        return Result.FAILED, str(violation)
    except NoAnswer as error:
        return Result.FAILED, f"no answer: {error}"
    except Unverifiable as reason:
        return Result.UNVERIFIABLE, str(reason)
    except Skipped as reason:
        return Result.SKIPPED, str(reason)
    return Result.PASSED, ""
