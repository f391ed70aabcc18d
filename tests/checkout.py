"""Parts for tests that run the product as a person would: a copy of the checkout, and programs started and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SETUP_SECONDS = 300.0
START_SECONDS = 240.0
STOP_SECONDS = 60.0
READY = "Ctrl-C ends all of it."


def variables(**more: str) -> dict[str, str]:
    """The environment of a child: this one, without AWS settings and without ours, but with a package cache."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "POINTSMAN_", "MAKE", "MFLAGS", "ARGS"))
    }
    return kept | more


def copy(folder: Path) -> None:
    """What git would carry of the checkout as it stands, changes included, into `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def ended(
    command: Sequence[str], folder: Path, seconds: float = 240.0, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with `more` variables."""
    env = variables(**(more or {}))
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=seconds, check=False)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, in a process group of its own as a terminal would give it."""

    process: subprocess.Popen[str]
    said: str
    """What it printed until it was ready."""

    def interrupt(self) -> int:
        """Ctrl-C: SIGINT to the whole group. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def left(self) -> list[str]:
        """Command lines of processes of the group that still run."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and os.getpgid(int(entry.name)) == self.process.pid:
                    found.append((entry / "cmdline").read_bytes().decode().replace("\0", " "))
        return found


@contextlib.contextmanager
def started(
    command: Sequence[str], folder: Path, ready: str, env: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """A program, once it has printed a line that contains `ready`; whatever is left of it at the end is killed."""
    errors = folder / f"{threading.get_ident()}.stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env) if env is not None else variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    bound = threading.Timer(START_SECONDS, process.kill)
    bound.start()
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if ready in line:
                break
        else:
            raise AssertionError(f"{' '.join(command)} ended early:\n{''.join(lines)}{errors.read_text()}")
        bound.cancel()
        yield Program(process, "".join(lines))
    finally:
        bound.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        errors.unlink(missing_ok=True)


def listening(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
