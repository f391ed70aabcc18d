"""`/_emulator/*`: faults, clock, ledger, calls, models and acknowledgements, for tests and for people who try things.

Bodies are JSON and read as strictly as the configuration; a problem is status 400 (or 404 for an unknown model) with
`{"error": text}` that says what to send instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .answers import Answer, Received
from .clock import Clock
from .config import EmulatorConfigError, seconds
from .hosting import Hosted
from .journal import Journal

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
        match (received.method, path):
            case ("GET", ""):
                return {"stand_in": True, "models": list(self._models), "clock": self._time()}
            case ("GET", "faults"):
                return {name: [_fault(fault) for fault in hosted.faults] for name, hosted in self._models.items()}
            case ("POST" | "DELETE", "faults"):
                return self._faults(received)
            case ("GET", "clock"):
                return self._time()
            case ("POST", "clock"):
                return self._move(_body(received, {"advance", "freeze"}))
            case ("GET", "ledger"):
                return {name: hosted.ledger.report() for name, hosted in self._models.items()}
            case ("GET", "models"):
                return {name: hosted.state() for name, hosted in self._models.items()}
            case ("GET", "calls"):
                return [seen.report() for seen in self._journal.calls]
            case ("DELETE", "calls"):
                self._journal.calls.clear()
                return []
            case ("POST", "ack"):
                return self._ack(_body(received, {"model", "part"}))
            case _:
                raise ControlError(
                    404, f"no {received.method} {received.path}; there are faults, clock, ledger, calls, models and ack"
                )

    def _faults(self, received: Received) -> object:
        if received.method == "DELETE" and not received.body:
            return {name: [_fault(fault) for fault in hosted.set_faults([])] for name, hosted in self._models.items()}
        body = _body(received, {"model"} if received.method == "DELETE" else {"model", "faults"})
        hosted = self._model(body)
        try:
            old = hosted.set_faults(body.get("faults", []))
        except EmulatorConfigError as error:
            raise ControlError(400, str(error)) from error
        return {"model": hosted.name, "were": [_fault(fault) for fault in old]}

    def _move(self, body: Mapping[str, Any]) -> object:
        try:
            step = seconds(body.get("advance", 0))
            if isinstance(body.get("freeze"), bool):
                self._clock.freeze(body["freeze"])
            self._clock.advance(step)
        except ValueError as error:
            raise ControlError(400, f"advance: {error}") from error
        return self._time()

    def _ack(self, body: Mapping[str, Any]) -> object:
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


def _fault(fault: Any) -> object:
    return fault.model_dump(exclude_defaults=True)


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
