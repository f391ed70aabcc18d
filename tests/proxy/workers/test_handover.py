"""Two supervisors, one after the other: what the old one leaves, and what the new one says."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.tasks import start
from proxy.workers.channel import Channel, channel_of
from proxy.workers.handover import (
    TAKE_OVER,
    CannotSucceed,
    NotWanted,
    Predecessor,
    alone,
    is_first_process,
    own_command,
    predecessor_of,
    start_successor,
)
from proxy.workers.messages import Legacy, Ready, Serving, Unwanted

pytestmark = pytest.mark.slow

SUCCESSOR = """
import asyncio, os
from proxy.workers.handover import predecessor_of
async def main():
    before = await predecessor_of(os.environ)
    for descriptor in (before.legacy.listening, *before.legacy.also):
        os.fstat(descriptor)
    assert len(before.legacy.also) == 1
    taken = await before.turn(f"{before.legacy.generation}/{before.legacy.admin >= 0}")
    before.serves()
    print(taken, await before.counted(), flush=True)
asyncio.run(main())
"""


async def test_a_successor_takes_over_and_hears_the_last_word(capfd: pytest.CaptureFixture[str]) -> None:
    """The sockets are its own, and what was counted comes twice: when it takes over, and at the end."""
    first, second, operators = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    with first, second, operators:
        ports = ((first, second), operators)
        successor = await start_successor([sys.executable, "-c", SUCCESSOR], {**os.environ}, ports, 7)
        assert await successor.ready()
        assert await successor.take("until now")
        await successor.leave("in all")
        assert await successor._process.wait() == 0
    assert capfd.readouterr().out == "until now in all\n"


@pytest.mark.parametrize("code", ["raise SystemExit(2)", "import signal; signal.pause()"])
async def test_a_successor_that_can_not_serve_is_ended(code: str) -> None:
    """Whether it ended by itself or says nothing; the old one goes on."""
    with socket.create_server(("127.0.0.1", 0)) as clients:
        successor = await start_successor([sys.executable, "-c", code], {**os.environ}, ((clients,), None), 1)
        assert not await successor.ready(2.0)
    with pytest.raises(ProcessLookupError):
        os.kill(successor.pid, 0)


async def test_a_successor_that_can_not_be_started_leaves_no_line() -> None:
    """The interpreter may have gone with the old release."""
    with socket.create_server(("127.0.0.1", 0)) as clients, pytest.raises(FileNotFoundError):
        await start_successor(["/nowhere/python"], {**os.environ}, ((clients,), None), 1)


async def test_nobody_is_succeeded_without_the_variable() -> None:
    """As at every ordinary start."""
    assert await predecessor_of({}) is None
    assert alone({TAKE_OVER: "7", "HOME": "/"}) == {"HOME": "/"}
    assert not is_first_process()
    assert own_command()[0] == sys.executable


@pytest.mark.parametrize("told", ["seven", "987654"])
async def test_a_variable_that_somebody_set_by_hand_is_refused(told: str) -> None:
    """With what to do about it."""
    with pytest.raises(CannotSucceed, match=f"unset {TAKE_OVER}"):
        await predecessor_of({TAKE_OVER: told})


async def test_a_line_that_ends_at_once_leaves_nothing() -> None:
    """The supervisor that started this one was killed."""
    ours, theirs = socket.socketpair()
    ours.close()
    looks = start(predecessor_of({TAKE_OVER: str(theirs.detach())}), name="looks")
    with pytest.raises(CannotSucceed, match="ended before"):
        await looks


@asynccontextmanager
async def succeeding() -> AsyncIterator[tuple[Channel, Predecessor]]:
    """What the old one holds of the line, and what the new one knows of the old."""
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as clients:
        old = await channel_of(ours)
        old.tell(Legacy(clients.fileno(), -1, 3))
        before = await predecessor_of({TAKE_OVER: str(theirs.detach())})
        assert before is not None
        yield old, before
        await old.close()
        await before.fail()


async def test_who_is_killed_before_the_turn_leaves_the_ports_all_the_same() -> None:
    """Nobody else serves: the new one takes all, and counts from nothing."""
    async with succeeding() as (old, before):
        takes = start(before.turn("digest/4"), name="takes")
        assert await old.hear() == Ready("digest/4", waits=True, addresses=1)
        await old.close()
        assert await takes is None
        assert await before.counted() is None


async def test_who_is_not_wanted_is_told_so() -> None:
    """Else it would take the end of the line for the end of the old one."""
    async with succeeding() as (old, before):
        old.tell(Unwanted())
        await old.close()
        with pytest.raises(NotWanted):
            await before.turn("digest/4")


SAYS = """
import asyncio, os, signal
from proxy.workers.handover import predecessor_of
from proxy.workers.messages import Ready
async def main():
    before = await predecessor_of(os.environ)
    before._channel.tell(Ready("digest/4", waits={waits}))
    await before._channel.hear()
    {then}
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("waits", "then", "seconds", "takes"),
    [
        (True, "pass", 60.0, False),
        (True, "signal.pause()", 0.2, False),
        (False, "await before.counted()", 0.0, True),
    ],
    ids=["ends", "hangs", "older"],
)
async def test_a_successor_has_taken_over_when_it_says_so(waits: bool, then: str, seconds: float, takes: bool) -> None:
    """One that ends or hangs once it may serve has not, and is gone. One of a release without that word serves
    already."""
    code = SAYS.format(waits=waits, then=then)
    with socket.create_server(("127.0.0.1", 0)) as clients:
        successor = await start_successor([sys.executable, "-c", code], {**os.environ}, ((clients,), None), 1)
        assert await successor.ready()
        assert await successor.take("until now", seconds) is takes
        if takes:
            await successor.leave("in all")
            await successor._process.wait()
        else:
            await successor.gone()
    with pytest.raises(ProcessLookupError):
        os.kill(successor.pid, 0)


