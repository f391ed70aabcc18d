"""`pointsman why`: found in the log, told in words."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.base import Usage
from backends.outcome import Outcome
from policies.migrating import Place
from proxy.cli import main
from proxy.cli.why import tell
from proxy.log_lines import line
from proxy.record import Record
from tests.outcomes import attempt, outcome

WANTED = outcome(request_id="wanted")
OTHERS = [outcome(request_id=f"other-{number}") for number in range(20)]
COMMAND = [sys.executable, "-m", "proxy", "why"]


def written(path: Path, *requests: Outcome) -> Path:
    """A log file of these requests."""
    path.write_bytes(b"".join(line(request) for request in requests))
    return path


def test_a_request_is_told_in_words() -> None:
    """Where it went, how long each part took and why: everything an operator asks first."""
    story = tell(
        outcome(
            component="blockgen",
            owner="apexguru-team",
            seconds=1.25,
            backend_seconds=1.2475,
            attempts=(
                attempt("import", "bedrock", failure="ModelNotReadyException", cold=True, seconds=0.0004),
                attempt("inline", "vllm", replica=1, seconds=1.2486),
            ),
            usage=Usage(12, 30),
            sdk_invocation_id="sdk-1",
            sdk_attempt=2,
            trace_id="0af7651916cd43dd8448eb211c80319c",
            operation="InvokeEndpointWithResponseStream",
            first_chunk_seconds=0.2,
            first_chunk_backend_seconds=0.19,
            parts_out=52,
            queue_seconds=0.0005,
        )
    )
    assert story.splitlines() == [
        "InvokeEndpointWithResponseStream on endpoint apexguru, component blockgen (owner: apexguru-team)",
        "  request    3f1e0c52-6a53-4d27-9ad1-0f0a6b1f5f11, 2026-09-21 14:13:20.250+00:00",
        "  ended      answered 200 by inline",
        "  why        endpoints.apexguru.serve_from; policy 0123456789ab/3",
        "  attempt 1  import (bedrock), 400 us, failed: ModelNotReadyException (no ready copy)",
        "  attempt 2  inline (vllm) replica 1, 1.25 s, answered",
        "  time       1.25 s: 1.25 s waiting for targets, 500 us waiting for a place there, 2.0 ms in this hop",
        "  stream     first piece after 200.0 ms, of which 190.0 ms waiting for targets; 52 parts sent",
        "  size       954 bytes in, 590 bytes out; 12 prompt and 30 generated tokens",
        "  client     try 2 of SDK call sdk-1; `pointsman why sdk-1` tells of all",
        "  trace      0af7651916cd43dd8448eb211c80319c",
    ]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            Place("apexguru", 2, "import", 0.05, 0.1, bypassed=False),
            "apexguru at step 2: 5% to import, copies of 10%; this request was meant for gpu",
        ),
        (
            Place("both", 0, "import", 0.25, 0.0, bypassed=False),
            "both on its way back: 25% to import; this request was meant for gpu",
        ),
        (
            Place("both", 3, "import", 0.0, 0.0, bypassed=True),
            "both is bypassed: nothing goes to import; this request was meant for gpu",
        ),
    ],
)
def test_where_the_migration_stood_is_told(place: Place, told: str) -> None:
    """Which step, how much went to the new target, and on which side this request was."""
    story = tell(outcome(migration=place, side="gpu")).splitlines()
    assert f"  migration  {told}" in story
    assert not [row for row in tell(outcome()).splitlines() if row.startswith("  migration")]


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"status": 400, "error_type": "ValidationError", "ended": "refused"}, "refused: 400 ValidationError"),
        ({"status": 503, "error_type": None, "ended": "failed"}, "failed: 503 without an error type"),
        ({"status": 424, "error_type": "ModelError", "ended": "deadline"}, "the deadline passed: 424 ModelError"),
        ({"status": 499, "ended": "client_gone"}, "the client went away before an answer"),
        (
            {"status": 200, "ended": "client_gone"},
            "the client went away while the answer by apexguru-gpu was being sent",
        ),
        (
            {"status": 200, "ended": "upstream_broken", "error_type": "ModelStreamError"},
            "the stream by apexguru-gpu had begun (status 200), then it broke off; the client got ModelStreamError",
        ),
        (
            {"status": 200, "ended": "deadline"},
            "the stream by apexguru-gpu had begun (status 200), then the deadline passed; the client got no end",
        ),
    ],
)
def test_each_end_has_its_words(changes: dict[str, Any], ending: str) -> None:
    """A failure says what the client was told, a broken stream that its status was 200."""
    assert f"  ended      {ending}\n" in tell(outcome(**changes))


def test_a_refused_request_has_no_targets_to_tell_of() -> None:
    """An unknown endpoint is said to be one, and no target is made up."""
    story = tell(outcome(endpoint="", attempts=(), status=400, ended="refused", why="", policy=""))
    assert "on an endpoint that the policy does not have" in story
    assert "  why        no target was chosen; policy not reached" in story
    assert "attempt" not in story


def test_a_request_that_was_not_read_blames_no_policy() -> None:
    """Who is refused at the door may have asked for an endpoint that is there: it is not said to be missing."""
    story = tell(outcome(endpoint="", operation=Record.operation, attempts=(), status=403, ended="refused"))
    assert story.splitlines()[0] == "A request of which nothing was read: neither its operation nor its endpoint"


def test_the_next_command_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the log that was named, and an id of a client's is one word to the shell, whatever stands in it."""
    tries = [outcome(request_id=f"try-{n}", sdk_invocation_id="call $(id)", sdk_attempt=n) for n in (1, 2)]
    folder = tmp_path / "of today"
    folder.mkdir()
    log = written(folder / "log", *OTHERS, *tries)
    assert main(["why", "try-1", "--log", str(log)]) == 0
    first = capsys.readouterr().out
    command = first.split("`")[1]
    assert command == f"pointsman why 'call $(id)' --log '{log}'"
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out == "".join(tell(one, str(log)) + "\n" for one in tries)


