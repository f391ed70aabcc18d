"""The admin port: liveness, readiness, metrics, the policy in force; for operators and scrapers, never for clients.

Reads are free on loopback, where it listens; writes need the admin token, so that nothing on the machine can change
the process by accident. Answers are JSON with a fixed shape, except `/metrics`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import orjson

from backends.base import Headers
from backends.http.edge import Answer, BodyTooLarge, BudgetSpent, Exchange
from backends.meters import Meters
from backends.tasks import running

from ..policy_source import Policy
from ..services import Services
from .hosts import Hosts

READ_TIME = 5.0
"""Seconds a client has to send an admin request."""
LONGEST_BODY = 64 * 1024
"""Bytes of a body that are read, since some clients send one with whatever they ask."""

_RESET = re.compile(r"/admin/breakers/([A-Za-z0-9._-]{1,63})/reset")
_JSON: Headers = (("Content-Type", "application/json"),)
METRICS: Headers = (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),)


@dataclass(slots=True)
class State:
    """What the server knows of itself."""

    draining: bool = False
    loop_lag: float = 0.0
    """Seconds that the event loop was last late for a timer."""


class Admin:
    """Serves the admin port."""

    def __init__(
        self,
        services: Services,
        state: State,
        token: str | None,
        in_flight: Callable[[], int],
        names: str | None = None,
    ) -> None:
        """`names`: see `Hosts`."""
        self._services = services
        self._state = state
        self._token = token
        self._in_flight = in_flight
        self._hosts = Hosts(names)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        await answer(exchange, self._token, self, self._hosts)

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return as_json(status, {"error": what})

    async def read(self, path: str) -> Answer:
        """The answer to GET."""
        policy = self._services.policy
        match path:
            case "/livez":
                return as_json(200, {"live": True})
            case "/readyz":
                ready = not self._state.draining
                facts = {"ready": ready, "policy": policy.current.label, "draining": self._state.draining}
                return as_json(
                    200 if ready else 503, facts | {"problem": policy.problem or self._services.handlers.problem}
                )
            case "/metrics":
                extra = {
                    "pointsman_event_loop_lag_seconds": self._state.loop_lag,
                    "pointsman_log_lines_lost_total": float(self._services.log.lost),
                    "pointsman_spans_lost_total": float(self._services.telemetry.spans_lost),
                    "pointsman_policy_generation": float(policy.current.generation),
                    "pointsman_policy_stale": float(policy.problem is not None),
                    "pointsman_handler_stale": float(self._services.handlers.problem is not None),
                }
                return Answer(200, METRICS, up_to_date(self._services).render(extra).encode())
            case "/admin/policy":
                return as_json(200, policy_facts(policy, self._in_flight()))
            case "/admin/limits":
                return as_json(200, {"limits": self._limits()})
            case "/admin/breakers":
                return as_json(200, {"breakers": self._breakers()})
            case "/admin/temperatures":
                return as_json(200, {"temperatures": self._temperatures()})
            case "/admin/tasks":
                return as_json(200, {"tasks": dict(sorted(running().items()))})
            case _:
                known = (
                    "/livez, /readyz, /metrics, GET /admin/policy, /admin/breakers, /admin/limits, "
                    "/admin/temperatures, /admin/tasks, POST /admin/reload, /admin/breakers/TARGET/reset"
                )
                return as_json(404, {"error": f"nothing at {path}; there is {known}"})

    def _breakers(self) -> list[dict[str, object]]:
        found = self._services.book.breakers(self._services.now())
        return [{"target": name, "replica": index, "state": state.name.lower()} for name, index, state in found]

    def _limits(self) -> list[dict[str, object]]:
        keys = ("target", "limit", "in_flight", "waiting")
        return [dict(zip(keys, state, strict=True)) for state in self._services.gates.states()]

    def _temperatures(self) -> list[dict[str, object]]:
        return [
            {
                "target": seen.target,
                "state": seen.warmth.name.lower(),
                "cold_for": None if seen.since is None else round(seen.since, 1),
                "restore_median": round(seen.restore.median, 1) if seen.restore.measured else None,
                "restore_p90": round(seen.restore.p90, 1) if seen.restore.measured else None,
                "restore_assumed": None if seen.restore.measured else round(seen.restore.p90, 1),
                "restores_measured": seen.restore.measured,
                "waiting": seen.waiting,
                "copies": seen.copies,
            }
            for seen in self._services.temperatures.seen(self._services.now())
        ]

    async def write(self, path: str) -> Answer:
        """The answer to POST, of someone who may write."""
        if reset := _RESET.fullmatch(path):
            known = self._services.book.reset(reset[1])
            return as_json(200 if known else 404, {"target": reset[1], "reset": known, "breakers": self._breakers()})
        if path != "/admin/reload":
            there = "POST /admin/reload, POST /admin/breakers/TARGET/reset"
            return as_json(404, {"error": f"nothing to write at {path}; there is {there}"})
        policy = self._services.policy
        changed = await policy.reload()
        return as_json(200 if changed else 409, {"policy": policy.current.label, "problem": policy.problem})


class Operated(Protocol):
    """What operators look at and change: one process, or several."""

    async def read(self, path: str) -> Answer:
        """The answer to GET."""
        ...

    async def write(self, path: str) -> Answer:
        """The answer to POST, of someone who may write."""
        ...


async def answer(exchange: Exchange, token: str | None, operated: Operated, hosts: Hosts) -> None:
    """Answer one request on an admin port; `token` is what writes ask for, None where there are none."""
    try:
        await exchange.read_body(LONGEST_BODY, exchange.arrived + READ_TIME)
    except (BodyTooLarge, BudgetSpent) as error:
        await exchange.reply(
            as_json(413 if isinstance(error, BodyTooLarge) else 429, {"error": "nothing here reads bodies"})
        )
        return
    path = exchange.raw_path.split("?", 1)[0]
    if (misled := hosts.refusal(exchange.headers)) is not None:
        await exchange.reply(as_json(421, {"error": misled}))
    elif exchange.method in {"GET", "HEAD"}:
        await exchange.reply(await operated.read(path))
    elif exchange.method == "POST":
        await exchange.reply(_refusal(exchange, token) or await operated.write(path))
    else:
        await exchange.reply(as_json(405, {"error": f"{exchange.method} is not offered"}))


def _refusal(exchange: Exchange, token: str | None) -> Answer | None:
    """Why the client of `exchange` may not write."""
    if token is None:
        return as_json(403, {"error": "writes are off: start with --admin-token (or POINTSMAN_ADMIN_TOKEN)"})
    given = next((value for name, value in exchange.headers if name.lower() == "authorization"), "")
    if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {token}".encode()):
        return as_json(401, {"error": "send the admin token as Authorization: Bearer TOKEN"})
    return None


def up_to_date(services: Services) -> Meters:
    """The process's meters, with what they do not see by themselves as it is now."""
    now = services.now()
    services.meters.breakers(services.book.breakers(now))
    services.meters.limits.states(services.gates.states())
    services.meters.cold.temperatures(services.temperatures.states(now))
    return services.meters


def policy_facts(policy: Policy, in_flight: int) -> dict[str, object]:
    """The policy in force, as operators see it."""
    table = policy.current.table
    return {
        "policy": policy.current.label,
        "problem": policy.problem,
        "in_flight": in_flight,
        "routes": [
            {
                "endpoint": route.endpoint,
                "component": route.component,
                "serve": [{"target": each.target.name, "weight": each.weight} for each in route.serve],
                "fallback": [target.name for target in route.fallback],
                "last_resort": route.last_resort.name if route.last_resort is not None else None,
                "owner": route.owner,
            }
            for route in table.routes.values()
        ],
    }


def as_json(status: int, facts: object) -> Answer:
    """An answer with a JSON document."""
    return Answer(status, _JSON, orjson.dumps(facts) + b"\n")
