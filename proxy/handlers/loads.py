"""Loading a handler where its spec says: the one place that chooses between the three ways to run."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.meters import Meters
from policies.table import HandlerSpec

from .child import interpreter, start_child
from .environments import build
from .errors import LoadError
from .inline import load_inline
from .processes import Processes
from .runs import Run
from .threads import load_threads

log = logging.getLogger("pointsman.handlers")

OURS = "POINTSMAN_"
"""Variables that a customer's code does not get: the admin token is one."""


class Loader:
    """Loads handlers."""

    def __init__(self, meters: Meters, now: Callable[[], float], variables: Mapping[str, str], cache: Path) -> None:
        """`cache` is where environments for requirements.txt are kept."""
        self._meters = meters
        self._now = now
        self._variables = {name: value for name, value in variables.items() if not name.startswith(OURS)}
        self._cache = cache

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
                python = await asyncio.to_thread(build, requirements, self._cache, self._variables)
            start = functools.partial(start_child, python, file, version, self._variables)
            return await Processes(spec, start).load()
        if has_requirements:
            log.warning("%s is not installed: only run: process has an environment of its own", requirements)
        if spec.run == "thread":
            return await load_threads(spec, file, version)
        return await load_inline(file, version, self._now, functools.partial(self._meters.held, spec.path))
