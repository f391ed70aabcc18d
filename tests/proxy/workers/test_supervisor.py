"""Two workers as real processes under load: what is killed, reloaded, upgraded and ended, and what that costs."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from proxy.workers.handover import Successor, start_successor

from .serving import BODY, EVENTS, LONGEST_WAIT, Load, Serving, command, end, gone, model, policy_of, request, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with model() as port:
        yield port


@pytest.fixture
def several(tmp_path: Path, upstream: int) -> Iterator[Serving]:
    """Two workers with a model behind them."""
    with served(tmp_path, policy_of(upstream)) as running:
        yield running


def test_both_serve_and_their_counts_add_up(several: Serving) -> None:
    """Each gets a part of the connections; the page counts every answer once, the log has every line."""
    load = Load(several.port)
    several.spread(load)
    assert load.answers["200"] == load.answers.total()
    several.comes_to("pointsman_responses_total", load.answers.total())
    assert several.process.poll() is None
    several.process.terminate()
    assert several.process.wait(LONGEST_WAIT) == 0
    lines = [json.loads(line) for line in several.log.read_text().splitlines()]
    assert len(lines) == load.answers.total()


def test_kill_of_a_worker_costs_its_requests_in_flight_and_no_other(several: Serving) -> None:
    """One request each on the connections it had; the others go on, and it comes back."""
    with Load(several.port) as load:
        load.more(300)
        held = [several.value(f'pointsman_worker_connections{{worker="{number}"}}') for number in (0, 1)]
        had = max(held)  # on a busy machine one of them may have nearly all
        number = held.index(had)
        victim = several.pids()[number]
        os.kill(victim, signal.SIGKILL)
        load.more(600)
        several.until("another starts")
        while several.value(f'pointsman_worker_up{{worker="{number}"}}') != 1.0:
            load.more(20)
        load.more(200)
    assert 0 < len(load.lost) <= had
    assert set(load.answers) == {"200"}
    assert load.refused == 0
    assert victim not in several.pids()
    assert several.value("pointsman_worker_restarts_total") == 1
    counted = several.value("pointsman_responses_total")
    assert load.answers.total() * 0.5 < counted <= load.answers.total()


def test_a_reload_reaches_all_loses_nothing_and_mixes_nothing(several: Serving) -> None:
    """Every answer is of a policy that was in force, and on no connection an older one follows a newer."""
    text = several.policy.read_text()
    with Load(several.port) as load:
        load.more(200)
        several.policy.write_text(text.replace("owner: us", "owner: them"))
        several.process.send_signal(signal.SIGHUP)
        several.until("/2 is in force")
        load.more(200)
        several.policy.write_text("broken: true")
        several.process.send_signal(signal.SIGHUP)
        several.until("can't be used")
        load.more(200)
        several.policy.write_text(text)
        several.until("/3 is in force")  # by its watch
        load.more(200)
    assert (load.lost, load.refused, load.backwards) == ([], 0, 0)
    assert [label.split("/")[1] for label in sorted(load.policies, key=lambda label: label.split("/")[1])] == [
        *("1", "2", "3")
    ]
    assert {worker["policy"].split("/")[1] for worker in several.ready()["workers"]} == {"3"}
    assert several.value('pointsman_policy_reloads_total{result="refused"}') >= 1


def test_an_upgrade_loses_nothing_and_counts_on(several: Serving) -> None:
    """The successor has other processes and the same ports; the old ones end, and no counter goes back."""
    before = [several.ready()["pid"], *several.pids()]
    with Load(several.port) as load:
        load.more(300)
        several.process.send_signal(signal.SIGUSR2)
        several.until("has taken over")
        assert several.process.wait(LONGEST_WAIT) == 0
        load.more(300)
        after = [several.ready()["pid"], *several.pids()]
    try:
        assert (load.lost, load.refused, load.backwards) == ([], 0, 0)
        assert set(load.answers) == {"200"}
        assert not set(before) & set(after)
        assert gone(before)
        several.comes_to("pointsman_responses_total", load.answers.total())
        assert {label.split("/")[1] for label in load.policies} == {"1", "2"}
    finally:
        end(after[0])


def test_an_upgrade_that_fails_changes_nothing(several: Serving) -> None:
    """The policy is broken at that moment, so the successor can't serve: the old processes go on."""
    before = several.pids()
    with Load(several.port) as load:
        several.policy.write_text("broken: true")
        several.process.send_signal(signal.SIGUSR2)
        several.until("the upgrade failed, nothing has changed")
        load.more(100)
    assert several.pids() == before
    assert (load.lost, load.refused) == ([], 0)


@asynccontextmanager
async def succeeding(
    folder: Path, upstream: int
) -> AsyncIterator[tuple[Successor, tuple[socket.socket, socket.socket], socket.socket]]:
    """A successor of a supervisor that the test plays, with the ports that it is left: for clients two addresses'."""
    (folder / "policy.yaml").write_text(policy_of(upstream))
    words = command(folder, "--workers", "2", "--log", str(folder / "log"))
    first, second, operators = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    with first, second, operators:
        successor = await start_successor(words, dict(os.environ), ((first, second), operators), 1)
        try:
            yield successor, (first, second), operators
        finally:
            await successor.end()


