"""What a service manager is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from proxy.notify import notify


@pytest.mark.parametrize("abstract", [True, False])
def test_the_words_arrive_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """At a path, or at an abstract address, as systemd gives either."""
    name = f"@{tmp_path}/notify" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        notify({"NOTIFY_SOCKET": name}, "READY=1", "MAINPID=7")
        assert manager.recv(100) == b"READY=1\nMAINPID=7"


def test_nobody_who_listens_is_no_reason_not_to_serve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the variable nothing is done, with a dead one the log says so."""
    notify({}, "READY=1")
    assert caplog.text == ""
    notify({"NOTIFY_SOCKET": str(tmp_path / "nothing")}, "READY=1")
    assert "can't be told READY=1" in caplog.text
