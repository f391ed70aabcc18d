"""One worker against a supervisor that the test plays, in the test's own loop."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.meters import Meters
from backends.tasks import start
from proxy.settings import Settings
from proxy.workers.channel import Channel
from proxy.workers.messages import (
    Accept,
    Answered,
    Begin,
    Changed,
    Drain,
    Facts,
    Failed,
    Kept,
    Loading,
    Message,
    NewPolicy,
    Question,
    Ready,
    Told,
    Verdict,
)
from proxy.workers.orphan import LEAVE
from proxy.workers.share import ABSENT, Board, new_page
from proxy.workers.worker import REPORT, work

from ..parts import POLICY
from ..test_door import TEAM
from .parts import line, until
from .serving import BODY, policy_of, request


@dataclass
class Hand:
    """The supervisor's end."""

    channel: Channel
    theirs: Channel
    work: asyncio.Task[int]
    board: Board
    port: int
    begin: Begin
    orphaned: list[float]
    """Seconds after which it is to be over without its supervisor."""

    async def hears(self, *kinds: type[Message]) -> Message:
        """The next message of one of these kinds; reports in between are passed over."""
        async with asyncio.timeout(60):
            while True:
                message = await self.channel.hear()
                assert message is not None
                if isinstance(message, kinds):
                    return message

    async def last(self) -> tuple[Facts | Failed, int]:
        """The worker's last word and its exit code."""
        async with asyncio.timeout(60):
            last: Message | None = None
            while (message := await self.channel.hear()) is not None:
                last = message
            assert isinstance(last, Facts | Failed)
            return last, await self.work

    async def get(self, path: str, port: int | None = None) -> bytes:
        """The status line of an answer on the contracts' port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.split(b"\r\n")[0]


def told(generation: int, text: str = POLICY) -> Told:
    return Told("policy.yaml", text, {}, generation, "")


@asynccontextmanager
async def working(folder: Path, text: str = POLICY, **given: object) -> AsyncIterator[Hand]:
    """A worker that has been told to begin.

    `report` is the time between reports, `also` a further socket to accept from, `listens` whether its supervisor wants
    to hear what it loads, `tries` whether it is to be asked for changed handlers, `kept` what it has of the door's
    files; all else given is of its settings, of which one is not known to it.
    """
    report, also = given.pop("report", REPORT), given.pop("also", None)
    listens, tries, kept = bool(given.pop("listens", False)), bool(given.pop("tries", False)), given.pop("kept", None)
    assert kept is None or isinstance(kept, dict)
    assert isinstance(report, float)
    ours, theirs = await line()
    page = new_page(2)
    board = Board(page, 2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = Settings("policy.yaml", workers=2, log=str(folder / "log"), drain=1.0)
        settings = dataclasses.replace(settings, **given)  # type: ignore[arg-type]  # a test's own choice
        each = dataclasses.asdict(settings) | {"of_another_release": 1}
        ports = os.dup(listening.fileno()), os.dup(page)
        begin = Begin(1, each, told(4, text), *ports, None, listens=listens, kept=kept, tries=tries)
        if isinstance(also, socket.socket):
            begin = dataclasses.replace(begin, also=(os.dup(also.fileno()),))
        ours.tell(begin)
        orphaned: list[float] = []
        works = start(work(theirs, {}, orphaned.append, report), name="work")
        hand = Hand(ours, theirs, works, board, listening.getsockname()[1], begin, orphaned)
        try:
            yield hand
        finally:
            await ours.close()
            code = await asyncio.wait_for(hand.work, 60)
        assert code in {0, 2}
    board.close()
    os.close(page)


async def test_it_accepts_when_it_may_and_drains_when_it_is_told(tmp_path: Path) -> None:
    """Before that it is absent from the board and connections wait; its last word is what it has counted."""
    async with working(tmp_path) as hand:
        ready = await hand.hears(Ready)
        assert isinstance(ready, Ready)
        assert ready.label.endswith("/4")
        asks = start(hand.get("/v1/models"), name="asks")
        assert hand.board.least() == 0
        hand.channel.tell(Accept())
        assert await asks == b"HTTP/1.1 200 OK"
        hand.board.put(0, 99)
        assert hand.board.least() < 99
        hand.channel.tell(Drain())
        last, code = await hand.last()
        assert isinstance(last, Facts)
        assert (code, hand.board.least()) == (0, 99)
        assert hand.board._counts[1] == ABSENT


async def test_it_accepts_at_each_address_and_drains_all(tmp_path: Path) -> None:
    """A name may have several: each has its socket, and at the end each is left to the others who hold it."""
    with socket.create_server(("127.0.0.1", 0)) as second:
        port = second.getsockname()[1]
        async with working(tmp_path, also=second) as hand:
            hand.channel.tell(Accept())
            assert await hand.get("/v1/models") == b"HTTP/1.1 200 OK"
            assert await hand.get("/v1/models", port) == b"HTTP/1.1 200 OK"
            hand.channel.tell(Drain())
            assert (await hand.last())[1] == 0
        with socket.create_connection(("127.0.0.1", port), 60), second.accept()[0]:
            pass


@pytest.mark.parametrize("listens", [True, False])
async def test_it_says_what_it_loads_to_who_knows_the_word(tmp_path: Path, listens: bool) -> None:
    """A supervisor of an older release, whose worker is of newer code, would take it for garbage and hang up."""
    (tmp_path / "model.py").write_text("def before(call): ...\n")
    text = POLICY.replace("owner: us", f"owner: us, handler: {{path: {tmp_path}/model.py, run: thread}}", 1)
    async with working(tmp_path, text, listens=listens) as hand:
        said: list[str] = []
        while isinstance(message := await hand.hears(Loading, Ready), Loading):
            said.append(message.what)
        wanted = ["its log and policy", f"the handler {tmp_path}/model.py", "the shared state, AWS's library"]
        assert [what.partition(", keys")[0] for what in said] == (wanted if listens else [])


@pytest.mark.parametrize(
    ("file", "kept", "said"),
    [
        (TEAM, None, [Ready]),  # a supervisor of an older release would hang up
        (TEAM, {}, [Kept, Ready]),
        ("nonsense", {"keys": TEAM}, [Ready]),
        ("nonsense", {}, [Failed]),
    ],
)
async def test_it_begins_with_what_the_key_file_last_held(
    tmp_path: Path, file: str, kept: dict[str, str] | None, said: list[type[Message]]
) -> None:
    """What its supervisor has kept counts only where the file can't be used; what it could use itself it tells."""
    (tmp_path / "keys").write_text(file)
    async with working(tmp_path, keys=str(tmp_path / "keys"), kept=kept) as hand:
        heard: list[Message] = []
        while len(heard) < len(said):
            heard.append(await hand.hears(Kept, Ready, Failed))
        assert [type(message) for message in heard] == said
        if Kept in said:
            assert heard[0] == Kept({"keys": TEAM})


