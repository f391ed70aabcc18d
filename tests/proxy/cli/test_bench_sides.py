"""How `pointsman bench-candidate` measures for real: targets on loopback, a proxy of its own or one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backends.emulator.config import load_config
from backends.emulator.server import Emulator
from proxy.cli import main
from proxy.rehearsal.live import as_written, proxied
from proxy.wiring import static_credentials
from tests.proxy.rehearsal.test_live import KEYS, POLICY, STAND_INS, unread

MOVING = POLICY.replace(
    "fallback: [new]}",
    "migrate: {to: new, steps: [{share: 50%, hold: 1h}, {share: 100%}], gates: {errors: at most +1 points}}}",
)
ALONE = "  new-alone: {clients_speak: openai-chat, serve_from: new}\n"


@contextmanager
def running(policy: str) -> Iterator[tuple[str, str]]:
    """Targets and a proxy in front of them, in a thread of their own: where the one is and where the other."""
    places: list[str] = []
    ready, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def whole() -> None:
        emulator = Emulator(load_config(STAND_INS, "emulator.yaml"))
        where = f"http://127.0.0.1:{await emulator.start('127.0.0.1', 0)}"
        try:
            there = as_written(policy, "policy.yaml", {"WHERE": where}, unread)
            async with proxied(there, "policy.yaml", {}, static_credentials(*KEYS)) as url:
                places.extend((where, url))
                ready.set()
                await ended.wait()
        finally:
            await emulator.stop()
            ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(whole()), daemon=True)
    thread.start()
    try:
        ready.wait()
        yield places[0], places[1]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def words(folder: Path, policy: str, where: str) -> list[str]:
    path = folder / "policy.yaml"
    path.write_text(policy.replace("${WHERE}", where))
    quick = ["--concurrency", "1,2", "--settle", "0s", "--calls", "5", "--seconds", "10m", "--json"]
    return ["bench-candidate", "chat", "--policy", str(path), *quick]


def test_a_proxy_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides are asked in front of the policy's targets, with this machine's credentials, so often and no more."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    with running(MOVING) as (where, _):
        assert main(words(tmp_path, MOVING, where)) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["measured"] == "the policy's targets"
    assert [row["answered_by"] for row in told["rows"]] == [{"old": 5}, {"old": 5}, {"new": 5}, {"new": 5}]
    assert "measuring new for 20m: 1, 2 clients at a time, at most 5 calls each" in said.err


def test_a_proxy_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The candidate is asked by the name that serves it alone; without such a name there is one line on what to do."""
    policy = MOVING + ALONE
    with running(policy) as (where, url):
        assert main([*words(tmp_path, policy, where), "--url", url]) == 0
        told = json.loads(capsys.readouterr().out)
        assert main([*words(tmp_path, MOVING, where), "--url", url]) == 2
    assert [row["answered_by"] for row in told["rows"]] == [{"old": 5}, {"old": 5}, {"new": 5}, {"new": 5}]
    assert "add an endpoint with serve_from: new to its policy" in capsys.readouterr().err


def test_calls_that_are_spent_while_it_settles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything was answered and nothing counted: it is said which of the two numbers to change."""
    policy = MOVING + ALONE
    with running(policy) as (where, url):
        assert main([*words(tmp_path, policy, where), "--url", url, "--settle", "1h"]) == 2
    told = "all that old answered was over before --settle had passed: give a shorter one, or more --calls than 5"
    assert told in capsys.readouterr().err


def test_addresses_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No URL, or one beside stand-ins; a flag that makes no sense."""
    plain = words(tmp_path, MOVING, "http://127.0.0.1:1")
    for more, says in (
        (["--url", "localhost"], "--url localhost: give the address of a proxy"),
        (["--url", "http://x", "--stand-ins", "y"], "--url and --stand-ins"),
        (
            ["--url", "http://127.0.0.1:port"],
            "--url http://127.0.0.1:port: no proxy can be reached there: Port could not",
        ),
        (["--calls", "0"], "--calls 0: give at least one"),
        (["--body", "/nowhere"], "--body: cannot read /nowhere"),
    ):
        assert main([*plain, *more]) == 2
        assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_proxy_that_is_not_there_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every call would fail, for as long as the measurement takes."""
    assert main([*words(tmp_path, MOVING, "http://127.0.0.1:1"), "--url", "http://127.0.0.1:1"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(
        "pointsman bench-candidate: --url http://127.0.0.1:1: no proxy can be reached there: Connection refused; "
    )


@contextmanager
def hanging_up() -> Iterator[str]:
    """Takes every connection and closes it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def whole() -> None:
        with contextlib.suppress(OSError):  # it is shut down
            while True:
                listening.accept()[0].close()

    thread = threading.Thread(target=whole, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
        listening.close()


def test_a_proxy_that_answers_no_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said where to look, also where no call was counted."""
    with hanging_up() as url:
        plain = [*words(tmp_path, MOVING, url), "--url", url, "--calls", "1"]
        for more, says in (
            ((), "most with no answer: look at --url, the proxy's log"),
            (("--settle", "1h"), "every call to old failed, most with no"),
        ):
            assert main([*plain, *more]) == 2
            assert says in capsys.readouterr().err.splitlines()[-1]
