"""What hangs while a worker loads it, with two workers in processes of their own: a limit, words, and nothing lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .serving import Load, Serving, model, policy_of, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIMIT = ("--load-time", "1")
HANGS = """
import pathlib
if pathlib.Path({flag!r}).exists():
    pathlib.Path({fifo!r}).read_text()  # until somebody writes, and nobody does

def input_fn(body, content_type):
    return body
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    with model() as port:
        yield port


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    """Whether this file is there decides whether `model.py`, beside it, ever comes to the end of its import."""
    flag, fifo = tmp_path / "flag", tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "model.py").write_text(HANGS.format(flag=str(flag), fifo=str(fifo)))
    return flag


def handled(upstream: int, run: str) -> str:
    return policy_of(upstream).replace("owner: us", f"owner: us, handler: {{path: model.py, run: {run}}}")


def release(fifo: Path) -> None:
    """Let whoever waits there, if anybody does, come to an end."""
    with suppress(OSError):
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


def row(running: Serving) -> dict[str, object]:
    """What operators are told of worker 0."""
    found: dict[str, object] = running.ready()["workers"][0]
    return found


def test_an_upgrade_and_a_worker_that_hang_over_a_handler(tmp_path: Path, upstream: int, hanging: Path) -> None:
    """The old processes go on with everything; a worker is replaced, and comes back once the reason is gone."""
    what = f"it has said nothing for 4 looks while it loaded the handler {tmp_path}/model.py; if that only takes long"
    with served(tmp_path, handled(upstream, "inline"), *LIMIT) as running, Load(running.port, clients=4) as load:
        load.more(20)
        before = running.ready()["pid"], *running.pids()
        hanging.touch()
        running.process.send_signal(signal.SIGUSR2)
        os.kill(before[1], signal.SIGKILL)
        running.until("worker 0 is gone (signal 9)")
        lost = len(load.lost)
        while row(running)["loading"] != f"the handler {tmp_path}/model.py":
            load.more(5)
        running.until(f"worker 0 is gone ({what}")
        running.until(f"pointsman serve: a worker did not start: {what}")
        hanging.unlink()
        running.until("the upgrade failed, nothing has changed")
        assert f'File "{tmp_path}/model.py", line 4 in <module>' in running.errors.read_text()
        while running.value('pointsman_worker_up{worker="0"}') != 1.0:
            release(tmp_path / "fifo")
            load.more(5)
        assert str(row(running)["ended"]).startswith(what)
        assert running.value("pointsman_worker_hung_total") >= 1
        assert (running.ready()["pid"], running.pids()[1], running.ready()["problem"]) == (before[0], before[2], None)
    assert (len(load.lost), load.refused, set(load.answers)) == (lost, 0, {"200"})
    assert lost <= load.clients


def test_a_changed_handler_that_hangs_stands_in_one_worker_alone(tmp_path: Path, upstream: int, hanging: Path) -> None:
    """The other serves on by the one before, and takes the new one once a worker could load it."""
    with served(tmp_path, handled(upstream, "inline"), *LIMIT) as running:
        running.spread(load := Load(running.port, clients=4))
        before = running.pids()
        hanging.touch()
        with load:
            os.utime(tmp_path / "model.py")
            running.until("a changed handler is not used, the one before it goes on")
            load.more(20)
            running.until("it has said nothing for 4 looks while it loaded the handler")
            load.more(20)
            stays = [pid for pid in running.pids() if pid in before]
            assert len(stays) == 1
            assert len(load.lost) <= load.clients
            hanging.unlink()
            while "a changed handler is in force" not in running.errors.read_text():
                release(tmp_path / "fifo")
                load.more(5)
            assert stays[0] in running.pids()
            while running.value("pointsman_worker_up") < 2:
                load.more(5)
        assert running.errors.read_text().count("a changed handler is not used") == 1
    assert (load.refused, set(load.answers)) == (0, {"200"})
    assert len(load.lost) <= load.clients


def test_a_reload_that_hangs_over_a_handler_is_refused(tmp_path: Path, upstream: int, hanging: Path) -> None:
    """All go on by the policy that they have, nothing is lost, and the next reload is not kept waiting."""
    with served(tmp_path, policy_of(upstream), *LIMIT) as running, Load(running.port, clients=4) as load:
        load.more(20)
        before = running.pids()
        hanging.touch()
        running.policy.write_text(handled(upstream, "thread"))
        running.process.send_signal(signal.SIGHUP)
        running.until("model.py: did not load within 1 s; mend what it waits for, or give more with --load-time")
        load.more(20)
        assert "did not load" in str(running.ready()["problem"])
        hanging.unlink()
        # A busy machine may need more than the limit, for the reload after one that has come through as well.
        while "/2 is in force" not in running.errors.read_text() or running.ready()["problem"] is not None:
            running.process.send_signal(signal.SIGHUP)
            load.more(20)
        load.more(20)
        assert running.pids() == before
    assert (load.lost, load.refused, load.backwards, set(load.answers)) == ([], 0, 0, {"200"})
    assert {label.split("/")[1] for label in load.policies} == {"1", "2"}
