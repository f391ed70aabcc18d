"""Several workers behind TLS, with issued keys, as a container, and through what is rarer than one reload."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from proxy.keys import Key, Principal, derived, digest, fresh_id, line, token

from .serving import BODY, EVENTS, LONGEST_WAIT, Load, Model, end, gone, model, policy_of, request, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TLS = Path(__file__).parents[2] / "data" / "tls"
MASTER = b"m" * 43
ID = fresh_id(b"a" * 11)
SECRET = derived(MASTER, ID)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Model]:
    with model() as port:
        yield port


def answered(connection: socket.socket) -> str:
    """The status of the answer that comes next; empty when none comes."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return ""
            data += piece
    except ConnectionError:
        return ""
    return data.split(b" ")[1].decode()


def asked(port: int, more: str = "", path: bytes | None = None) -> socket.socket:
    """A connection on which a request has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), LONGEST_WAIT)
    connection.sendall((path or request(more=more)) + (b"" if path else BODY))
    return connection


def test_every_worker_asks_for_tls_and_keys(tmp_path: Path, upstream: int) -> None:
    """On any of its connections, whichever worker has it; a key that is taken out of the file ends in all of them."""
    keys = tmp_path / "keys"
    keys.write_text(line(Key(ID, digest(SECRET), Principal("team-a", ("chat",)))))
    keys.chmod(0o600)
    words = ("--tls-cert", str(TLS / "server.pem"), "--tls-key", str(TLS / "server.key"), "--keys", str(keys))
    trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    trust.check_hostname = False

    def statuses(more: str) -> set[str]:
        found = set()
        for _ in range(8):
            raw = socket.create_connection(("127.0.0.1", running.port), LONGEST_WAIT)
            with trust.wrap_socket(raw, server_hostname="localhost") as connection:
                connection.sendall(request(more=more) + BODY)
                found.add(answered(connection))
        return found

    bearer = f"Authorization: Bearer {token(ID, SECRET)}\r\n"
    with served(tmp_path, policy_of(upstream), *words) as running:
        running.until(f"serving on https://127.0.0.1:{running.port},")  # it says so when it has told who started it
        assert statuses(bearer) == {"200"}
        assert statuses("") == {"403"}
        keys.write_text("")
        while (found := statuses(bearer)) != {"403"}:  # within two seconds, the test's own limit bounds it
            assert found <= {"200", "403"}


def test_every_worker_goes_by_the_proxy(tmp_path: Path, upstream: int) -> None:
    """That the variables of this process name, to a target whose name nobody else can resolve."""
    policy = policy_of(upstream).replace(f"127.0.0.1:{upstream}", "engine.test")
    with served(tmp_path, policy, variables={"http_proxy": f"http://127.0.0.1:{upstream}"}) as running:
        for _ in range(8):
            with asked(running.port) as connection:
                assert answered(connection) == "200"
        running.until(f"the way out: http targets by the proxy 127.0.0.1:{upstream}\n", count=2)


def test_many_names_may_be_silent_at_once(tmp_path: Path, upstream: int) -> None:
    """Each holds a thread until the system gives it up, and every worker has 32 of them once it looked up a name."""
    with served(tmp_path, policy_of(upstream).replace("127.0.0.1", "localhost")) as running:
        threads: set[int] = set()
        while min(threads, default=0) < 32:  # the test's own limit bounds it
            with asked(running.port) as connection:
                assert answered(connection) == "200"
            threads = {len(os.listdir(f"/proc/{pid}/task")) for pid in running.pids()}


def test_a_container_has_workers_and_no_admin_port(tmp_path: Path, upstream: int) -> None:
    """Its health and its invocations, from every worker."""
    with served(tmp_path, policy_of(upstream), "--face", "container", "--host", "127.0.0.1") as running:
        assert running.admin_port is None
        for path, status in (
            (b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n", "200"),
            (b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n", "404"),
        ):
            for _ in range(6):
                with asked(running.port, path=path) as connection:
                    assert answered(connection) == status


def test_a_queue_outlives_the_workers_that_did_not_take_it(tmp_path: Path, upstream: int) -> None:
    """Connections that came while nobody accepted are served by the workers that are started next."""
    with served(tmp_path, policy_of(upstream)) as running:
        pids = running.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        connections = [asked(running.port) for _ in range(40)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert [answered(connection) for connection in connections] == ["200"] * 40
        for connection in connections:
            connection.close()


def test_a_worker_that_is_told_to_end_is_replaced_without_a_loss(tmp_path: Path, upstream: int) -> None:
    """SIGTERM to one worker, from whoever looks after memory: it drains, and another takes its place."""
    with served(tmp_path, policy_of(upstream)) as running, Load(running.port) as load:
        load.more(200)
        first = running.pids()[0]
        os.kill(first, signal.SIGTERM)
        running.until("worker 0 is gone (exit code 0)")
        while running.value('pointsman_worker_up{worker="0"}') != 1.0:
            load.more(20)
        load.more(200)
        assert first not in running.pids()
        counted = running.value("pointsman_responses_total")
    assert (load.lost, load.refused, set(load.answers)) == ([], 0, {"200"})
    assert counted <= load.answers.total()


def begun(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """A stream whose first piece is here."""
    connection.request("POST", "/endpoints/chat/invocations-response-stream", b'{"messages":[],"stream":true}')
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.peek(1)
    return answer


@pytest.mark.parametrize("way", ["upgrade", "end", "reload", "kill"])
def test_streams_outlive_all_but_their_worker(tmp_path: Path, upstream: Model, way: str) -> None:
    """They come to their own end within the drain time; those of a killed worker break off, and never end cleanly."""
    with served(tmp_path, policy_of(upstream)) as running, ExitStack() as opened:
        pids = running.pids()
        upstream.hold()
        opened.callback(upstream.go_on)
        connections = [http.client.HTTPConnection("127.0.0.1", running.port, timeout=LONGEST_WAIT) for _ in range(6)]
        for connection in connections:
            opened.callback(connection.close)
        streams = [begun(connection) for connection in connections]
        successor = None
        match way:
            case "upgrade":
                running.process.send_signal(signal.SIGUSR2)
                running.until("has taken over")
                assert running.process.poll() is None
                successor = running.ready()["pid"]
            case "end":
                running.process.terminate()
            case "reload":
                running.policy.write_text(running.policy.read_text().replace("owner: us", "owner: them"))
                running.process.send_signal(signal.SIGHUP)
                running.until("/2 is in force")
            case _:
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
        if way != "kill":
            upstream.go_on()
        for answer in streams:
            if way == "kill":
                with pytest.raises(http.client.IncompleteRead):
                    answer.read()
            else:
                assert answer.read().count(b'"content":"hi"') == EVENTS
        if successor is not None:
            end(successor)


def test_an_upgrade_follows_an_upgrade(tmp_path: Path, upstream: int) -> None:
    """A successor is succeeded as its predecessor was, and ends as it would have. SIGUSR2 means nothing to who is
    succeeded already, and what changes meanwhile is in force in the end."""
    with served(tmp_path, policy_of(upstream)) as running:
        text, supervisors = running.policy.read_text(), [running.ready()["pid"]]
        with Load(running.port) as load:
            for owner in ("them", "you"):
                os.kill(supervisors[-1], signal.SIGUSR2)
                running.until("starting a successor", count=len(supervisors))
                running.policy.write_text(text.replace("owner: us", f"owner: {owner}"))
                for number in (signal.SIGUSR2, signal.SIGHUP):
                    os.kill(supervisors[-1], number)
                running.until("has taken over", count=len(supervisors))
                assert gone(supervisors)
                supervisors.append(running.ready()["pid"])
                while owner not in running.read("/admin/policy"):
                    load.more(20)
                load.more(100)
        try:
            assert running.errors.read_text().count("starting a successor") == 2
            assert {worker["policy"] for worker in running.ready()["workers"]} == {running.ready()["policy"]}
            assert (load.lost, load.refused, load.backwards) == ([], 0, 0)
            running.comes_to("pointsman_responses_total", load.answers.total())
        finally:
            workers = running.pids()
            end(supervisors[-1])
        assert gone(workers)


def test_the_end_comes_before_an_upgrade_that_was_under_way(tmp_path: Path, upstream: int) -> None:
    """SIGTERM wins: the successor does not stay behind with the ports."""
    with served(tmp_path, policy_of(upstream)) as running:
        running.process.send_signal(signal.SIGUSR2)
        running.until("starting a successor")
        running.process.terminate()
        assert running.process.wait(LONGEST_WAIT) == 0
        with socket.create_server(("127.0.0.1", running.port)):
            pass


def test_a_handler_runs_in_every_worker_and_a_bad_one_in_none(tmp_path: Path, upstream: int) -> None:
    """A policy whose handler does not load in a worker is refused as a whole, though its text is right."""
    (tmp_path / "model.py").write_text("def input_fn(body, content_type):\n    return body\n")
    handled = policy_of(upstream).replace("owner: us", "owner: us, handler: {path: model.py, run: inline}")
    with served(tmp_path, policy_of(upstream)) as running, Load(running.port) as load:
        load.more(50)
        running.policy.write_text(handled)
        running.until("/2 is in force")
        load.more(50)
        (tmp_path / "other.py").write_text("raise ValueError('no')")
        running.policy.write_text(handled.replace("model.py", "other.py"))
        running.until("can't be used")
        load.more(50)
        facts = running.ready()
    assert facts["policy"].endswith("/2")
    assert {worker["policy"] for worker in facts["workers"]} == {facts["policy"]}
    assert re.search("other.py", facts["problem"])
    assert (load.lost, load.refused, set(load.answers)) == ([], 0, {"200"})


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def test_a_handlers_processes_end_with_their_worker(tmp_path: Path, upstream: int) -> None:
    """Each worker has its own, also the one that is started again; those of a killed one are not left behind."""
    (tmp_path / "model.py").write_text("def input_fn(body, content_type):\n    return body\n")
    handled = policy_of(upstream).replace("owner: us", "owner: us, handler: {path: model.py, run: process}")
    with served(tmp_path, handled) as running:
        first, second = running.pids()
        handlers = [children(first), children(second)]
        assert [len(each) for each in handlers] == [1, 1]
        os.kill(first, signal.SIGKILL)
        assert gone([first, *handlers[0]])
        running.until("worker 0 is gone")  # nobody has reaped it before that, and it counts as one that serves
        with Load(running.port) as load:
            while running.value('pointsman_worker_up{worker="0"}') != 1.0:
                load.more(5)
        assert len(children(running.pids()[0])) == 1
        running.process.terminate()
        running.process.wait(LONGEST_WAIT)
        assert gone(handlers[1])


def test_the_log_is_whole_with_several_writers(tmp_path: Path, upstream: int) -> None:
    """Lines of two processes in one file do not mix, however long they are."""
    with served(tmp_path, policy_of(upstream)) as running:
        with Load(running.port) as load:
            load.more(500)
        long = [asked(running.port, more=f"X-Amzn-SageMaker-Inference-Id: {'x' * 1000}\r\n") for _ in range(20)]
        for connection in long:
            answered(connection)
            connection.close()
        running.process.terminate()
        running.process.wait(LONGEST_WAIT)
        lines = [json.loads(each) for each in running.log.read_text().splitlines()]
    assert len(lines) == load.answers.total() + 20
