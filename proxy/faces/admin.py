"""The admin port: liveness, readiness, metrics, the policy in force; for operators and scrapers, never for clients.

Reads are free on loopback, where it listens; writes need the admin token, so that nothing on the machine can change
the process by accident. Answers are JSON with a fixed shape, except `/metrics`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from backends.base import Headers
from backends.http.edge import Answer, Exchange
from backends.tasks import running

from ..services import Services

READ_TIME = 5.0
"""Seconds a client has to send an admin request."""

_RESET = re.compile(r"/admin/breakers/([A-Za-z0-9._-]{1,63})/reset")
_JSON: Headers = (("Content-Type", "application/json"),)
_METRICS: Headers = (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),)


@dataclass(slots=True)
class State:
    """What the server knows of itself."""

    draining: bool = False
    loop_lag: float = 0.0
    """Seconds that the event loop was last late for a timer."""


class Admin:
    """Serves the admin port."""

    def __init__(self, services: Services, state: State, token: str | None, in_flight: Callable[[], int]) -> None:
        self._services = services
        self._state = state
        self._token = token
        self._in_flight = in_flight

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        await exchange.read_body(64 * 1024, exchange.arrived + READ_TIME)
        path = exchange.raw_path.split("?", 1)[0]
        if exchange.method in {"GET", "HEAD"}:
            await exchange.reply(self._read(path))
        elif exchange.method == "POST":
            await exchange.reply(await self._write(path, exchange))
        else:
            await exchange.reply(_answer(405, {"error": f"{exchange.method} is not offered"}))

    def malformed(self, status: int, what: str) -> Answer:
        """The answer to bytes that are no HTTP request."""
        return _answer(status, {"error": what})

    def _read(self, path: str) -> Answer:
        policy = self._services.policy
        match path:
            case "/livez":
                return _answer(200, {"live": True})
            case "/readyz":
                ready = not self._state.draining
                facts = {"ready": ready, "policy": policy.current.label, "draining": self._state.draining}
                return _answer(
                    200 if ready else 503, facts | {"problem": policy.problem or self._services.handlers.problem}
                )
            case "/metrics":
                extra = {
                    "pointsman_event_loop_lag_seconds": self._state.loop_lag,
                    "pointsman_log_lines_lost_total": float(self._services.log.lost),
                    "pointsman_spans_lost_total": float(self._services.telemetry.spans_lost),
                    "pointsman_policy_generation": float(policy.current.generation),
                    "pointsman_policy_stale": float(policy.problem is not None),
                }
                self._services.meters.breakers(self._services.book.breakers(self._services.now()))
                return Answer(200, _METRICS, self._services.meters.render(extra).encode())
            case "/admin/policy":
                return _answer(200, self._policy())
            case "/admin/limits":
                return _answer(200, {"limits": self._limits()})
            case "/admin/breakers":
                return _answer(200, {"breakers": self._breakers()})
            case "/admin/tasks":
                return _answer(200, {"tasks": dict(sorted(running().items()))})
            case _:
                known = (
                    "/livez, /readyz, /metrics, GET /admin/policy, /admin/breakers, /admin/limits, /admin/tasks, "
                    "POST /admin/reload"
                )
                return _answer(404, {"error": f"nothing at {path}; there is {known}"})

    def _policy(self) -> dict[str, object]:
        policy = self._services.policy
        table = policy.current.table
        return {
            "policy": policy.current.label,
            "problem": policy.problem,
            "in_flight": self._in_flight(),
            "routes": [
                {
                    "endpoint": route.endpoint,
                    "component": route.component,
                    "serve": [{"target": each.target.name, "weight": each.weight} for each in route.serve],
                    "fallback": [target.name for target in route.fallback],
                    "owner": route.owner,
                }
                for route in table.routes.values()
            ],
        }

    def _breakers(self) -> list[dict[str, object]]:
        found = self._services.book.breakers(self._services.now())
        return [{"target": name, "replica": index, "state": state.name.lower()} for name, index, state in found]

    def _limits(self) -> list[dict[str, object]]:
        keys = ("target", "limit", "in_flight", "waiting")
        return [dict(zip(keys, state, strict=True)) for state in self._services.gates.states()]

    async def _write(self, path: str, exchange: Exchange) -> Answer:
        if self._token is None:
            return _answer(403, {"error": "writes are off: start with --admin-token (or POINTSMAN_ADMIN_TOKEN)"})
        given = next((value for name, value in exchange.headers if name.lower() == "authorization"), "")
        if not hmac.compare_digest(given.encode(errors="replace"), f"Bearer {self._token}".encode()):
            return _answer(401, {"error": "send the admin token as Authorization: Bearer TOKEN"})
        if reset := _RESET.fullmatch(path):
            known = self._services.book.reset(reset[1])
            return _answer(200 if known else 404, {"target": reset[1], "reset": known, "breakers": self._breakers()})
        if path != "/admin/reload":
            there = "POST /admin/reload, POST /admin/breakers/TARGET/reset"
            return _answer(404, {"error": f"nothing to write at {path}; there is {there}"})
        policy = self._services.policy
        changed = await policy.reload()
        return _answer(200 if changed else 409, {"policy": policy.current.label, "problem": policy.problem})


def _answer(status: int, facts: object) -> Answer:
    return Answer(status, _JSON, orjson.dumps(facts) + b"\n")
