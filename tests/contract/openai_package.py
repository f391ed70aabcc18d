"""OpenAI's own package as a client: a process in its own environment, one call after another."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.environments import Say, environment

from .clients import CHECKOUT

CHAT, TEXT = "chat.completions.create", "completions.create"


@dataclass(slots=True)
class Package:
    """The running driver."""

    process: subprocess.Popen[str]

    def __call__(
        self, base_url: str, method: str, *, key: str = "EMPTY", retries: int = 0, **arguments: Any
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """One call: the chunks of its stream, and its end."""
        ask = {"base_url": base_url, "key": key, "retries": retries, "method": method, "arguments": arguments}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(ask) + "\n")
        self.process.stdin.flush()
        parts: list[dict[str, Any]] = []
        for line in self.process.stdout:
            news = json.loads(line)
            if "done" in news:
                return parts, news["done"]
            parts.append(news["part"])
        raise AssertionError(f"the driver ended with {self.process.wait()}")


@contextlib.contextmanager
def running_package(say: Say) -> Iterator[Package]:
    """The package in its own environment; nothing of the machine's settings reaches it."""
    process = subprocess.Popen(
        [str(environment("openai", say=say)), "-m", "tests.clients.drive_openai"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        yield Package(process)
    finally:
        process.kill()
        process.communicate()