def said(data: bytes) -> bytes:
    """A word as it goes over the line."""
    return len(data).to_bytes(4, "big") + data


async def test_a_predecessor_of_the_first_release_is_succeeded() -> None:
    """It leaves no more than sockets and a number, knows no `Serving`, and says what it has counted at its end."""
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as clients:
        ours.setblocking(False)
        ours.sendall(said(b'["Legacy",{"listening":%d,"admin":-1,"generation":3}]' % clients.fileno()))
        before = await predecessor_of({TAKE_OVER: str(theirs.detach())})
        assert before is not None
        assert (before.legacy.replays, list(before.legacy.also), before.legacy.quotas) == (-1, [], -1)
        ours.sendall(said(b'["Yours",{"meters":"until now"}]'))
        assert await before.turn("digest/4") == "until now"
        before.serves()
        ours.sendall(said(b'["Counted",{"meters":"in all"}]'))
        assert await before.counted() == "in all"


FIRST = """
import os, socket
line = socket.socket(fileno=int(os.environ["POINTSMAN_TAKE_OVER"]))
def hear():
    return line.recv(int.from_bytes(line.recv(4, socket.MSG_WAITALL), "big"), socket.MSG_WAITALL)
assert hear().startswith(b'["Legacy",')
said = b'["Ready",{"label":"digest/4"}]'
line.sendall(len(said).to_bytes(4, "big") + said)
assert hear() == b'["Yours",{"meters":"until now"}]'
assert hear() == b'["Counted",{"meters":"in all"}]'
"""


async def test_a_successor_of_the_first_release_takes_over() -> None:
    """It serves from its first word on, and never says so."""
    with socket.create_server(("127.0.0.1", 0)) as clients:
        successor = await start_successor([sys.executable, "-c", FIRST], {**os.environ}, ([clients], None), 1)
        assert await successor.ready()
        assert await successor.take("until now", 0.0)
        await successor.leave("in all")
        assert await successor._process.wait() == 0


async def test_a_successor_that_would_leave_an_address_is_not_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """One of a release that knows of one address alone: it ends before it serves, and the log says what to do."""
    code = SAYS.format(waits=True, then="pass")
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        successor = await start_successor([sys.executable, "-c", code], {**os.environ}, ([first, second], None), 1)
        assert not await successor.ready()
        assert successor._process.returncode is not None
    assert "would serve at 1 of the 2 addresses of --host: name one address there" in caplog.text


async def test_a_successor_serves_at_each_address() -> None:
    """It says at how many, so that one that does not know of the further ones can be told."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        successor = await start_successor([sys.executable, "-c", SUCCESSOR], {**os.environ}, ([first, second], None), 7)
        assert await successor.ready()
        assert await successor.take("until now")
        await successor.leave("in all")
        assert await successor._process.wait() == 0


async def test_a_successor_that_hears_nothing_keeps_nobody_from_his_end() -> None:
    """A word that it does not read, and that fills the line, is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as clients:
        code = "import signal; signal.pause()"
        successor = await start_successor([sys.executable, "-c", code], {**os.environ}, ((clients,), None), 1)
        assert not await successor.take("x" * 4_000_000, 0.1)
        await successor.gone()
    assert successor._process.returncode == -signal.SIGKILL


async def test_a_successor_says_that_it_serves() -> None:
    """Only then does the old one go."""
    async with succeeding() as (old, before):
        before.serves()
        assert await old.hear() == Serving()
