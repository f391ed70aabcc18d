"""`/_emulator/*`: faults, clock, ledger, calls, models and acknowledgements, for tests and for people who try things.

Bodies are JSON and read as strictly as the configuration; a problem is status 400 (or 404 for an unknown model) with
`{"error": text}` that says what to send instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from .answers import Answer, Received
from .clock import Clock
from .faults import Fault
from .hosting import Hosted
from .journal import Journal
from .reading import EmulatorConfigError, seconds

PREFIX = "/_emulator"


class ControlError(Exception):
    """A wrong control request; `status` and text for whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """The control API over the emulator's live parts."""

    def __init__(self, models: Mapping[str, Hosted], clock: Clock, journal: Journal) -> None:
        self._models = models
        self._clock = clock
        self._journal = journal

    def answer(self, received: Received) -> Answer:
        """The answer to one control request."""
        try:
            return _json(200, self._dispatch(received))
        except ControlError as error:
            return _json(error.status, {"error": str(error)})

    def _dispatch(self, received: Received) -> object:
        path = received.path.removeprefix(PREFIX).strip("/")
        actions: Mapping[tuple[str, str], Callable[[Received], object]] = {
            ("GET", ""): lambda _: {"stand_in": True, "models": list(self._models), "clock": self._time()},
            ("GET", "faults"): lambda _: {name: _dumped(hosted.faults) for name, hosted in self._models.items()},
            ("POST", "faults"): self._faults,
            ("DELETE", "faults"): self._faults,
            ("GET", "clock"): lambda _: self._time(),
            ("POST", "clock"): self._move,
            ("GET", "ledger"): lambda _: {name: hosted.ledger.report() for name, hosted in self._models.items()},
            ("GET", "models"): lambda _: {name: hosted.state() for name, hosted in self._models.items()},
            ("GET", "calls"): lambda _: [seen.report() for seen in self._journal.calls],
            ("DELETE", "calls"): lambda _: self._journal.calls.clear(),
            ("POST", "ack"): self._ack,
        }
        action = actions.get((received.method, path))
        if action is None:
            there = ", ".join(f"{method} {PREFIX}/{name}".rstrip("/") for method, name in actions)
            raise ControlError(404, f"no {received.method} {received.path}; there are {there}")
        return action(received)

    def _faults(self, received: Received) -> object:
        if received.method == "DELETE" and not received.body:
            return {name: _dumped(hosted.set_faults([])) for name, hosted in self._models.items()}
        body = _body(received, {"model"} if received.method == "DELETE" else {"model", "faults"})
        hosted = self._model(body)
        try:
            old = hosted.set_faults(body.get("faults", []))
        except EmulatorConfigError as error:
            raise ControlError(400, str(error)) from error
        return {"model": hosted.name, "were": _dumped(old)}

    def _move(self, received: Received) -> object:
        body = _body(received, {"advance", "freeze"})
        try:
            step = seconds(body.get("advance", 0))
        except ValueError as error:
            raise ControlError(400, f"advance: {error}") from error
        if not isinstance(body.get("freeze", False), bool):
            raise ControlError(400, "freeze: true stops real time, false lets it in again")
        if step < 0:
            raise ControlError(400, "advance: the clock only moves forward")
        if "freeze" in body:
            self._clock.freeze(body["freeze"])
        self._clock.advance(step)
        return self._time()

    def _ack(self, received: Received) -> object:
        body = _body(received, {"model", "part"})
        part = body.get("part")
        if not isinstance(part, int) or isinstance(part, bool) or part < 1:
            raise ControlError(400, "part: a number from 1, the last part that arrived")
        return {"streams": self._model(body).acknowledge(part)}

    def _model(self, body: Mapping[str, Any]) -> Hosted:
        hosted = self._models.get(str(body.get("model")))
        if hosted is None:
            raise ControlError(404, f"model: there is no {body.get('model')!r}; there are {', '.join(self._models)}")
        return hosted

    def _time(self) -> object:
        return {"now": self._clock.now(), "frozen": self._clock.frozen}


def _dumped(faults: Iterable[Fault]) -> object:
    return [fault.model_dump(exclude_defaults=True) for fault in faults]


def _body(received: Received, keys: set[str]) -> Mapping[str, Any]:
    try:
        value = orjson.loads(received.body)
    except orjson.JSONDecodeError as error:
        raise ControlError(400, f"the body is not JSON; send an object with {', '.join(sorted(keys))}") from error
    if not isinstance(value, dict) or not set(value) <= keys:
        raise ControlError(400, f"send an object with {', '.join(sorted(keys))} and nothing else")
    return value


def _json(status: int, value: object) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), orjson.dumps(value))
