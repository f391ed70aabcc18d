"""A running proxy: where it listens, how it is told to reload and to end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.door import Door
from proxy.server import CannotListen, cannot_listen, running, signals
from proxy.settings import Settings, SettingsError

from .parts import POLICY, Scripted, TextSource, services


def settings(**given: int | str) -> Settings:
    return Settings(**{"policy": "unused", "port": 0, "admin_port": 0, "drain": 1.0} | given)  # type: ignore[arg-type]


async def head_of(port: int, path: str, host: str = "h") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.split(b"\r\n", 1)[0]


async def test_contracts_and_operators_have_their_own_ports() -> None:
    """The admin port serves operators only, the other port clients only; both are gone afterwards."""
    parts = await services(Scripted())
    async with running(settings(admin_names="metrics.internal"), parts) as addresses:
        assert addresses.admin_port is not None
        assert await head_of(addresses.admin_port, "/livez") == b"HTTP/1.1 200 OK"
        assert await head_of(addresses.admin_port, "/livez", "metrics.internal") == b"HTTP/1.1 200 OK"
        assert b" 421 " in await head_of(addresses.admin_port, "/livez", "evil.example")
        assert b"200" not in await head_of(addresses.port, "/livez")
    parts.log.close()
    for port in (addresses.port, addresses.admin_port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("flag", ["port", "admin_port"])
async def test_a_port_in_use_says_which_and_leaves_nothing_behind(flag: str) -> None:
    """The message names address and flag, and a port that was already had is given back."""
    parts = await services(Scripted())
    async with running(settings(), parts) as addresses:
        assert addresses.admin_port is not None
        taken = getattr(addresses, flag)
        with pytest.raises(CannotListen, match=f"127.0.0.1:{taken}.*--{flag.replace('_', '-')}"):
            async with running(settings(**{flag: taken}), parts):
                pass
        assert await head_of(addresses.admin_port, "/livez") == b"HTTP/1.1 200 OK"
    parts.log.close()


def test_of_a_name_s_addresses_the_one_that_can_not_be_had_is_named() -> None:
    """As a URL writes it."""
    error = OSError(errno.EADDRINUSE, "Address already in use (while attempting to bind on address)", "::1")
    told = "can't listen on [::1]:8080 (address already in use); stop what holds it, or choose another with --port"
    assert str(cannot_listen("localhost", 8080, "--port", error)) == told


async def test_the_limits_of_the_settings_are_the_listeners() -> None:
    """A head that trickles is answered 408 in the contract's words, a connection too many 503."""
    parts = await services(Scripted())
    given = Settings(policy="unused", port=0, admin_port=0, drain=1.0, head_time=2.0, connections=1)
    async with running(given, parts) as addresses:
        reader, writer = await asyncio.open_connection("127.0.0.1", addresses.port)
        writer.write(b"POST / HTTP/1.1\r\n")
        assert b"503 Service Unavailable" in await head_of(addresses.port, "/v1/models")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"x-amzn-errortype: validationerror" in answer.lower()
        writer.close()
        await writer.wait_closed()
    parts.log.close()


async def test_a_container_has_one_port_and_one_contract() -> None:
    """Health and invocations; nothing for operators anywhere."""
    parts = await services(Scripted())
    async with running(settings(face="container", endpoint="chat"), parts) as addresses:
        assert addresses.admin_port is None
        assert await head_of(addresses.port, "/ping") == b"HTTP/1.1 200 OK"
        assert b"404" in await head_of(addresses.port, "/livez")
    parts.log.close()


async def test_every_contract_is_on_the_port_beside_a_container() -> None:
    """With an endpoint named, the container's paths are there as well; without one they are not."""
    parts = await services(Scripted())
    async with running(settings(endpoint="chat"), parts) as addresses:
        assert await head_of(addresses.port, "/ping") == b"HTTP/1.1 200 OK"
        assert await head_of(addresses.port, "/v1/models") == b"HTTP/1.1 200 OK"
    async with running(settings(), parts) as addresses:
        assert b"404" in await head_of(addresses.port, "/ping")
        assert await head_of(addresses.port, "/v1/models") == b"HTTP/1.1 200 OK"
    parts.log.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [({"face": "container"}, "several endpoints"), ({"endpoint": "nowhere"}, "no route for nowhere")],
)
async def test_the_container_of_nothing_does_not_start(given: dict[str, str], said: str) -> None:
    """A wrong name is told at the start, not by a health check that never passes."""
    parts = await services(Scripted())
    with pytest.raises(SettingsError, match=said):
        async with running(settings(**given), parts):
            pass
    parts.log.close()


async def test_files_that_may_be_renewed_are_looked_at_while_it_serves(tmp_path: Path) -> None:
    """Certificate, keys and handlers: none of them takes a restart. `/admin/tasks` names who looks."""
    tls = Path(__file__).parents[1] / "data" / "tls"
    (tmp_path / "keys").write_text("")
    secured = settings(tls_cert=str(tls / "server.pem"), tls_key=str(tls / "server.key"), keys=str(tmp_path / "keys"))
    parts = await services(Scripted())
    async with running(secured, replace(parts, door=Door(secured, time.time))):
        named = {task.get_name() for task in asyncio.all_tasks()}
        assert named >= {"certificate-watch", "keys-watch", "handlers-watch"}
    parts.log.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_reload_and_end(number: signal.Signals) -> None:
    """SIGHUP puts a changed policy in force, SIGTERM and SIGINT end the wait."""
    parts = await services(Scripted())
    source = parts.policy._source
    assert isinstance(source, TextSource)
    reloaded = asyncio.Event()
    parts.policy._reloaded = lambda _: reloaded.set()
    async with signals(parts) as ended:
        source.text = POLICY.replace("owner: us", "owner: them")
        os.kill(os.getpid(), signal.SIGHUP)
        await reloaded.wait()
        assert (parts.policy.current.generation, ended.is_set()) == (2, False)
        os.kill(os.getpid(), signal.SIGUSR2)  # for several workers; here it must not end the process
        os.kill(os.getpid(), number)
        await ended.wait()
    parts.log.close()


def test_a_thread_that_computes_gives_way_soon() -> None:
    """Handlers in threads and the encoding of spans hold the interpreter's lock for a fiftieth of Python's own 5 ms."""
    code = "import sys; from proxy.server import settle; settle(); print(sys.getswitchinterval())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(0.0001)


def test_a_process_that_serves_is_not_looked_through_again() -> None:
    """What is there when it starts to serve is left out of the garbage collector's looks, which hold up requests."""
    code = "import gc; from proxy.server import settle; settle(); print(gc.get_freeze_count(), *gc.get_threshold())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    frozen, young, *_ = map(int, done.stdout.split())
    assert frozen > 10_000
    assert young > 700
