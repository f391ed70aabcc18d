"""Where the policy comes from and which one is in force.

A reload reads, parses and checks a whole new table, then swaps one reference: requests in flight keep the table that
they started with. A policy that can't be used keeps the old one and says why. A file is watched by its identity (inode,
size, modification time), which also sees Kubernetes swap a symbolic link; an `s3://` object by its ETag.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from backends.outcome import Course
from policies.choose import Plan, only
from policies.errors import PolicyError
from policies.load import load_policy
from policies.loops import check_loops
from policies.table import RouteTable

log = logging.getLogger("pointsman.policy")

FILE_POLL = 1.0
"""Seconds between two looks at a policy file: one stat() each."""


@dataclass(frozen=True, slots=True)
class InForce:
    """A policy that serves."""

    table: RouteTable
    generation: int

    label: str = field(init=False, default="")
    """`digest/generation`: in headers, logs and metrics."""
    usual: Mapping[str, Plan] = field(init=False, compare=False, default_factory=dict)
    """By route, where there is nothing to choose: the plan of all requests but those of sessions and of clients that
    try again."""
    lanes: dict[str, Any] = field(init=False, compare=False, default_factory=dict)
    """By route, for those of `usual`: what all of them share, looked up once."""
    ways: dict[tuple[str, int], Any] = field(init=False, compare=False, default_factory=dict)
    """By target and replica, for the attempts at them: what they have looked up once."""
    courses: dict[tuple[str, str, str, int, str], Course] = field(init=False, compare=False, default_factory=dict)
    """By route, operation, target, replica and why: what requests have in common that went the usual way there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", f"{self.table.digest}/{self.generation}")
        plain = {route.key: only(route, route.sole) for route in self.table.routes.values() if route.sole is not None}
        object.__setattr__(self, "usual", plain)


class UnreadableError(Exception):
    """The policy's text can't be had; the message says why."""


class Source(Protocol):
    """A place that holds a policy's text."""

    name: str
    poll: float

    async def version(self) -> str:
        """Something that differs when the text does. Raises UnreadableError."""
        ...

    async def read(self) -> str:
        """The text. Raises UnreadableError."""
        ...


class FileSource:
    """A policy in a file."""

    poll = FILE_POLL

    def __init__(self, path: str) -> None:
        self.name = path
        self._path = Path(path)

    async def version(self) -> str:
        try:
            status = self._path.stat()
        except OSError as error:
            msg = f"{self.name}: {error.strerror}"
            raise UnreadableError(msg) from error
        return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}"

    async def read(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except OSError as error:
            msg = f"{self.name}: {error.strerror}"
            raise UnreadableError(msg) from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            msg = f"{self.name}:{line}: not UTF-8 at byte {error.start}"
            raise UnreadableError(msg) from error


class ObjectSource:
    """A policy in S3, for places without files of their own."""

    def __init__(self, url: str, poll: float, read: Callable[[str, bool], Awaitable[tuple[str, str]]]) -> None:
        """`read(url, whole)` gives (ETag, text), the text only when `whole`; it raises UnreadableError."""
        self.name = url
        self.poll = poll
        self._read = read

    async def version(self) -> str:
        return (await self._read(self.name, False))[0]

    async def read(self) -> str:
        return (await self._read(self.name, True))[1]


class ToldSource:
    """A policy as this process was told it by the one that watches the source: text, files and generation."""

    poll = FILE_POLL

    def __init__(self, name: str, text: str, files: Mapping[str, str], generation: int) -> None:
        """`files` is what the policy's files held, by the names that it calls them."""
        self.name = name
        self.text = text
        self.files = files
        self.generation = generation

    def number(self, before: int, changed: bool) -> int:
        """The generation of the text: the same in every process that was told it."""
        return self.generation

    def read_file(self, name: str) -> str:
        """What the policy's file `name` held. Raises OSError for one that nobody told of."""
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "not told to this process", name)
        return self.files[name]

    async def version(self) -> str:
        return self.text

    async def read(self) -> str:
        return self.text


