"""Clients of a rehearsal: they try again as botocore does, and what they saw is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from botocore.retries import standard

from backends.http.transport import Outgoing, TransportError
from proxy.rehearsal import clients
from proxy.rehearsal.clients import LONGEST, MODES, TOLD, Calls, call
from proxy.rehearsal.loop import VirtualLoop

Said = tuple[int | None, dict[str, str]]
"""A status, None for a broken connection, and headers."""
OK: Said = (200, {})


class Answer:
    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self._headers = headers

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    async def read(self, limit: int) -> bytes:
        return b""

    async def aclose(self) -> None:
        return


class Server:
    """Gives these answers in turn."""

    def __init__(self, answers: Sequence[Said]) -> None:
        self._answers = list(answers)
        self.moments: list[float] = []

    async def send(self, request: Outgoing, *, deadline: float, connect_timeout: float) -> Answer:
        self.moments.append(asyncio.get_running_loop().time())
        status, headers = self._answers.pop(0)
        if status is None:
            message = "broken"
            raise TransportError(message, sent=True)
        return Answer(status, headers)


def called(mode: str, *answers: Said, draw: float = 1.0) -> tuple[Calls, list[float]]:
    """What the client saw, and its waits in seconds between attempts."""
    server, seen = Server(answers), Calls()

    async def whole() -> None:
        asked = Outgoing("POST", "http://x/", (), b"")
        await call(server, asked, MODES[mode], lambda: draw, seen)  # type: ignore[arg-type]  # as far as it is used

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(whole())
    waits = [later - sooner for sooner, later in zip(server.moments, server.moments[1:], strict=False)]
    return seen, waits


def test_none_takes_the_first_answer() -> None:
    """Whatever it is."""
    assert called("none", (503, {})) == (Calls(1, 0, 0, 1, 0), [])
    assert called("none", (None, {})) == (Calls(1, 0, 0, 1, 1), [])


def test_standard_tries_three_times() -> None:
    """After up to 50 and 100 ms; an answer in the end is saved, none is failed."""
    seen, waits = called("standard", (503, {}), (None, {}), OK)
    assert seen == Calls(1, 2, 1, 0, 0)
    assert waits == pytest.approx([0.05, 0.1])
    seen, _ = called("standard", (500, {}), (502, {}), (504, {}))
    assert seen == Calls(1, 2, 0, 1, 0)


def test_legacy_tries_five_times() -> None:
    """After up to 1, 2, 4 and 8 seconds, a 429 without a code as well."""
    seen, waits = called("legacy", *[(429, {})] * 4, OK, draw=0.5)
    assert seen == Calls(1, 4, 1, 0, 0)
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0])


def test_standard_leaves_a_429_that_is_no_throttling() -> None:
    """SageMaker's cold model; with a code that means throttling it waits for up to a second."""
    cold = (429, {"x-amzn-errortype": "ModelNotReadyException"})
    assert called("standard", cold)[0] == Calls(1, 0, 0, 1, 0)
    seen, waits = called("standard", (400, {"x-amzn-errortype": "ThrottlingException:http://x"}), OK, draw=0.5)
    assert seen.saved == 1
    assert waits == pytest.approx([0.5])


def test_what_the_server_says_is_waited_for() -> None:
    """No longer than five seconds beyond its own time, no shorter than that; a word that is no number is none."""
    for told, waited in (("2000", 2.0), ("60000", 0.05 + TOLD), ("1", 0.05), ("soon", 0.05)):
        assert called("standard", (503, {"x-amz-retry-after": told}), OK)[1] == pytest.approx([waited])


def test_the_facts_are_botocores() -> None:
    """Statuses, codes, attempts and limits, as the version that is installed has them."""
    assert set(standard.TransientRetryableChecker._TRANSIENT_STATUS_CODES) == clients._TRANSIENT
    assert set(standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES) == clients._THROTTLED
    backoff = standard.ExponentialBackoff
    assert (backoff._MAX_BACKOFF, backoff._RETRY_AFTER_MAX_ADDITIONAL) == (LONGEST, TOLD)
    assert MODES["standard"].attempts == standard.DEFAULT_MAX_ATTEMPTS
    scales = backoff._DEFAULT_BACKOFF_CONFIG
    assert MODES["standard"].base == scales["non_throttling_base_scale"]
    assert MODES["standard"].throttled == scales["throttling_base_scale"]
