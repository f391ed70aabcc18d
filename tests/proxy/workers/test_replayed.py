"""A signed request that somebody has captured, and several workers: none of them takes it once it was seen."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.keys import Key, Principal, derived, digest, fresh_id, line
from tests.proxy.test_auth import signed

from .serving import BODY, Serving, end, model, policy_of, served
from .test_ways import answered, asked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MASTER = b"m" * 43
ID = fresh_id(b"a" * 11)
SECRET = derived(MASTER, ID)
CLIENTS = 12


def test_a_captured_request_is_refused_by_every_worker(tmp_path: Path) -> None:
    """Also by one that is started after a `kill -9`, and by the workers of a successor."""
    keys, secret = tmp_path / "keys", tmp_path / "secret"
    keys.write_text(line(Key(ID, digest(SECRET), Principal("team-a", ("chat",)))))
    secret.write_bytes(MASTER)
    for each in (keys, secret):
        each.chmod(0o600)
    words = ("--keys", str(keys), "--keys-secret", str(secret))
    with model() as upstream, served(tmp_path, policy_of(upstream), *words) as running:
        captured = request()
        with asked(running.port, path=captured) as connection:
            assert answered(connection) == "200"
        while statuses(running, captured, 1) == {"200": 1}:
            time.sleep(0.05)  # for two seconds equal signatures are of equal requests
        assert statuses(running, captured) == {"403": CLIENTS}
        victim = running.pids()[0]
        os.kill(victim, signal.SIGKILL)
        while victim in (now := running.pids()) or len(now) < 2 or running.value("pointsman_worker_up") < 2:
            time.sleep(0.02)
        assert statuses(running, captured) == {"403": CLIENTS}
        running.process.send_signal(signal.SIGUSR2)
        running.until("has taken over")
        running.process.wait(60)
        try:
            assert statuses(running, captured) == {"403": CLIENTS}
            assert statuses(running, request(), 1) == {"200": 1}
        finally:
            end(running.ready()["pid"])


def request() -> bytes:
    """A request that is signed now."""
    fields = signed(ID, SECRET, BODY, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    told = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() != "content-length")
    head = f"POST /endpoints/chat/invocations HTTP/1.1\r\n{told}Content-Length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


def statuses(running: Serving, captured: bytes, clients: int = CLIENTS) -> Counter[str]:
    """What clients of both workers are told, who say the same."""
    while True:
        with ExitStack() as opened:
            connections = [opened.enter_context(asked(running.port, path=captured)) for _ in range(clients)]
            told = Counter(answered(connection) for connection in connections)
            if clients == 1 or min(shares(running)) > 0:
                return told


def shares(running: Serving) -> list[float]:
    """Connections of each worker."""
    return [running.value(f'pointsman_worker_connections{{worker="{number}"}}') for number in (0, 1)]
