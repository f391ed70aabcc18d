"""The clients that the contract is tested with, each a process in its own environment, all with the same two verbs.

`Client.call` makes one call and returns what the client made of it. `Client.follow` makes a streaming call and yields
its news one by one, as the client hands them out. Nothing of the client runs in the test's own process.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.answers import STREAM, UNARY, Ask, Told, pack, unpack
from tests.environments import Say, environment

CHECKOUT = Path(__file__).parents[2]
DRIVERS = {
    "boto3-newest": "drive_boto3",
    "boto3-1.43": "drive_boto3",
    "aiobotocore": "drive_aiobotocore",
    "awscli": "drive_awscli",
}
STREAMING = tuple(name for name in DRIVERS if name != "awscli")
"""Clients that have the streaming operation."""
CLOSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client made of one call. None: the client does not tell."""

    status: int | None
    members: Mapping[str, Any]
    headers: Mapping[str, str] | None
    body: bytes
    error: Told | None
    retries: int | None
    parts: tuple[bytes, ...] = ()
    """The PayloadParts of a stream, in order."""
    began: bool = False
    """The client had the head of a stream before the call ended."""

    @property
    def joined(self) -> bytes:
        return b"".join(self.parts)


@dataclass(slots=True)
class Client:
    """A running driver."""

    name: str
    process: subprocess.Popen[str]
    told_status: bool = field(init=False)
    """The client tells status, headers and the members of errors; the AWS CLI does not."""

    def __post_init__(self) -> None:
        self.told_status = self.name != "awscli"

    def call(
        self,
        params: Mapping[str, str],
        body: bytes,
        *,
        stream: bool = False,
        attempts: int | None = 1,
        read_timeout: float = 120.0,
    ) -> Answer:
        """Make one call; `attempts` None leaves retries to the client's own defaults."""
        *news, last = self.follow(params, body, stream=stream, attempts=attempts, read_timeout=read_timeout)
        assert isinstance(last, Answer)
        parts = tuple(each for each in news if isinstance(each, bytes))
        return Answer(
            last.status, last.members, last.headers, last.body, last.error, last.retries, parts, began="began" in news
        )

    def follow(
        self,
        params: Mapping[str, str],
        body: bytes,
        *,
        stream: bool = True,
        attempts: int | None = 1,
        read_timeout: float = 120.0,
    ) -> Iterator[str | bytes | Answer]:
        """Make one call and yield "began", the bytes of each PayloadPart and at last the Answer, when each happens."""
        ask: Ask = {
            "operation": STREAM if stream else UNARY,
            "params": dict(params),
            "body": pack(body),
            "attempts": attempts,
            "read_timeout": read_timeout,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            news = json.loads(line)
            if "part" in news:
                yield unpack(news["part"]["bytes"])
            elif "began" in news:
                yield "began"
            else:
                done = news["done"] | {"body": unpack(news["done"]["body"])}
                yield Answer(**done)
                return
        raise AssertionError(f"the driver of {self.name} ended with {self.process.wait()}")


@contextlib.contextmanager
def running_client(name: str, variables: Mapping[str, str], *, say: Say | None = None) -> Iterator[Client]:
    """The client `name` in its environment, told by `variables` where the service is; nothing of AWS is inherited."""
    python = environment(name, say=say)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    process = subprocess.Popen(
        [str(python), "-m", f"tests.clients.{DRIVERS[name]}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={**kept, **variables},
    )
    try:
        yield Client(name, process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