def test_an_attempt_tells_what_the_model_said() -> None:
    """The model's own status stands beside the failure, which the client saw as a 424."""
    story = tell(outcome(attempts=(attempt(failure="ModelError", status=500, throttled=True, timed_out=True),)))
    assert "failed: ModelError (throttled, timed out, the model said 500)" in story


@pytest.mark.parametrize(
    ("failure", "status", "told"),
    [
        ("answered 424 ModelError", 400, "answered 424 ModelError (the model said 400)"),
        ("answered 400", 400, "answered 400 (the model said 400)"),
        ("answered 403 ExpiredTokenException", 403, "answered 403 ExpiredTokenException\n"),
        ("answered 503 without a type", 503, "answered 503 without a type\n"),
    ],
)
def test_what_the_platform_said_is_not_put_into_the_models_mouth(failure: str, status: int, told: str) -> None:
    """The runbook goes by these words: a 403 that AWS gave is nothing that the caller has to mend."""
    assert f"failed: {told}" in tell(outcome(attempts=(attempt(failure=failure, status=status),)))


def test_an_attempt_tells_the_targets_own_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By which others know the request, and by which it is found here as well."""
    theirs = outcome(attempts=(attempt(failure="ModelError", upstream_request_id="theirs"), attempt()))
    assert "failed: ModelError; there it is theirs\n" in tell(theirs)
    log = written(tmp_path / "log", *OTHERS, theirs)
    assert main(["why", "theirs", "--log", str(log)]) == 0
    assert capsys.readouterr().out == tell(theirs) + "\n"


def test_a_log_cannot_drive_the_terminal() -> None:
    """Escape sequences in a client's values are shown, not obeyed."""
    story = tell(outcome(sdk_invocation_id="\x1b[2J\x9b1m", owner="a\u202eb"))
    assert "\\u001b[2J\\u009b1m" in story
    assert "a\\u202eb" in story


def test_a_request_is_found_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 and the story of this request alone."""
    log = written(tmp_path / "log", *OTHERS, WANTED, *OTHERS)
    assert main(["why", "wanted", "--log", str(log)]) == 0
    assert capsys.readouterr().out == tell(WANTED) + "\n"


def test_what_a_handler_asked_for_hides_no_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the request's id, and its line stands before the request's, of which the client knows."""
    asked = outcome(request_id="wanted", endpoint="texteval", inner=True)
    log = written(tmp_path / "log", *OTHERS, asked, WANTED, *OTHERS)
    assert main(["why", "wanted", "--log", str(log)]) == 0
    assert capsys.readouterr().out == tell(asked) + "\n" + tell(WANTED) + "\n"
    assert "asked for by the customer's code of the request that follows" in tell(asked).splitlines()[0]


def test_json_is_the_line_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts get the log's own object."""
    log = written(tmp_path / "log", *OTHERS, WANTED)
    assert main(["why", "wanted", "--log", str(log), "--json"]) == 0
    assert capsys.readouterr().out.encode() == line(WANTED)


