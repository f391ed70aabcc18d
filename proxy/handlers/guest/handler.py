"""From a file to a program: load it, recognise its convention, put the adapter of that convention around it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

from .conventions import DJL, DJL_FORMATTERS, MARKS, NAMES, NATIVE, SCRIPT, Recognised, recognise
from .djl import Handle
from .formatters import DjlFormatters, Standards
from .loading import Folder, own_trace
from .native import Hook, Native, Program
from .scripts import Script
from .shapes import misfits
from .shims import MARK, stand_ins


class Unusable(Exception):
    """The file cannot be a handler. The message says why and what to do, with the customer's own frames."""


class Loaded:
    """A customer's file, loaded. `close` takes it out of the import system."""

    def __init__(self, program: Program, recognised: Recognised, folder: Folder) -> None:
        self.program = program
        self.recognised = recognised
        self.folder = folder.file.parent
        self._module = folder

    def close(self) -> None:
        """Forget the modules; a request on its way keeps what it has."""
        self._module.forget()


async def load(file: Path, version: str = "", *, blocking: bool = True) -> Loaded:
    """Load a handler and run what its convention runs at load. Raises Unusable.

    `version` keeps two versions of one file apart in the import system. `blocking`: hooks may wait without holding up
    anyone else, which is false in the proxy's own event loop.
    """
    name = "pointsman_handler_" + hashlib.sha256(f"{file}\n{version}".encode()).hexdigest()[:16]
    folder = Folder(file, name, stand_ins())
    try:
        module = folder.load()
    except (Exception, SystemExit) as error:
        message = f"cannot be loaded:\n{own_trace(error, file.parent)}"
        raise Unusable(message) from error
    try:
        marked = _hooks(module)
        recognised = recognise(marked)
        _refuse(recognised, marked, blocking)
        return Loaded(await _program(recognised.convention, marked, file.parent), recognised, folder)
    except BaseException:
        folder.forget()
        raise


def _refuse(recognised: Recognised, hooks: dict[str, Hook], blocking: bool) -> None:
    problems = [f"{finding.name} {finding.text}" for finding in recognised.problems] or list(misfits(hooks))
    if problems:
        raise Unusable("; ".join(problems))
    if recognised.convention == DJL and not blocking:
        message = "handle waits for its generate call, which the proxy's own loop must not: say run: process"
        raise Unusable(message)


async def _program(convention: str | None, hooks: dict[str, Hook], folder: Path) -> Program:
    if convention == NATIVE:
        return Native(hooks)
    if convention == DJL_FORMATTERS:
        return DjlFormatters(hooks)
    program: Script | Handle | Standards
    if convention == SCRIPT:
        program = Script(hooks, folder)
    elif convention == DJL:
        program = Handle(hooks["handle"], folder)
    else:
        return Standards(hooks)
    try:
        await program.start()
    except (Exception, SystemExit) as error:
        message = f"failed when it was loaded:\n{own_trace(error, folder)}"
        raise Unusable(message) from error
    return program


def _hooks(module: ModuleType) -> dict[str, Hook]:
    """The functions of a module that have a meaning, by their names in `conventions`."""
    found: dict[str, Hook] = {}
    for name, value in vars(module).items():
        if not callable(value):
            continue
        mark: Any = getattr(value, MARK, None)
        if isinstance(mark, str) and mark in MARKS:
            found.setdefault(MARKS[mark], value)
        elif name in NAMES:
            found[name] = value
    return found