async def test_a_successor_that_is_given_up_serves_nobody(tmp_path: Path, upstream: int) -> None:
    """It could serve when the old supervisor ends it: it takes no connection, and leaves the very same socket open."""
    async with succeeding(tmp_path, upstream) as (successor, (clients, _), _):
        with socket.create_connection(clients.getsockname(), timeout=LONGEST_WAIT) as early:
            early.sendall(request() + BODY)
            assert await successor.ready(LONGEST_WAIT)
            early.settimeout(0.5)  # one that takes it answers within milliseconds
            with pytest.raises(TimeoutError):
                early.recv(1)
            await successor.end()
            clients.settimeout(10)
            with clients.accept()[0] as waiting:
                assert waiting.recv(65536) == request() + BODY
        with socket.create_connection(clients.getsockname(), timeout=10):
            pass


async def test_a_successor_whose_predecessor_is_killed_serves(tmp_path: Path, upstream: int) -> None:
    """Before its turn came: whoever waits at the port is served, since nobody else would."""
    async with succeeding(tmp_path, upstream) as (successor, clients, operators):
        assert await successor.ready(LONGEST_WAIT)
        await successor._channel.close()  # as the kernel does for a supervisor that was killed
        for each in clients:
            client = http.client.HTTPConnection("127.0.0.1", each.getsockname()[1], timeout=LONGEST_WAIT)
            await asyncio.to_thread(client.request, "POST", "/endpoints/chat/invocations", BODY)
            assert (await asyncio.to_thread(client.getresponse)).status == 200
            client.close()
        operator = http.client.HTTPConnection("127.0.0.1", operators.getsockname()[1], timeout=LONGEST_WAIT)
        await asyncio.to_thread(operator.request, "GET", "/readyz")
        assert json.loads((await asyncio.to_thread(operator.getresponse)).read())["pid"] == successor.pid
        operator.close()
        successor._process.terminate()
        assert await successor._process.wait() == 0


def test_a_successor_that_falls_when_its_turn_comes_changes_nothing(several: Serving) -> None:
    """Nobody reads what it has to say, so it ends when it was let in: the old processes serve clients and operators."""
    before = [several.ready()["pid"], *several.pids()]
    assert several.process.stdout is not None
    several.process.stdout.close()
    with Load(several.port) as load:
        load.more(100)
        several.process.send_signal(signal.SIGUSR2)
        several.until("the upgrade failed, nothing has changed")
        load.more(100)
        assert [several.ready()["pid"], *several.pids()] == before
    assert "Broken pipe" in several.errors.read_text()
    assert (load.lost, load.refused, set(load.answers)) == ([], 0, {"200"})


