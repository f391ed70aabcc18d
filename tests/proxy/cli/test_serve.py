"""`pointsman serve` as a process: the ready line, the signals, and one line for each way not to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..parts import POLICY

pytestmark = pytest.mark.slow


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "serve", *words]


@contextmanager
def served(
    policy: Path, *words: str, on: set[int] | None = None
) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    """A proxy on free ports, and its ready line; `on`: the cores it may use."""
    before = os.sched_getaffinity(0)
    if on is not None:
        os.sched_setaffinity(0, on)  # a child keeps what it was started with
    process = subprocess.Popen(
        command("--policy", str(policy), "--port", "0", "--admin-port", "0", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(0, before)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def generation(ready: dict[str, object]) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{ready['admin_port']}/admin/policy") as answer:
        return int(json.load(answer)["policy"].split("/")[1])


def until(wanted: int, ready: dict[str, object]) -> None:
    """Wait for a policy's generation; the test's own time limit bounds it."""
    while generation(ready) != wanted:
        time.sleep(0.02)


def test_the_first_line_says_where_it_listens(policy: Path) -> None:
    """Scripts read host, ports and policy from it, and the ports answer."""
    with served(policy) as (process, ready):
        assert (ready["ready"], ready["host"]) == (True, "127.0.0.1")
        assert generation(ready) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_changed_file_and_a_hang_up_reload(policy: Path) -> None:
    """A saved file is seen without a signal; a bad one keeps the old policy; SIGHUP looks at once."""
    with served(policy) as (process, ready):
        policy.write_text(POLICY.replace("owner: us", "owner: them"))
        until(2, ready)
        policy.write_text("nonsense: [")
        process.send_signal(signal.SIGHUP)
        policy.write_text(POLICY)
        process.send_signal(signal.SIGHUP)
        until(3, ready)


def worked(process: subprocess.Popen[str]) -> float:
    """Seconds of CPU that it and its workers have used, as /proc/PID/stat counts them."""
    pids = [str(process.pid), *Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_polls_is_awake_after_a_request(policy: Path, workers: str) -> None:
    """After one request of a client it works for as long as it was told to, with nothing to do; before, it slept. Where
    that leaves no core to anybody else, one line says so."""
    words = ("--busy-poll", "60", "--workers", workers)
    with served(policy, *words, on={min(os.sched_getaffinity(0))}) as (process, ready):
        assert process.stderr is not None
        assert "1 of 1 cores are taken whole" in process.stderr.readline()
        with socket.create_connection(("127.0.0.1", int(str(ready["port"])))) as client:
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(9) == b"HTTP/1.1 "
        before = worked(process)
        while worked(process) < before + 1.0:  # idle, that would take minutes
            time.sleep(0.02)


def refused(words: Sequence[str]) -> str:
    """Run a start that must fail: exit 2, and one line on standard error."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_port_in_use_is_one_line(policy: Path) -> None:
    """It names the address and the flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(["--policy", str(policy), "--port", str(port), "--admin-port", "0"])
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


def test_a_missing_policy_is_one_line(tmp_path: Path) -> None:
    """It names the file and the flag."""
    line = refused(["--policy", str(tmp_path / "gone.yaml"), "--port", "0"])
    assert "gone.yaml: No such file" in line
    assert "--policy" in line


def test_an_address_that_is_not_this_machines_is_one_line(policy: Path) -> None:
    """Another port would not help: it names the other flag."""
    line = refused(["--policy", str(policy), "--host", "192.0.2.1", "--no-auth", "--port", "0"])
    assert line.endswith("name an address of this machine with --host\n")


def test_no_policy_at_all_is_one_line() -> None:
    """It says which flag."""
    assert "--policy" in refused(["--port", "0"])


def test_an_unwritable_log_is_one_line(policy: Path, tmp_path: Path) -> None:
    """It names the file and the flag."""
    line = refused(["--policy", str(policy), "--port", "0", "--log", str(tmp_path / "none" / "log")])
    assert "none/log" in line
    assert "--log" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read {file}: No such file or directory; give the path of a file"),
        (b"apiVersion: pointsman-prices/v1\n", "{file}:1: date: Field required"),
        (b"\xff\xfe", "{file} is not UTF-8 at byte 0; that is not a file of prices"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_prices_that_cannot_be_used_do_not_start(
    policy: Path, tmp_path: Path, content: bytes | None, told: str, workers: str
) -> None:
    """Found out when the first cost is asked for, they would leave costs unknown and say so once."""
    file = tmp_path / "prices.yaml"
    if content is not None:
        file.write_bytes(content)
    words = command("--policy", str(policy), "--port", "0", "--prices", str(file), "--workers", workers)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"pointsman serve: --prices: {told.format(file=file)}"


def test_an_open_address_needs_a_word(policy: Path) -> None:
    """Listening for others without authentication is refused unless --no-auth says so."""
    assert "--no-auth" in refused(["--policy", str(policy), "--host", "0.0.0.0", "--port", "0"])


def test_every_problem_of_a_policy_is_told(tmp_path: Path) -> None:
    """A policy with three mistakes is refused with all three and their lines."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("serve_from: first, fallback", "serve_form: first, fallback") + "extra: 1\n")
    words = command("--policy", str(path), "--port", "0", "--admin-port", "0")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "serve_from" in done.stderr
    assert "extra" in done.stderr


def test_nothing_of_the_users_environment_is_needed(policy: Path) -> None:
    """No home, no AWS variables, no locale: the process starts and serves."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    words = command("--policy", str(policy), "--port", "0", "--admin-port", "0")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as bare:
        assert bare.stdout is not None
        assert json.loads(bare.stdout.readline())["ready"] is True
        bare.send_signal(signal.SIGINT)
        assert bare.wait(60) == 0
