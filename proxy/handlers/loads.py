"""Loading a handler where its spec says: the one place that chooses between the three ways to run."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.meters import Meters
from backends.tasks import start
from policies.table import HandlerSpec

from ..world import Loads, untold
from .child import LOAD_SECONDS, interpreter, start_child
from .environments import build
from .errors import LoadError, too_long
from .inline import load_inline
from .processes import Processes
from .runs import Run
from .threads import load_threads

log = logging.getLogger("pointsman.handlers")

OURS = "POINTSMAN_"
"""Variables that a customer's code does not get: the admin token is one."""
STILL = 1.0
"""Seconds between two words about an environment that is being built."""


class Loader:
    """Loads handlers."""

    def __init__(
        self,
        meters: Meters,
        now: Callable[[], float],
        variables: Mapping[str, str],
        cache: Path,
        seconds: float = LOAD_SECONDS,
        loads: Loads = untold,
    ) -> None:
        """`cache` is where environments for requirements.txt are kept; `seconds` is the limit for each file."""
        self._meters = meters
        self._now = now
        self._variables = {name: value for name, value in variables.items() if not name.startswith(OURS)}
        self._cache = cache
        self._seconds = seconds
        self._loads = loads
        self._stuck: Counter[Path] = Counter()
        """Files whose import still stands in a thread: Python would have the next one of that name wait for it."""

    async def load(self, spec: HandlerSpec, file: Path, version: str) -> Run:
        """The handler in `file`. Raises LoadError."""
        if not file.is_file():  # noqa: ASYNC240 - one look, at load
            message = f"{file} is not there; name the customer's model.py, from the policy's own folder"
            raise LoadError(message)
        requirements = file.parent / "requirements.txt"
        has_requirements = requirements.is_file()
        if spec.run == "process":
            python = interpreter()
            if has_requirements:
                python = await self._built(requirements)
            await self._loads(f"the handler {file}")
            child = functools.partial(start_child, python, file, version, self._variables, seconds=self._seconds)
            return await Processes(spec, child).load()
        if has_requirements:
            log.warning("%s is not installed: only run: process has an environment of its own", requirements)
        await self._loads(f"the handler {file}")
        try:
            async with asyncio.timeout(self._seconds):
                if spec.run == "thread":
                    return await load_threads(spec, file, f"{version}{'+' * self._stuck[file]}")
                return await load_inline(file, version, self._now, functools.partial(self._meters.held, spec.path))
        except TimeoutError as error:
            self._stuck[file] += 1
            raise too_long(file, self._seconds) from error

    async def _built(self, requirements: Path) -> str:
        """The interpreter of the environment. It has a limit of its own; another worker may be building it."""
        builds = start(asyncio.to_thread(build, requirements, self._cache, self._variables), name="handler-environment")
        try:
            while not builds.done():
                await self._loads(f"the environment for {requirements}")
                await asyncio.wait({builds}, timeout=STILL)
            return builds.result()
        finally:
            builds.cancel()
