"""What a client can do to a TLS connection once it has one: ask for another handshake, and for new keys.

The client is OpenSSL's own, since Python's has neither; the proxy is two workers, as an operator starts them.
"""

from __future__ import annotations

import functools
import operator
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from proxy.door import tls_context
from proxy.settings import Settings
from tests.proxy.test_door import ask, given, guarded, with_tls
from tests.proxy.workers.serving import BODY, Serving, model, policy_of, request, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TLS = Path(__file__).parents[1] / "data" / "tls"
CERTIFICATE = ("--tls-cert", str(TLS / "server.pem"), "--tls-key", str(TLS / "server.key"))
CLIENTS = 3


async def test_a_certificate_is_good_as_long_as_it_says(tmp_path: Path) -> None:
    """Also after TLS has let it in: what is shown once is held against the clock with every request."""
    tls = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    tls.load_cert_chain(TLS / "client.pem", TLS / "client.key")
    settings = given(tmp_path, keys=None, keys_secret=None, **with_tls(tls_client_ca=str(TLS / "ca.pem")))
    later = 150 * 365 * 86400.0
    for ahead, status in ((0.0, 200), (later, 403)):
        async with guarded(settings, wall=functools.partial(operator.add, time.time(), ahead)) as there:
            assert (await ask(there.port, "POST /endpoints/chat/invocations HTTP/1.1", b"{}", tls))[0] == status


class Client:
    """`openssl s_client`: R asks for another handshake, K for new keys in both directions."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.process, self._stdin, self._stdout = process, stdin, stdout
        self._told = b""

    def say(self, what: bytes) -> None:
        self._stdin.write(what)
        self._stdin.flush()

    def hear(self, what: bytes) -> None:
        """Until it has been told `what` once more."""
        while what not in self._told:
            piece = self._stdout.read1(65536)  # type: ignore[attr-defined]  # of a buffered reader, as a pipe's is
            assert piece, self._told
            self._told += piece
        self._told = self._told.partition(what)[2]

    def rest(self) -> bytes:
        """What it is told until its connection ends."""
        return self._told + self._stdout.read()


@contextmanager
def client(port: int, version: str) -> Iterator[Client]:
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile", str(TLS / "ca.pem")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Client(process, process.stdin, process.stdout)
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with (
        model() as upstream,
        served(tmp_path_factory.mktemp("tls"), policy_of(upstream), *CERTIFICATE, "--head-time", "3") as found,
    ):
        yield found


def none_is_left(running: Serving) -> None:
    """Until no worker has a connection."""
    while running.value("pointsman_worker_connections"):
        time.sleep(0.02)


def test_another_handshake_is_refused_and_its_connection_ends(running: Serving) -> None:
    """By whatever OpenSSL the proxy runs with: of 1.1.1 it has to be asked."""
    for _ in range(CLIENTS):
        with client(running.port, "-tls1_2") as one:
            one.say(request() + BODY)
            one.hear(b"200 OK")
            one.say(b"R\n")
            assert b"no renegotiation" in one.rest()
    none_is_left(running)
    context = tls_context(Settings(policy="unused", tls_cert=CERTIFICATE[1], tls_key=CERTIFICATE[3]))
    assert context is not None
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_new_keys_change_nothing(running: Serving) -> None:
    """The connection goes on with them, as often as its client likes."""
    with client(running.port, "-tls1_3") as one:
        for _ in range(CLIENTS):
            one.say(request() + BODY)
            one.hear(b"200 OK")
            one.say(b"K\n")
            one.hear(b"KEYUPDATE")
    none_is_left(running)


def test_who_sends_nothing_but_new_keys_has_the_time_of_a_head(running: Serving) -> None:
    """They are no request: the connection is closed, and its place is free again."""
    with client(running.port, "-tls1_3") as one, suppress(BrokenPipeError):
        one.hear(b"read R BLOCK")  # the handshake is over
        while one.process.poll() is None:
            one.say(b"K\n")
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(0.05)
    none_is_left(running)
