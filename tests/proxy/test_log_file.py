"""A log file that is moved away while it is written to."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from proxy.access_log import AccessLog
from proxy.log_file import LogFile
from tests.outcomes import outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.log"


def put(file: LogFile, text: bytes) -> None:
    file.stream().write(text)


def test_a_file_that_was_renamed_is_begun_anew(path: Path) -> None:
    """What came before stands in the renamed one, what comes after in the new one; so does a second time."""
    file = LogFile(path)
    for number in range(3):
        put(file, b"%d\n" % number)
        put(file, b"%d again\n" % number)
        path.rename(path.with_suffix(f".{number}"))
    file.close()
    for number in range(3):
        assert path.with_suffix(f".{number}").read_bytes() == b"%d\n%d again\n" % (number, number)


def test_one_that_somebody_has_begun_is_written_on(path: Path) -> None:
    """logrotate makes the new file itself, and other workers may have begun it; what they wrote stays."""
    file = LogFile(path)
    path.rename(path.with_suffix(".1"))
    path.write_bytes(b"theirs\n")
    put(file, b"ours\n")
    file.close()
    assert path.read_bytes() == b"theirs\nours\n"


def test_one_that_was_emptied_is_written_from_its_beginning(path: Path) -> None:
    """`copytruncate`: what comes next stands at the beginning, with no hole before it."""
    file = LogFile(path)
    put(file, b"before\n")
    path.write_bytes(b"")
    put(file, b"after\n")
    file.close()
    assert path.read_bytes() == b"after\n"


def test_where_no_file_can_be_opened_the_old_one_is_written_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No line is lost while somebody has put a folder there, or moved the whole folder away; later it is found. Each
    time it is said once, since the old file may be deleted before anybody looks."""
    file, kept = LogFile(path), path.with_suffix(".1")
    path.rename(kept)
    path.mkdir()
    put(file, b"still ")
    put(file, b"here\n")
    assert [record.getMessage() for record in caplog.records] == [
        f"--log {path} can't be begun anew: Is a directory; lines go on to the old file, wherever that was moved"
    ]
    path.rmdir()
    put(file, b"new\n")
    path.parent.rename(path.parent.with_name("away"))
    put(file, b"newer\n")
    assert len(caplog.records) == 2
    file.close()
    away = path.parent.with_name("away")
    assert (away / kept.name).read_bytes() == b"still here\n"
    assert (away / path.name).read_bytes() == b"new\nnewer\n"


def test_one_that_was_closed_is_given_as_it_is(path: Path) -> None:
    """A writer that a full pipe held up until after the end hears of it as of any closed stream."""
    file = LogFile(path)
    file.close()
    assert file.stream().closed


def test_one_that_cannot_be_opened_at_the_start_is_an_error(tmp_path: Path) -> None:
    """The process does not start, and says which."""
    with pytest.raises(FileNotFoundError, match=r"none/requests\.log"):
        LogFile(tmp_path / "none" / "requests.log")


def test_no_line_is_lost_while_the_log_is_rotated(path: Path) -> None:
    """Each request's line stands whole in one of the files, in the order of the requests."""
    file = LogFile(path)
    log = AccessLog(file.stream(), file.stream)
    for rotation in range(3):
        for number in range(100):
            log.write(outcome(bytes_in=100 * rotation + number))
            if number == 0:
                until_written(path)
        path.rename(path.with_suffix(f".{rotation}"))
    log.close()
    file.close()
    assert log.lost == 0
    parts = sorted(path.parent.glob("requests.*"), key=lambda part: (part == path, part))
    told = b"".join(part.read_bytes() for part in parts).splitlines()
    assert [json.loads(line)["bytes_in"] for line in told] == list(range(300))
    assert len(parts) >= 3


def until_written(path: Path) -> None:
    """Wait for the log's thread; the test's own time limit bounds it."""
    while not (path.exists() and path.stat().st_size):
        time.sleep(0.001)