@pytest.mark.parametrize("tries", [True, False])
async def test_a_changed_handler_is_asked_for(tmp_path: Path, tries: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It waits to be told the policy anew; where its supervisor is of an older release it does as one process does."""
    caplog.set_level("INFO")
    (tmp_path / "model.py").write_text("def before(call): ...\n")
    text = POLICY.replace("owner: us", f"owner: us, handler: {{path: {tmp_path}/model.py, run: thread}}", 1)
    async with working(tmp_path, text, tries=tries) as hand:
        await hand.hears(Ready)
        hand.channel.tell(Accept())
        await hand.get("/v1/models")
        (tmp_path / "model.py").write_text("def before(call): return None\n")
        if tries:
            asked = await hand.hears(Changed)
            assert await hand.hears(Changed) == asked
            assert len(asked.versions) == 1  # type: ignore[union-attr]  # it is Changed
            hand.channel.tell(NewPolicy(told(4, text)))
            verdict = await hand.hears(Verdict)
            assert isinstance(verdict, Verdict)
            assert (verdict.generation, verdict.problems) == (4, [])
        else:
            await until(lambda: "a changed handler is in force" in caplog.text)
        hand.channel.tell(Drain())
        said = []
        while (message := await hand.channel.hear()) is not None:
            said.append(type(message))
    assert Changed not in said


async def test_a_supervisor_that_does_not_read_is_told_no_more(tmp_path: Path) -> None:
    """It stands, or somebody has stopped it: what it is told must not pile up until its line counts as dead."""
    async with working(tmp_path, report=0.001) as hand:
        await hand.hears(Ready)
        out = hand.theirs._writer
        out.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        hand.channel._reader._transport.pause_reading()  # type: ignore[attr-defined]  # nor does a supervisor that stands
        await until(lambda: hand.theirs.behind)
        waiting = out.transport.get_write_buffer_size()
        for _ in range(20):  # reports that are due
            hand.board.put(1, 77)
            await until(lambda: hand.board._counts[1] == ABSENT)
        assert out.transport.get_write_buffer_size() == waiting


async def test_who_drains_speaks_on(tmp_path: Path) -> None:
    """However long its last requests take: else it would seem to stand and be killed, and a reload wait for it."""
    asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.put(writer)
        await reader.read()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as model:
        text = policy_of(model.sockets[0].getsockname()[1])
        async with working(tmp_path, text, drain=60.0, report=0.01) as hand:
            await hand.hears(Ready)
            hand.channel.tell(Accept())
            client = await asyncio.open_connection("127.0.0.1", hand.port)
            client[1].write(request() + BODY)
            held = await asked.get()
            hand.channel.tell(Drain())
            await until(lambda: hand.board._counts[1] == ABSENT)
            hand.board.put(1, 77)
            hand.channel.tell(NewPolicy(told(7, text.replace("owner: us", "owner: them"))))
            verdict = await hand.hears(Verdict)
            assert isinstance(verdict, Verdict)
            assert (verdict.generation, verdict.problems) == (7, [])
            for _ in range(3):
                spoken = await hand.hears(Facts)
                assert isinstance(spoken, Facts)
                assert spoken.in_flight == 1
            assert hand.board._counts[1] == 77  # it is out of the others' count: nobody stands back for it
            held.close()
            client[1].close()
            assert (await hand.last())[1] == 0


async def test_a_new_policy_is_put_in_force_or_refused(tmp_path: Path) -> None:
    """Under the generation that it is told; a refused one leaves the old in force, with the reasons."""
    async with working(tmp_path) as hand:
        hand.channel.tell(NewPolicy(told(7, POLICY.replace("owner: us", "owner: them"))))
        verdict = await hand.hears(Verdict)
        assert isinstance(verdict, Verdict)
        assert (verdict.generation, verdict.label.split("/")[1], verdict.problems) == (7, "7", [])
        hand.channel.tell(NewPolicy(told(8, POLICY.replace("serve_from: first", "serve_from: nobody"))))
        refused = await hand.hears(Verdict)
        assert isinstance(refused, Verdict)
        assert (refused.generation, refused.label) == (8, verdict.label)
        assert any("nobody" in problem[2] for problem in refused.problems)


async def test_it_answers_its_supervisor(tmp_path: Path) -> None:
    """What it says of itself, with its counts when they have changed, and what operators ask."""
    async with working(tmp_path) as hand:
        first = await hand.hears(Facts)
        assert isinstance(first, Facts)
        assert first.meters is not None
        assert Meters.restore(first.meters.encode()).snapshot().decode() == first.meters
        hand.channel.tell(Question(5))
        again = await hand.hears(Facts)
        assert again == dataclasses.replace(first, id=5, meters=None, loop_lag=again.loop_lag)  # type: ignore[union-attr]
        hand.channel.tell(Question(6, "GET", "/admin/limits"))
        assert await hand.hears(Answered) == Answered(6, 200, {"limits": []})
        hand.channel.tell(Question(7, "POST", "/admin/breakers/first/reset"))
        reset = await hand.hears(Answered)
        assert isinstance(reset, Answered)
        assert reset.status == 404
        hand.channel.tell(Accept())
        hand.channel.tell(Ready("what a supervisor never says"))
        hand.channel.tell(Question(8))
        assert (await hand.hears(Facts)).id == 8  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "given", "why"),
    [
        ("apiVersion: pointsman/v1", {}, "targets"),
        (POLICY, {"face": "container", "endpoint": "nobody"}, "nobody"),
        (POLICY, {"log": "/nowhere/log"}, "/nowhere/log: No such file"),
    ],
)
async def test_a_worker_that_can_not_start_says_why(
    tmp_path: Path, text: str, given: dict[str, object], why: str
) -> None:
    """Its supervisor has only its word."""
    async with working(tmp_path, text, **given) as hand:
        last, code = await hand.last()
        assert isinstance(last, Failed)
        assert why in last.why
        assert code == 2


async def test_it_ends_without_its_supervisor(tmp_path: Path) -> None:
    """Whether the line ends before the first word or later."""
    ours, theirs = await line()
    await ours.close()
    assert await work(theirs, {}, lambda _: None) == 2
    async with working(tmp_path) as hand:
        await hand.hears(Ready)
        assert hand.orphaned == [1.0 + LEAVE]
        hand.channel.tell(Accept())
        await hand.channel.close()
        assert await asyncio.wait_for(hand.work, 60) == 0


async def test_a_terminals_signals_are_not_its_own(tmp_path: Path) -> None:
    """Ctrl-C and SIGHUP reach all processes of a terminal: only SIGTERM ends a worker, and it drains."""
    async with working(tmp_path) as hand:
        await hand.hears(Ready)
        hand.channel.tell(Accept())
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        assert await hand.get("/v1/models") == b"HTTP/1.1 200 OK"
        os.kill(os.getpid(), signal.SIGTERM)
        last, code = await hand.last()
        assert (type(last), code) == (Facts, 0)
