"""What a supervisor and its workers, and a supervisor and its successor, tell each other: frozen values as JSON.

Both ends run the same code, but for a successor: fields that are unknown there are ignored, those that came later have
a default, and what is missing else is a MessageError, so that an upgrade between releases that do not understand each
other fails before it has begun.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import orjson

WHERE = signal.SIGUSR1
"""By which a supervisor has a worker write to its standard error where each of its threads stands."""


class MessageError(Exception):
    """These bytes are no message; the text says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """A policy as the supervisor read it, for every worker the same."""

    name: str
    text: str
    files: Mapping[str, str]
    """What the policy's files held, by name: a worker does not read them again, so it can't read something else."""
    generation: int
    label: str
    """`digest/generation` that a worker has to come to."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first thing that a worker is told. `settings` are fields of `Settings`, descriptors are numbers.

    `near` is the address of a store that the workers share where the fleet has none; `replays` is of the memory of
    signatures that they share, -1 where nobody signs; `also` are sockets for further addresses.
    """

    number: int
    settings: Mapping[str, Any]
    policy: Told
    listening: int
    board: int
    near: str | None = None
    replays: int = -1
    also: tuple[int, ...] = ()
    listens: bool = False
    """The supervisor knows `Loading`; one of an older release, that starts a worker of newer code, would hang up."""
    quotas: int = -1
    """Of the memory of what owners have left, which they share; -1: a supervisor of an older release has none."""
    kept: Mapping[str, str] | None = field(default=None, repr=False)
    """What the door's files last held, as `Papers` has it; None: a supervisor of an older release knows no `Kept`."""
    tries: bool = False
    """The supervisor knows `Changed`; without one that does a worker puts changed handlers in force by itself."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What files of the door hold, which the worker could use: workers that start while they can't be begin with it."""

    files: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Changed:
    """There are new versions of handlers' files. Said again and again: they are put in force with the policy that is
    told next, be it the same."""

    versions: list[str]


@dataclass(frozen=True, slots=True)
class Loading:
    """What the worker loads now. Also said again and again while it builds what may take long."""

    what: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker could serve, and waits for `Accept`; or the successor could."""

    label: str
    waits: bool = False
    """Of a successor: it takes no connection before `Yours`, and says `Serving` then. One without this word serves."""
    addresses: int = 1
    """Of a successor: at how many it would serve. One without this word knows of no further ones."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker can't start; `why` is one line that says what to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Accept:
    """Serve clients from now on."""


@dataclass(frozen=True, slots=True)
class NewPolicy:
    """Put this policy in force, or refuse it."""

    policy: Told


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a NewPolicy: what is in force, and what is wrong with the new one as (path, line, message)."""

    generation: int
    label: str
    problems: list[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class Question:
    """A request of an operator, which each worker answers for itself. An empty path asks for `Facts` alone."""

    id: int
    method: str = "GET"
    path: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question: an HTTP status and a JSON document."""

    id: int
    status: int
    document: Any


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker says of itself, every second and when asked (`id` of the question, else 0)."""

    id: int
    connections: int
    in_flight: int
    loop_lag: float
    log_lost: int
    spans_lost: int
    problem: str | None
    meters: str | None
    """A snapshot of its meters; None where nothing has changed since the last."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more connections, finish what is in flight, and end."""


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a supervisor leaves to its successor; descriptors are numbers, -1 where there is no admin port, and where
    nobody signs; `also` are sockets for further addresses."""

    listening: int
    admin: int
    generation: int
    replays: int = -1
    also: tuple[int, ...] = ()
    quotas: int = -1


@dataclass(frozen=True, slots=True)
class Yours:
    """The successor's turn: it may serve, and the admin port is its own. `meters` is what was counted until now."""

    meters: str


@dataclass(frozen=True, slots=True)
class Serving:
    """The successor serves clients and operators: the one before may go."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The one before goes on without the successor, or both end: it is not to serve, and to end."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted in all, once the last worker of a supervisor that was succeeded has ended."""

    meters: str


Message = (
    Begin
    | Changed
    | Kept
    | Loading
    | Ready
    | Failed
    | Accept
    | NewPolicy
    | Verdict
    | Question
    | Answered
    | Facts
    | Drain
    | Legacy
    | Yours
    | Serving
    | Unwanted
    | Counted
)

_KINDS: Mapping[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        *(Begin, Changed, Kept, Loading, Ready, Failed, Accept, NewPolicy, Verdict, Question, Answered, Facts, Drain),
        *(Legacy, Yours, Serving, Unwanted, Counted),
    )
}


def encoded(message: Message) -> bytes:
    """The message as bytes."""
    return orjson.dumps([type(message).__name__, message])


def decoded(data: bytes) -> Message:
    """The message that `encoded` made. Raises MessageError."""
    try:
        name, values = orjson.loads(data)
        kind = _KINDS[name]
        values = {
            each.name: values[each.name] for each in fields(kind) if each.name in values or each.default is MISSING
        }
        if "policy" in values:
            values["policy"] = Told(**{each.name: values["policy"][each.name] for each in fields(Told)})
        if "also" in values:
            values["also"] = tuple(values["also"])
        return kind(**values)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"not a message of a supervisor or worker: {type(error).__name__}"
        raise MessageError(msg) from error
