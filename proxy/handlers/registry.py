"""Which handlers are loaded: all that the policy in force names, in the newest version of their files that can be used.

A handler is loaded before the policy that needs it is put in force, so that no request waits for one; a handler that
cannot be loaded makes the policy unusable, and what served before goes on. The files are watched as well: a new version
takes over when it is loaded, and a bad one changes nothing but a line in the log; of several workers one tries it
before the others. Requests on their way end where they began. Routes with equal specs share one loaded handler.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backends.base import Call
from backends.meters import Meters
from backends.tasks import start
from policies.errors import PolicyError, Problem
from policies.table import HandlerSpec, Route, RouteTable

from .errors import LoadError, gone
from .passages import Asker, Handling, Passage
from .runs import Run

log = logging.getLogger("pointsman.handlers")

POLL = 1.0
"""Seconds between two looks at the handlers' files."""
AT_ONCE = 4
"""Handlers that are loaded side by side: each may start a process."""
WATCHED_FILES, WATCHED_FOLDERS, DEEPEST = 200, 50, 3
"""How much of one handler's folder is looked at for changes, and how deep."""

Load = Callable[[HandlerSpec, Path, str], Awaitable[Run]]
"""(what the policy says, the file, its version) -> the handler, loaded. Raises LoadError."""


@dataclass(slots=True)
class _Entry:
    run: Run
    version: str
    active: int = 0
    left: bool = False
    """No more requests begin."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it has left and the last request is over, or is waited for no longer."""

    def leave(self) -> None:
        self.left = True
        if not self.active:
            self.over.set()

    def end(self) -> None:
        self.active -= 1
        if self.left and not self.active:
            self.over.set()


