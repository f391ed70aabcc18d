"""wrk as the source of load, where it is installed: it costs a third of our own client, which fast servers outrun."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..load import Shot

SCRIPT = """\
function init(args)
  local file = io.open(args[1], "rb")
  wrk.method, wrk.body = "POST", file:read("*a")
  wrk.headers["Content-Type"] = "application/json"
  file:close()
end
function done(summary)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("\\nmeasured %d %d %d\\n", summary.requests, failed, summary.duration))
end
"""


def program() -> str | None:
    """Where wrk is."""
    return shutil.which("wrk")


def load(found: str, target: Shot, connections: int, seconds: float) -> tuple[int, float]:
    """Answers over `connections` kept connections, and the seconds it took: whole ones, wrk knows no fractions.

    Raises RuntimeError when an answer is no 2xx or a connection breaks.
    """
    head, body = target.data.split(b"\r\n\r\n", 1)
    path = head.split(b" ", 2)[1].decode()
    with tempfile.TemporaryDirectory() as folder:
        script, sent = Path(folder, "post.lua"), Path(folder, "body")
        script.write_text(SCRIPT)
        sent.write_bytes(body)
        flags = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "-s", str(script)]
        command = [found, *flags, f"http://{target.host}:{target.port}{path}", "--", str(sent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    measured = re.search(r"^measured (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
    if measured is None or int(measured[2]) or not int(measured[1]):
        raise RuntimeError(f"wrk: {(done.stderr or done.stdout).strip()[-500:]}")
    return int(measured[1]), int(measured[3]) / 1e6
