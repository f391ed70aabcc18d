"""The proxy as an operator starts it: `pointsman serve` in a process of its own, on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.standins import ACCESS_KEY_ID, SECRET_ACCESS_KEY

START_SECONDS = 120.0
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    port: int
    admin_port: int
    log: Path
    """Its request log, one JSON object a line."""
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client_variables(self) -> Mapping[str, str]:
        """The whole change that a client needs, with a key that opens nothing and no profile of the user's."""
        return {
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDANYCLIENT",
            "AWS_SECRET_ACCESS_KEY": "any-client-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


@contextlib.contextmanager
def running_proxy(
    folder: Path, policy: str, *flags: str, variables: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """`pointsman serve` with `policy`, its files in `folder`; SIGTERM at the end, and it must end with 0.

    `variables` are put into its environment.
    """
    path, log, errors = folder / "policy.yaml", folder / "requests.log", folder / "serve.err"
    path.write_text(policy, encoding="utf-8")
    command = [str(Path(sys.executable).parent / "pointsman"), "serve", "--policy", str(path), "--log", str(log)]
    command += ["--port", "0", "--admin-port", "0", "--drain", "2", *flags]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POINTSMAN_"))}
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={
                **kept,
                "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
                **(variables or {}),
            },
        )
    assert process.stdout is not None
    with process.stdout as stdout:
        try:
            line = _first_line(process, stdout)
            if not line:
                code = process.wait(STOP_SECONDS)
                raise AssertionError(f"pointsman serve ended with {code}:\n{errors.read_text(errors='replace')}")
            ready = json.loads(line)
            yield Proxy(ready["port"], ready["admin_port"], log, process)
        finally:
            code = _stop(process)
    assert code == 0, f"pointsman serve ended with {code}:\n{errors.read_text(errors='replace')}"


def _first_line(process: subprocess.Popen[bytes], stdout: IO[bytes]) -> bytes:
    """What the proxy says when it is ready; empty when it ends first, which it is made to after `START_SECONDS`."""
    bound = threading.Timer(START_SECONDS, process.kill)
    bound.start()
    try:
        return stdout.readline()
    finally:
        bound.cancel()


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