class Handlers:
    """The handlers of the policy in force."""

    def __init__(
        self,
        folder: Path,
        load: Load,
        meters: Meters,
        now: Callable[[], float],
        drain: float = 30.0,
        policy: str = "policy.yaml",
    ) -> None:
        """`folder` is where relative paths start. An old version is given `drain` seconds to finish its requests.

        `policy` is the name of the policy in what is said of it.
        """
        self._folder = folder
        self._policy = policy
        self._load = load
        self._meters = meters
        self._now = now
        self._drain = drain
        self._entries: dict[HandlerSpec, _Entry] = {}
        self._known: dict[str, tuple[HandlerSpec, _Entry, Handling]] = {}
        """By route, of those that had a request: a specification takes longer to look up than all else here."""
        self._routes: tuple[Route, ...] = ()
        self._refused: dict[HandlerSpec, str] = {}
        self._lock = asyncio.Lock()
        self._leaving: dict[asyncio.Task[None], _Entry] = {}
        self.problem: str | None = None
        """Why the newest version of some handler is not in force; None when all are."""

    def open(self, route: Route, call: Call, asker: Asker) -> Passage:
        """Begin a request of a route that has a handler. Raises HandlerError when it is not there."""
        found = self._known.get(route.key)
        if found is None or found[0] is not route.handler:
            found = self._find(route)
        _, entry, handling = found
        entry.active += 1
        return Passage(handling, call, asker)

    def _find(self, route: Route) -> tuple[HandlerSpec, _Entry, Handling]:
        spec = route.handler
        entry = self._entries.get(spec) if spec is not None else None
        if entry is None or spec is None:  # a request that kept the table of a policy which has just left
            raise gone()
        handling = Handling(entry.run, route, spec, self._meters, self._now, entry.end)
        found = self._known[route.key] = (spec, entry, handling)
        return found

    def unready(self, route: Route) -> str | None:
        """Why a request of `route` would find no handler, in words for a health check; None when none is missing."""
        if route.handler is None or route.handler in self._entries:
            return None
        return f"the handler of {route.key} is not loaded"

    async def use(self, table: RouteTable) -> None:
        """Load what `table` needs and put it in force. Raises PolicyError, and then nothing has changed."""
        async with self._lock:
            await self._use(tuple(route for route in table.routes.values() if route.handler is not None))

    async def watch(
        self, pause: Callable[[float], Awaitable[None]], ask: Callable[[list[str]], None] | None = None
    ) -> None:
        """Put new versions of files in force, until cancelled. `pause` waits that many seconds.

        `ask` is told, with every look, which versions are not in force; `use` puts them there when it is time, and who
        was asked remembers what could not be used. Without it that is done here.
        """
        while True:
            await pause(POLL)
            found = {spec: (self._version(spec), entry.version) for spec, entry in self._entries.items()}
            changed = {spec: version for spec, (version, before) in found.items() if version != before}
            if not changed:
                self.problem = None
            elif ask is not None:
                ask(sorted(changed.values()))
            elif any(self._refused.get(spec) != version for spec, version in changed.items()):
                await self._refresh()

    async def stop(self) -> None:
        """Give everything back."""
        # Not cancelled: one that takes its handler down already would leave what it has not waited for.
        for entry in self._leaving.values():
            entry.over.set()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        entries, self._entries, self._known = self._entries, {}, {}
        await asyncio.gather(*(entry.run.stop() for entry in entries.values()))

    async def _refresh(self) -> None:
        async with self._lock:
            try:
                await self._use(self._routes)
            except PolicyError as error:
                log.error("a changed handler is not used, the one before it goes on: %s", error)  # noqa: TRY400
            else:
                log.info("a changed handler is in force")

    async def _use(self, routes: tuple[Route, ...]) -> None:
        specs = {route.handler: route for route in routes if route.handler is not None}
        fresh: dict[HandlerSpec, _Entry] = {}
        failed: list[Problem] = []
        turn = asyncio.Semaphore(AT_ONCE)

        async def load(spec: HandlerSpec, route: Route) -> None:
            version = self._version(spec)
            entry = self._entries.get(spec)
            if entry is not None and entry.version == version:
                return
            async with turn:
                try:
                    fresh[spec] = _Entry(await self._load(spec, self.path(spec), version), version)
                except LoadError as error:
                    self._refused[spec] = version
                    where = f"endpoints.{route.key.replace('/', '.components.')}.handler"
                    failed.append(Problem(where, spec.source_line, str(error)))

        try:
            await asyncio.gather(*(load(spec, route) for spec, route in specs.items()))
        except BaseException:
            await _stop(fresh)
            raise
        if failed:
            await _stop(fresh)
            refused = PolicyError(tuple(failed), self._policy)
            self.problem = str(refused)
            raise refused
        self._adopt(specs, fresh, routes)

    def _adopt(
        self, specs: Mapping[HandlerSpec, Route], fresh: dict[HandlerSpec, _Entry], routes: tuple[Route, ...]
    ) -> None:
        kept = {spec: entry for spec, entry in self._entries.items() if spec in specs and spec not in fresh}
        for spec, entry in self._entries.items():
            if kept.get(spec) is not entry:
                entry.leave()
                task = start(self._leave(entry), name=f"handler-leaves {spec.path}")
                self._leaving[task] = entry
                task.add_done_callback(self._leaving.pop)
        self._entries = kept | fresh
        self._known = {}
        self._routes = routes
        self._refused = {}
        self.problem = None

    async def _leave(self, entry: _Entry) -> None:
        try:
            async with asyncio.timeout(self._drain):
                await entry.over.wait()
        except TimeoutError:
            log.warning("%d requests outlived the handler that they began in", entry.active)
        finally:
            await entry.run.stop()

    def path(self, spec: HandlerSpec) -> Path:
        """Where the file of `spec` is."""
        return (self._folder / spec.path).resolve()

    def _version(self, spec: HandlerSpec) -> str:
        marks = hashlib.sha256()
        for file in _watched(self.path(spec)):
            try:
                status = file.stat()
            except OSError:
                continue
            marks.update(f"{file} {status.st_ino} {status.st_size} {status.st_mtime_ns}\n".encode())
        return marks.hexdigest()[:16]


async def _stop(entries: Mapping[HandlerSpec, _Entry]) -> None:
    await asyncio.gather(*(entry.run.stop() for entry in entries.values()))


def _watched(file: Path) -> Iterator[Path]:
    """The files whose change makes a new version: code and requirements in the handler's folder.

    Bounded, since a model.py may lie in a folder that holds the world, and this is looked at every second.
    """
    yield file
    yield file.parent / "requirements.txt"
    found = folders = 0
    for folder, inner, names in os.walk(file.parent):
        depth = len(Path(folder).relative_to(file.parent).parts)
        inner[:] = [] if depth == DEEPEST else sorted(name for name in inner if _may_hold_code(name))
        code = sorted(name for name in names if name.endswith(".py"))
        yield from (Path(folder, name) for name in code)
        found, folders = found + len(code), folders + 1
        if found >= WATCHED_FILES or folders >= WATCHED_FOLDERS:
            return


def _may_hold_code(folder: str) -> bool:
    return not folder.startswith(".") and folder not in {"__pycache__", "site-packages", "node_modules"}
