"""What peers that are slow, silent or broken cost two workers: at first, after a reload, and after a `kill -9`."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from backends.http.probes import IDLE
from tests.backends.http.timers import PROBES, timers

from .crowd import CLIENTS, Crowd
from .engines import LARGE, engines
from .serving import served
from .stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEAD = ("a", "b", "c")
READERS = 60
EACH = 2 * 1024 * 1024
"""Bytes of memory that one slow reader may cost, buffers that stay with the allocator included."""
TAKEN = 16 * 1024 * 1024
"""Bytes that one may cost on the way: most of them in what the kernel keeps for the engine, which knows no bound."""
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  quick: {kind: vllm, url: "http://127.0.0.1:QUICK", model: m, LIMIT}
  varies: {kind: vllm, url: "http://127.0.0.1:VARIES", model: m, LIMIT}
  floods: {kind: vllm, url: "http://127.0.0.1:FLOODS", model: m, between_chunks: 5m, LIMIT}
  a: {kind: vllm, url: "http://127.0.0.1:1", model: m, LIMIT}
  b: {kind: vllm, url: "http://127.0.0.1:1", model: m, LIMIT}
  c: {kind: vllm, url: "http://127.0.0.1:1", model: m, LIMIT}
endpoints:
  cool: {serve_from: quick}
  halved: {serve_from: a, fallback: [b, c, quick], retry: {attempts: 4}}
  paced:
    serve_from: varies
    fallback: [quick]
    idempotent: true
    timeout: 60s
    hedge: {after: p50, until_known: 50s, at_least: 20ms, budget: 50%}
  flood: {serve_from: floods, stream_timeout: 5m}
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with engines({"quick": "answers", "varies": "answers", "floods": "floods"}) as behind:
        text = POLICY.replace("LIMIT", "limit: {min: 200}")
        for name in behind:
            text = text.replace(f":{name.upper()}", f":{behind[name].port}")
        with served(tmp_path_factory.mktemp("peers"), text, "--head-time", "6") as running:
            yield Stage(running, behind)


def test_at_most_half_of_the_targets_are_ejected(stage: Stage, crowd: Crowd) -> None:
    """Three of four are dead and every worker knows it: two are not asked, and the third one not before who is well."""
    for _ in range(12):
        assert {answer.status for answer in crowd.answers("halved")} == {200}
    answers = [answer for _ in range(5) for answer in crowd.answers("halved")]
    assert {answer.headers["x-pointsman-target"] for answer in answers} == {"quick"}
    attempts = [int(answer.headers["x-pointsman-attempts"]) for answer in answers]
    assert min(attempts) == 1
    assert sum(attempts) < 2 * len(attempts)  # a breaker that is due lets a probe through
    rows = json.loads(stage.running.read("/admin/breakers"))["breakers"]
    tripped = {(row["worker"], row["target"]) for row in rows if row["state"] != "closed"}
    assert tripped == {(worker, target) for worker in (0, 1) for target in DEAD}


def test_a_hedge_follows_a_percentile(stage: Stage, crowd: Crowd) -> None:
    """No answer is hedged before half of them are known to be quicker; then a slow one is, in each worker."""
    varies, before = stage.engines["varies"], stage.counted("pointsman_hedges_total", model="paced", result="won")
    varies.does = "answers"
    for _ in range(10):
        assert {answer.status for answer in crowd.answers("paced")} == {200}
    varies.does = "dawdles"
    answers = crowd.answers("paced")
    assert {answer.status for answer in answers} == {200}
    won = [answer for answer in answers if answer.headers["x-pointsman-target"] == "quick"]
    assert len(won) >= 2
    after = stage.counted("pointsman_hedges_total", model="paced", result="won")
    assert len(won) <= after - before


def test_connections_that_are_silent_are_looked_after(stage: Stage, crowd: Crowd) -> None:
    """Those of clients and those to targets: who is gone without a word is found out, and balancers forget no one."""
    assert {answer.status for answer in crowd.answers("cool")} == {200}
    found = _silent(stage)
    assert len(found) >= CLIENTS + 2
    # Until the other side has said that it has the last bytes the timer is that of sending them again.
    while {kind for kind, _ in found} != {PROBES}:
        time.sleep(0.02)
        found = _silent(stage)
    assert max(seconds for _, seconds in found) <= IDLE


def _silent(stage: Stage) -> list[tuple[int, float]]:
    return timers(local=stage.running.port) + timers(peer=stage.engines["quick"].port)


def test_heads_that_trickle_are_refused(stage: Stage, crowd: Crowd) -> None:
    """Slowloris: one typed answer and the connection's end, however steadily fields come; others are served."""
    asked = stage.engines["quick"].asked
    trickling = [socket.create_connection(("127.0.0.1", stage.running.port), 60) for _ in crowd.connections]
    with ThreadPoolExecutor(CLIENTS) as pool:
        telling = [pool.submit(_trickled, each) for each in trickling]
        assert {answer.status for answer in crowd.answers("cool")} == {200}
        answers = [each.result() for each in telling]
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in answer
    assert stage.engines["quick"].asked == asked + CLIENTS


def _trickled(connection: socket.socket) -> bytes:
    """All that is said to a client whose head does not end."""
    with connection:
        connection.sendall(b"POST /endpoints/cool/invocations HTTP/1.1\r\nHost: h\r\n")
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"X: y\r\n")
        said = b""
        with suppress(OSError):  # a field that met the end was answered by a reset; what was said before it is there
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while piece := connection.recv(65536):
                said += piece
        return said


def test_slow_readers_cost_their_buffers_and_no_more(stage: Stage, crowd: Crowd) -> None:
    """What an engine without end has sent is bounded, and so is the memory of both workers; others are served."""
    floods = stage.engines["floods"]
    before, sent, inside = _memory(stage), floods.sent, floods.inside
    with ExitStack() as stack:
        readers = [stack.enter_context(_reader(stage.running.port)) for _ in range(READERS)]
        stage.engines.until(lambda: floods.inside == inside + READERS)
        while True:  # until nothing more is taken; the test's own limit bounds it
            now = floods.sent
            assert {answer.status for answer in crowd.answers("cool")} == {200}
            time.sleep(0.2)
            if floods.sent == now:
                break
            assert now - sent < READERS * TAKEN
        assert _memory(stage) - before < READERS * EACH
        for reader in readers:
            assert reader.recv(len(LARGE))
    stage.engines.until(lambda: floods.inside == inside)


def _memory(stage: Stage) -> int:
    """Resident bytes of both workers."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in stage.running.pids()]
    return sum(pages) * 4096


def _reader(port: int) -> socket.socket:
    """A client with a small receive buffer that has read the beginning of its stream."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.sendall(
        b"POST /endpoints/flood/invocations-response-stream HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert client.recv(1024).startswith(b"HTTP/1.1 200")
    return client
