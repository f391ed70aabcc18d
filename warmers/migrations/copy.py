"""Where migrations stood when that was last heard, in a file of this machine.

It is for a process that starts while the shared state can't be reached: without it a restart would send everything to
old targets that may have been scaled in.

A copy that is older than `KEPT` is not believed: by then somebody will have moved things by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from policies.migration_state import State

KEPT = 86_400.0
"""Seconds for which a copy is believed."""
AGAIN = 60.0
"""Seconds after which an unchanged copy is written again, so that its age says when the state was last reached."""


class Copy:
    """One file for each shared state. Processes of one machine share it: whoever writes last is right."""

    def __init__(self, folder: Path, address: str, worker: str) -> None:
        """`address` is that of the shared state; `worker` a name that no other process has."""
        name = hashlib.sha256(address.encode()).hexdigest()[:16]  # the address may hold a password
        self._path = folder / f"{name}.json"
        self._new = folder / f"{name}.{worker}.new"
        self._written: tuple[float, Mapping[str, State]] | None = None

    def keep(self, states: Mapping[str, State], now: float) -> None:
        """Write it down, if there is anything new to write. Raises OSError."""
        if self._written is not None and self._written[1] == states and now - self._written[0] < AGAIN:
            return
        text = json.dumps({"at": now, "states": {name: one.to_json().decode() for name, one in states.items()}})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._new.write_text(text)
        os.replace(self._new, self._path)
        self._written = now, dict(states)

    def read(self, now: float) -> tuple[float, dict[str, State]] | None:
        """How old it is, and what it says; None when there is none, or none to be believed. Raises nothing."""
        try:
            found = json.loads(self._path.read_text())
            age = now - float(found["at"])
            states = {str(name): State.from_json(text.encode()) for name, text in found["states"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return (max(0.0, age), states) if age <= KEPT else None
