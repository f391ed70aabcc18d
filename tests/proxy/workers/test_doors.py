"""What stands at the door of two workers: at first, after a reload, after a `kill -9`, and after an upgrade.

Keys as tokens and as signatures, client certificates, allow-lists, a signed request that somebody has captured, and
bytes by which one client would speak for another: each is asked of both workers, and the model hears of nothing that is
refused.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.keys import Key, Principal, derived, digest, fresh_id, line, token
from tests.proxy.test_auth import signed

from .serving import BODY, LONGEST_WAIT, Load, Serving, end, model, policy_of, request, served
from .test_ways import answered

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TLS = Path(__file__).parents[2] / "data" / "tls"
MASTER = b"m" * 43
ID = fresh_id(b"a" * 11)
SECRET = derived(MASTER, ID)
OTHERS = "  secret: {serve_from: first}\n"
CLIENTS = 4
"""Connections of each kind: as many as it takes for both workers to have some, which is seen to."""

LINE = b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\n"
SMUGGLED = (
    LINE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    LINE + b"X: y\nContent-Length: 2\r\n\r\n{}",
)


def by_token(endpoint: str) -> bytes:
    """A request with the key as a bearer token."""
    return request(endpoint, f"Authorization: Bearer {token(ID, SECRET)}\r\n") + BODY


def by_signature() -> bytes:
    """A request that is signed now, with something that no other has."""
    fields = signed(ID, SECRET, BODY, f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    told = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() != "content-length")
    return f"POST /endpoints/chat/invocations HTTP/1.1\r\n{told}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


def trust(shown: bool) -> ssl.SSLContext:
    """What a client trusts, and whether it shows its own certificate."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    context.check_hostname = False
    if shown:
        context.load_cert_chain(TLS / "client.pem", TLS / "client.key")
    return context


def told(running: Serving, sent: bytes, shown: bool = False) -> set[str]:
    """What clients of both workers are told; whose bytes are no request is closed at once, and is in nobody's count."""
    context = trust(shown)
    while True:  # the test's own limit bounds it
        with ExitStack() as opened:
            found = set()
            for _ in range(CLIENTS):
                plain = socket.create_connection(("127.0.0.1", running.port), LONGEST_WAIT)
                connection = opened.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
                connection.sendall(sent)
                found.add(answered(connection))
            if found == {"400"} or min(shares(running)) > 0:
                return found


def shares(running: Serving) -> list[float]:
    """Connections of each worker."""
    return [running.value(f'pointsman_worker_connections{{worker="{number}"}}') for number in (0, 1)]


def hold(running: Serving, captured: bytes) -> None:
    """Raises AssertionError when the door is not as it should be; `captured` was seen before."""
    assert told(running, captured) == {"403"}
    assert told(running, by_token("chat")) == {"200"}
    assert told(running, by_signature()) == {"200"}
    assert told(running, request() + BODY, shown=True) == {"200"}
    asked = running.value("pointsman_attempts_total")
    assert told(running, by_token("secret")) == {"403"}
    assert told(running, request("secret") + BODY, shown=True) == {"403"}
    assert told(running, request() + BODY) == {"403"}
    assert told(running, by_signature().replace(BODY, BODY.replace(b"[", b"{").replace(b"]", b"}"))) == {"403"}
    for sent in SMUGGLED:
        assert told(running, sent, shown=True) == {"400"}
    assert running.value("pointsman_attempts_total") == asked


def test_both_workers_keep_the_door(tmp_path: Path) -> None:
    """Whichever of them a client meets, and whatever became of the one before."""
    keys, secret = tmp_path / "keys", tmp_path / "secret"
    by_key = line(Key(ID, digest(SECRET), Principal("team-b", ("chat",))))
    keys.write_text(f"{by_key}\ncert team-a principal=team-a allow=chat\n")
    secret.write_bytes(MASTER)
    for each in (keys, secret):
        each.chmod(0o600)
    tls = ("--tls-cert", str(TLS / "server.pem"), "--tls-key", str(TLS / "server.key"))
    words = (*tls, "--tls-client-ca", str(TLS / "ca.pem"), "--keys", str(keys), "--keys-secret", str(secret))
    with model() as upstream, served(tmp_path, policy_of(upstream, OTHERS), *words) as running:
        captured = by_signature()
        while told(running, captured) != {"403"}:
            time.sleep(0.05)  # for two seconds equal signatures are of equal requests
        hold(running, captured)
        running.policy.write_text(running.policy.read_text() + "  more: {serve_from: first}\n")
        running.process.send_signal(signal.SIGHUP)
        while {worker["policy"].split("/")[1] for worker in running.ready()["workers"]} != {"2"}:
            time.sleep(0.02)
        hold(running, captured)
        victim = running.pids()[0]
        os.kill(victim, signal.SIGKILL)
        while victim in (now := running.pids()) or len(now) < 2 or running.value("pointsman_worker_up") < 2:
            time.sleep(0.02)
        hold(running, captured)
        running.process.send_signal(signal.SIGUSR2)
        running.until("has taken over")
        running.process.wait(LONGEST_WAIT)
        try:
            hold(running, captured)
        finally:
            end(running.ready()["pid"])