def successor_of(pid: int) -> int:
    """The supervisor among the children of one."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return next(child for child in children if b"\0serve\0" in Path(f"/proc/{child}/cmdline").read_bytes())


def test_a_successor_that_is_ended_before_it_has_taken_over_gives_all_back_at_once(tmp_path: Path) -> None:
    """Its workers accept already, and one of them has a stream to finish: the old supervisor does not wait for that
    to answer operators, and goes on with the clients."""
    with model() as upstream, served(tmp_path, policy_of(upstream)) as running, ExitStack() as streams:
        before = running.ready()["pid"], *running.pids()
        full = filled(running.process.pid)  # the successor has to say there that it serves before it may go on
        running.process.send_signal(signal.SIGUSR2)
        while (answer := streamed(streams, running.port)).headers["x-pointsman-policy"].split("/")[1] != "2":
            answer.close()
            streams.close()
            time.sleep(0.02)
        os.kill(successor := successor_of(before[0]), signal.SIGTERM)
        assert running.process.stdout is not None
        assert len(running.process.stdout.read(full)) == full
        while running.ready()["pid"] != before[0]:  # each is answered, at first perhaps by the one that ends
            time.sleep(0.02)
        assert running.pids() == [*before[1:]]
        with Load(running.port) as load:
            load.more(50)
        assert "has taken over" not in running.errors.read_text()
        assert not gone([successor], 0)
        upstream.go_on()
        assert answer.read().count(b"data: ") == EVENTS + 1
        running.until("the upgrade failed, nothing has changed")
        assert gone([successor])
        assert (load.lost, load.refused, set(load.answers)) == ([], 0, {"200"})


def filled(pid: int) -> int:
    """Fill what reads the standard output of a process; returns with how many bytes."""
    count = 0
    with open(os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0) as out:
        while (more := out.write(b"\n" * 4096)) is not None:
            count += more
        while out.write(b"\n") is not None:
            count += 1
    return count


def streamed(streams: ExitStack, port: int) -> http.client.HTTPResponse:
    """A streamed answer whose first event has come, on a connection of its own."""
    client = streams.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_WAIT)))
    client.request("POST", "/endpoints/chat/invocations-response-stream", b'{"stream": true}')
    return client.getresponse()


def test_what_ends_after_two_upgrades_is_counted(tmp_path: Path) -> None:
    """The first supervisor has streams to finish, and says what it counted to a second that is succeeded already."""
    with model() as upstream, served(tmp_path, policy_of(upstream)) as running, ExitStack() as streams:
        answers = [streamed(streams, running.port) for _ in range(3)]
        running.process.send_signal(signal.SIGUSR2)
        running.until("has taken over")
        os.kill(second := running.ready()["pid"], signal.SIGUSR2)
        running.until("has taken over", count=2)
        assert not gone([running.process.pid], 0)
        upstream.go_on()
        assert [answer.read().count(b"data: ") for answer in answers] == [EVENTS + 1] * 3
        running.comes_to("pointsman_responses_total", 3)
        assert gone([second])


def test_the_end_loses_no_request(several: Serving) -> None:
    """Whoever was let in is answered; whoever comes later is refused, and can go elsewhere."""
    pids = several.pids()
    with Load(several.port) as load:
        load.more(300)
        several.process.terminate()
        assert several.process.wait(LONGEST_WAIT) == 0
        while not load.refused:  # the test's own limit bounds it
            time.sleep(0.005)
    assert load.lost == []
    assert set(load.answers) == {"200"}
    assert gone(pids)


def test_workers_do_not_outlive_their_supervisor(several: Serving) -> None:
    """Killed, it leaves workers that drain and end, and a port that another can have at once.

    Nothing is lost but, at worst, a connection that comes at the instant in which the last worker closes the socket.
    """
    pids = several.pids()
    with Load(several.port) as load:
        load.more(100)
        several.process.kill()
        several.process.wait()
        assert gone(pids)
    assert {kind for _, kind in load.lost} <= {"fresh"}
    with socket.create_server(("127.0.0.1", several.port)):
        assert several.errors.read_text().count("the supervisor is gone: draining") == 2


def failing(folder: Path, policy: str, *words: str) -> str:
    """What a start that fails says."""
    (folder / "policy.yaml").write_text(policy)
    done = subprocess.run(
        command(folder, "--workers", "2", "--admin-port", "0", *words),
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_a_start_that_fails_says_one_line_and_leaves_nothing(tmp_path: Path, upstream: int) -> None:
    """Whether the supervisor finds it or only a worker does."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"can't listen on 127.0.0.1:{port}" in failing(tmp_path, policy_of(upstream), "--port", port)
    assert ": broken: " in failing(tmp_path, "broken: true", "--port", "0")
    handled = policy_of(upstream).replace("owner: us", "handler: {path: missing.py}")
    assert "missing.py" in failing(tmp_path, handled, "--port", "0")
    said = failing(tmp_path, policy_of(upstream), "--port", "0", "--log", "/nowhere/requests.log")
    assert said.splitlines()[-1].startswith("pointsman serve: /nowhere/requests.log: No such file or directory")


def test_operators_reach_every_worker(several: Serving) -> None:
    """Rows of all workers, a write in all workers, one warmer among them."""
    several.spread(Load(several.port))
    rows = json.loads(several.read("/admin/breakers"))["breakers"]
    assert [row["worker"] for row in rows] == [0, 1]
    answer = several.write("/admin/breakers/first/reset")
    assert answer["reset"] is True
    assert len(answer["breakers"]) == 2
    tasks = json.loads(several.read("/admin/tasks"))["tasks"]
    assert (tasks["handlers-watch"], tasks["warmer"], tasks["uses"]) == (2, 1, 2)


def test_an_idle_worker_is_small(several: Serving) -> None:
    """Under 80 MB: its proportional share of memory, by the kernel's own count."""
    for pid in several.pids():
        assert memory(pid, "Pss") < 80_000_000


def test_so_is_one_with_targets_at_aws_and_an_exporter_of_traces(tmp_path: Path, upstream: int) -> None:
    """All of its memory that is resident, what it has in common with others included; the model takes the spans too."""
    url = f"http://127.0.0.1:{upstream}"
    aws = f'  dedicated: {{kind: endpoint, endpoint: e, region: us-east-1, url: "{url}"}}\nendpoints:\n'
    policy = policy_of(upstream).replace("endpoints:\n", aws) + "  other: {serve_from: dedicated}\n"
    nobody = {"HOME": str(tmp_path)}  # whose .netrc says nothing of the collector
    with served(tmp_path, policy, "--otel", url, "--sample", "1", variables=nobody) as running:
        running.spread(Load(running.port))
        for pid in running.pids():
            assert memory(pid, "Rss") < 80_000_000


def memory(pid: int, count: str) -> int:
    """Bytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(f"{count}:"))