class Overheard:
    """A source, and a reader of the files that its policies name, that remember what was last read.

    A file that has changed since it was read is another version of the source, though the policy's text be the same.
    """

    def __init__(self, source: Source, read_file: Callable[[str], str], stamp: Callable[[str], str]) -> None:
        """`stamp` gives something of a file that differs when it has changed; it does not raise."""
        self.name = source.name
        self.poll = source.poll
        self.text = ""
        self.files: dict[str, str] = {}
        """What was read since the text was."""
        self._source = source
        self._read_file = read_file
        self._stamp = stamp
        self._stamps: dict[str, str] = {}
        self._changes = 0

    def read_file(self, name: str) -> str:
        """As the reader that it was made with."""
        self._stamps[name] = self._stamp(name)  # before it is read: a change in between is seen later
        self.files[name] = text = self._read_file(name)
        return text

    async def version(self) -> str:
        version = await self._source.version()
        now = {name: self._stamp(name) for name in self._stamps}
        self._changes += now != self._stamps
        self._stamps = now
        return f"{version}+{self._changes}" if self._changes else version

    async def read(self) -> str:
        self.text, self.files, self._stamps = await self._source.read(), {}, {}
        return self.text


class Policy:
    """The policy in force, and how it is replaced."""

    def __init__(
        self,
        source: Source,
        variables: Mapping[str, str],
        own_addresses: frozenset[tuple[str, int]],
        swapped: Callable[[InForce], None],
        reloaded: Callable[[bool], None],
        prepare: Callable[[RouteTable], Awaitable[None]] | None = None,
        read_file: Callable[[str], str] | None = None,
        number: Callable[[int, bool], int] = int.__add__,
        dress: Callable[[RouteTable], RouteTable] | None = None,
    ) -> None:
        """`swapped` is told of every new policy, `reloaded` whether an attempt at one succeeded.

        `prepare` makes ready what a table needs before it is put in force; it raises PolicyError to refuse the table.
        `read_file` reads the files that a policy names: see `load_policy`. `number` gives a table's generation
        from the one before it (0 at the start) and whether it differs from that. `dress` gives the table that serves
        from the one that was read: with migrations where they stand.
        """
        self._source = source
        self._dress = dress
        self._plain: RouteTable | None = None
        self._variables = variables
        self._own = own_addresses
        self._swapped = swapped
        self._reloaded = reloaded
        self._prepare = prepare
        self._read_file = read_file
        self._number = number
        self._version: str | None = None
        self._lock = asyncio.Lock()
        self._unusable: str | None = None
        self._unreadable: str | None = None
        self._current: InForce | None = None

    @property
    def current(self) -> InForce:
        """What serves now. Raises RuntimeError before the first `load`."""
        if self._current is None:
            msg = "no policy is loaded"
            raise RuntimeError(msg)
        return self._current

    @property
    def problem(self) -> str | None:
        """Why the newest text is not in force, or can't be known; None when it is."""
        return self._unreadable or self._unusable

    async def load(self) -> None:
        """Read and put in force. Raises PolicyError or UnreadableError, and then nothing has changed."""
        async with self._lock:
            version = await self._source.version()
            self._version = None  # a text that can't be had now is asked for again
            text = await self._source.read()
            self._version = version
            table = load_policy(text, self._variables, self._source.name, self._read_file)
            loops = check_loops(table, self._own)
            if loops:
                raise PolicyError(loops, self._source.name)
            if self._prepare is not None:
                await self._prepare(table)
            self._unusable = self._unreadable = None
            current = self._current
            changed = current is None or current.table.digest != table.digest
            before = current.generation if current is not None else 0
            generation = self._number(before, changed)
            if not changed and generation == before:
                return
            self._plain = table
            self._current = InForce(table if self._dress is None else self._dress(table), generation)
            self._swapped(self._current)

    def redress(self) -> None:
        """Put the policy in force anew as `dress` has it now. It stays the same policy, of the same generation."""
        if self._current is not None and self._plain is not None and self._dress is not None:
            self._current = InForce(self._dress(self._plain), self._current.generation)

    async def reload(self, *, again: bool = False) -> bool:
        """`load`, but a policy that can't be used leaves the old one in force. True when it could.

        `again`: nobody has asked for it, so that a text that still can't be had is not told of once more.
        """
        before = self._current.label if self._current else None
        try:
            await self.load()
        except (PolicyError, UnreadableError) as error:
            if again and isinstance(error, UnreadableError) and str(error) == self._unusable:
                return False
            self._unusable = str(error)
            self._reloaded(False)
            log.error("the policy stays %s, since the new one can't be used: %s", before, error)  # noqa: TRY400
            return False
        self._reloaded(True)
        log.info("policy %s is in force (before: %s)", self.current.label, before)
        return True

    async def watch(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Reload whenever the source changes, until cancelled. `pause` waits that many seconds."""
        while True:
            await pause(self._source.poll)
            try:
                version = await self._source.version()
            except UnreadableError as error:
                if self._unreadable is None:
                    log.warning("the policy stays in force, its source can't be read: %s", error)
                self._unreadable = str(error)
                continue
            self._unreadable = None
            if version != self._version:
                await self.reload(again=True)
