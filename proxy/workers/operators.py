"""The admin port of several workers: the same paths as one process has, answered for all of them.

What the supervisor knows it answers by itself; anything else is put to every serving worker and the answers are made
into one: rows of lists get the number of their worker, counts by name are added, and what differs is shown by worker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from backends.http.edge import Answer, Exchange

from ..faces.admin import METRICS, State, answer, as_json, policy_facts
from ..faces.hosts import Hosts
from ..policy_source import Policy
from .counts import Counts
from .messages import Answered
from .pool import Pool


class Operators:
    """Serves the admin port of a supervisor."""

    def __init__(
        self, policy: Policy, pool: Pool, counts: Counts, state: State, token: str | None, names: str | None = None
    ) -> None:
        """`names`: see `Hosts`."""
        self._policy = policy
        self._pool = pool
        self._counts = counts
        self._state = state
        self._token = token
        self._hosts = Hosts(names)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        await answer(exchange, self._token, self, self._hosts)

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return as_json(status, {"error": what})

    async def read(self, path: str) -> Answer:
        """The answer to GET."""
        policy = self._policy
        match path:
            case "/livez":
                return as_json(200, {"live": True})
            case "/readyz":
                return self._ready()
            case "/metrics":
                await self._pool.refresh()
                page = self._counts.page(self._pool.slots, policy.current.generation, policy.problem is not None)
                return Answer(200, METRICS, page.encode())
            case "/admin/policy":
                await self._pool.refresh()
                in_flight = sum(facts.in_flight for facts in self._pool.facts())
                return as_json(200, policy_facts(policy, in_flight))
            case _:
                return self._of_all(await self._pool.ask("GET", path))

    async def write(self, path: str) -> Answer:
        """The answer to POST, of someone who may write."""
        if path != "/admin/reload":
            return self._of_all(await self._pool.ask("POST", path))
        changed = await self._policy.reload()
        return as_json(200 if changed else 409, {"policy": self._policy.current.label, "problem": self._policy.problem})

    def _ready(self) -> Answer:
        """Ready while one worker serves, the others being started again."""
        ready = not self._state.draining and self._pool.serving > 0
        problems = [self._policy.problem, *(facts.problem for facts in self._pool.facts()), *self._pool.troubles()]
        workers = [
            {
                "worker": slot.number,
                "state": slot.state,
                "pid": slot.child.process.pid if slot.child else None,
                "policy": slot.child.label if slot.child else None,
                "restarts": slot.restarts,
                "loading": slot.child.loading if slot.child and slot.state == "starting" else None,
                "ended": slot.ended,
            }
            for slot in self._pool.slots
        ]
        facts = {
            "ready": ready,
            "policy": self._policy.current.label,
            "draining": self._state.draining,
            "problem": next((problem for problem in problems if problem), None),
            "pid": os.getpid(),
            "workers": workers,
        }
        return as_json(200 if ready else 503, facts)

    def _of_all(self, answers: Mapping[int, Answered]) -> Answer:
        if not answers:
            return as_json(503, {"error": "no worker answers"})
        together = merged({number: each.document for number, each in answers.items()})
        return as_json(min(each.status for each in answers.values()), together)


def merged(documents: Mapping[int, Any]) -> dict[str, Any]:
    """One JSON object out of those of several workers, by number."""
    keys = dict.fromkeys(key for document in documents.values() for key in document)
    return {key: _one({number: document.get(key) for number, document in documents.items()}) for key in keys}


def _one(values: Mapping[int, Any]) -> Any:
    found = list(values.values())
    if all(isinstance(value, list) for value in found):
        return [
            {"worker": number, **row} if isinstance(row, dict) else row
            for number, rows in values.items()
            for row in rows
        ]
    if all(_is_counts(value) for value in found):
        names = sorted({name for value in found for name in value})
        return {name: sum(value.get(name, 0) for value in found) for name in names}
    if all(isinstance(value, bool) for value in found):
        return any(found)
    if all(value == found[0] for value in found):
        return found[0]
    return {str(number): value for number, value in values.items()}


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(count, int) for count in value.values())