def test_workers_come_back_while_the_doors_files_are_broken(tmp_path: Path) -> None:
    """Killed one after the other: each begins with what was last good in any of them, and takes the file's content as
    soon as that is good."""
    keys, cert, key, secret = (tmp_path / name for name in ("keys", "server.pem", "server.key", "secret"))
    by_key = line(Key(ID, digest(SECRET), Principal("team-b", ("chat",))))
    keys.write_text(f"{by_key}\ncert team-a principal=team-a allow=chat\n")
    secret.write_bytes(MASTER)
    secret.chmod(0o600)
    for each in (cert, key):
        each.write_bytes((TLS / each.name).read_bytes())
    tls = ("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(TLS / "ca.pem"))
    with (
        model() as upstream,
        served(
            tmp_path, policy_of(upstream, OTHERS), *tls, "--keys", str(keys), "--keys-secret", str(secret)
        ) as running,
    ):
        assert told(running, by_token("chat")) == {"200"}
        keys.write_text(by_key.partition(" allow=")[0])
        running.until("seems half-written", count=2)
        assert told(running, by_token("secret")) == {"403"}
        keys.write_text(f"{by_key}\nke")
        key.write_bytes(key.read_bytes()[:100])
        secret.chmod(0o644)
        for number in (0, 1):
            victim = running.pids()[number]
            os.kill(victim, signal.SIGKILL)
            while victim in (now := running.pids()) or len(now) < 2 or running.value("pointsman_worker_up") < 2:
                time.sleep(0.02)
        assert told(running, by_token("chat")) == {"200"}
        assert told(running, by_signature()) == {"200"}
        assert told(running, request() + BODY, shown=True) == {"200"}
        assert told(running, by_token("secret")) == {"403"}
        keys.write_text("# nobody\n")
        while told(running, by_token("chat")) != {"403"}:
            time.sleep(0.1)
        for path in ("/readyz", "/admin/policy"):
            assert MASTER.decode() not in running.read(path)
        said = running.errors.read_text()
    for what in ("the keys begin as they last were", "the certificate stays as it was", "the master secret stays"):
        assert said.count(what) >= 2, said
    assert not any(words in said for words in (MASTER.decode(), digest(SECRET).hex(), "PRIVATE"))


def test_keys_change_while_an_upgrade_is_under_way(tmp_path: Path) -> None:
    """Under load: a key that stays is let in all the time, one that goes or comes changes sides, one that is in neither
    file is never let in, and nobody is without an answer. Afterwards the successors know the new file alone."""
    names = ("stays", "goes", "comes", "never")
    ids = {name: fresh_id(name.encode() * 3) for name in names}
    secrets = {name: derived(MASTER, ids[name]) for name in names}
    lines = {name: line(Key(ids[name], digest(secrets[name]), Principal(name, ("chat",)))) for name in names}
    bearer = {name: f"Authorization: Bearer {token(ids[name], secrets[name])}\r\n" for name in names}
    keys, written = tmp_path / "keys", tmp_path / "written"
    keys.write_text(f"{lines['stays']}\n{lines['goes']}\n")
    with ExitStack() as stack:
        words = ("--keys", str(keys), "--admin-names", "metrics.internal")
        running = stack.enter_context(served(tmp_path, policy_of(stack.enter_context(model())), *words))
        loads = {name: Load(running.port, clients=1, fields=bearer[name]) for name in names}
        with loads["stays"], loads["goes"], loads["comes"], loads["never"]:
            for name, status in (("stays", "200"), ("goes", "200"), ("comes", "403"), ("never", "403")):
                loads[name].more(20, status)
            written.write_text(f"{lines['stays']}\n{lines['comes']}\n")
            written.replace(keys)
            running.process.send_signal(signal.SIGUSR2)
            running.until("has taken over")
            stack.callback(lambda: end(running.ready()["pid"]))
            running.process.wait(LONGEST_WAIT)
            for name, status in (("stays", "200"), ("goes", "403"), ("comes", "200"), ("never", "403")):
                loads[name].more(20, status)
        later = Load(running.port, clients=4, fields=bearer["goes"])
        with later:
            later.more(40, "403")
        assert json.loads(running.read("/livez", "metrics.internal")) == {"live": True}  # flags are handed on as well
    assert {name: (load.lost, load.refused) for name, load in loads.items()} == dict.fromkeys(names, ([], 0))
    assert [set(loads[name].answers) for name in names] == [{"200"}, {"200", "403"}, {"200", "403"}, {"403"}]
    assert set(later.answers) == {"403"}