def test_a_client_calls_id_finds_every_try(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An SDK's retries are requests of their own under one amz-sdk-invocation-id; a trace id does the same."""
    tries = [
        outcome(request_id=f"try-{number}", sdk_invocation_id="call", sdk_attempt=number, trace_id="feed")
        for number in (1, 2)
    ]
    log = written(tmp_path / "log", tries[0], *OTHERS, tries[1])
    for wanted in ("call", "feed"):
        assert main(["why", wanted, "--log", str(log), "--json"]) == 0
        assert [json.loads(text)["request_id"] for text in capsys.readouterr().out.splitlines()] == ["try-1", "try-2"]


def test_an_id_elsewhere_in_a_line_is_no_match(tmp_path: Path) -> None:
    """Only the ids are compared, and whole: not the plan's words, not a longer id."""
    log = written(tmp_path / "log", outcome(why="wanted"), outcome(request_id="wanted-2"))
    assert main(["why", "wanted", "--log", str(log)]) == 1


def test_rotated_logs_are_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FILE.1, dated and compressed neighbours too, whether or not FILE itself exists at this moment."""
    log = tmp_path / "requests.log"
    written(tmp_path / "requests.log.1", *OTHERS)
    (tmp_path / "requests.log-20260101.gz").write_bytes(gzip.compress(line(WANTED)))
    written(tmp_path / "requests.logs", WANTED)
    for _ in range(2):
        assert main(["why", "wanted", "--log", str(log)]) == 0
        assert capsys.readouterr().out == tell(WANTED) + "\n"
        written(log, *OTHERS)


def test_newer_logs_come_first_and_a_request_found_ends_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request's own id occurs once: older logs are not read, so that a damaged one does not matter."""
    log = written(tmp_path / "log", *OTHERS)
    damaged = tmp_path / "log.3.gz"
    damaged.write_bytes(gzip.compress(line(WANTED))[:-9])
    os.utime(damaged, (1000, 1000))
    os.utime(written(tmp_path / "log.2", outcome(request_id="old", trace_id="feed")), (2000, 2000))
    os.utime(written(tmp_path / "log.1", WANTED, outcome(request_id="new", trace_id="feed")), (3000, 3000))
    assert main(["why", "wanted", "--log", str(log)]) == 0
    damaged.unlink()
    capsys.readouterr()
    assert main(["why", "feed", "--log", str(log), "--json"]) == 0
    assert [json.loads(text)["request_id"] for text in capsys.readouterr().out.splitlines()] == ["new", "old"]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    """Patterns in the log's name are not expanded."""
    written(tmp_path / "log[1]", *OTHERS)
    written(tmp_path / "log[1].1", WANTED)
    assert main(["why", "wanted", "--log", str(tmp_path / "log[1]")]) == 0


def test_torn_lines_and_prefixes_are_no_obstacle(tmp_path: Path) -> None:
    """A log that container tools prefixed, with other output and half a line in it, still gives its requests."""
    log = tmp_path / "log"
    log.write_bytes(b"starting\n\n" + line(WANTED)[:50] + b"\n\xff\xfe\nproxy-1 | " + line(WANTED))
    assert main(["why", "wanted", "--log", str(log)]) == 0


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"", "there was nothing to read"),
        (b"GET / 200\n", "none of them is a request's log line"),
        (line(OTHERS[0]), "check that it is the x-amzn-RequestId"),
    ],
)
def test_not_found_says_what_to_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, advice: str
) -> None:
    """Exit 1, and advice that fits what was there to read."""
    (tmp_path / "log").write_bytes(content)
    assert main(["why", "wanted", "--log", str(tmp_path / "log")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert advice in captured.err


@pytest.mark.parametrize(
    "arguments", [["why", "wanted", "--log", "/nonexistent/log"], ["why", "wanted", "--log", "/"], ["why", " "]]
)
def test_what_cannot_be_read_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A wrong path or an empty id is wrong usage, told in one line."""
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_archive_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut short or damaged, it is reported and not traced back."""
    packed = gzip.compress(b"".join(line(request) for request in OTHERS) * 50)
    for damaged in (packed[: len(packed) // 2], packed[:40] + b"\xff" * 40 + packed[80:]):
        (tmp_path / "log.gz").write_bytes(damaged)
        assert main(["why", "wanted", "--log", str(tmp_path / "log.gz")]) == 2
        assert "can't read the log" in capsys.readouterr().err


@pytest.mark.slow
def test_a_piped_log_is_read_from_standard_input() -> None:
    """`kubectl logs POD | pointsman why ID`, with and without `--log -`."""
    for extra in ([], ["--log", "-"]):
        done = subprocess.run([*COMMAND, "wanted", *extra], input=line(WANTED), capture_output=True, check=False)
        assert (done.returncode, done.stdout.decode()) == (0, tell(WANTED) + "\n")


@pytest.mark.slow
def test_without_a_log_a_terminal_is_told_how_to_name_one() -> None:
    """It must not sit there and wait for someone to type a log."""
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run([*COMMAND, "wanted"], stdin=terminal, capture_output=True, check=False)
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == 2
    assert b"--log FILE" in done.stderr
