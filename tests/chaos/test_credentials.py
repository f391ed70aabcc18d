"""Faults of the proxy's own credentials: they run out, are rotated, and cannot be had."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .broken_answers import FAILED, GOOD, error
from .faults import Fault, Served
from .stage import Stage, staged
from .upstream import Wire

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]

FIRST, SECOND = "AKIDFIRST", "AKIDSECOND"


class Issuer:
    """A credential process's output, and which of the keys that it gave are good."""

    def __init__(self, folder: Path) -> None:
        self.good = FIRST
        self._file = folder / "issued.json"
        config = folder / "aws-config"
        # `cat` of a file that is not there fails, as a process whose service is down does.
        config.write_text(f"[default]\ncredential_process = /bin/cat {self._file}\n")
        self.variables = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": str(config)}

    def gives(self, key: str | None) -> None:
        """What the process prints from now on; None: it fails."""
        if key is None:
            self._file.unlink()
            return
        hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        found = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": hour}
        self._file.write_text(json.dumps(found))

    async def serve(self, wire: Wire) -> None:
        """A target that takes the good key and no other."""
        while True:
            head = await wire.request()
            known = f"Credential={self.good}/".encode() in head
            await wire.send(GOOD if known else error(403, "ExpiredTokenException"))


@asynccontextmanager
async def signed(folder: Path) -> AsyncIterator[tuple[Stage, Fault, Issuer]]:
    """A proxy that signs with what the issuer gives, in front of a target that checks it."""
    issuer = Issuer(folder)
    issuer.gives(FIRST)
    fault = Fault("checks signatures", Served(), issuer.serve)
    async with staged(folder, (fault,), variables=issuer.variables) as stage:
        Served().hold(await stage.play(fault))
        yield stage, fault, issuer
        await stage.settled()


async def test_credentials_expire_under_way(tmp_path: Path) -> None:
    """The refused request is signed again with new ones: its client sees nothing of it."""
    async with signed(tmp_path) as (stage, fault, issuer):
        issuer.gives(SECOND)
        issuer.good = SECOND
        for _ in range(3):
            Served().hold(await stage.play(fault))
        assert stage.upstreams[fault].requests == 5


async def test_credentials_expire_and_there_are_no_others(tmp_path: Path) -> None:
    """500, since it is no fault of the client's; a target that takes the old ones again is asked as before."""
    async with signed(tmp_path) as (stage, fault, issuer):
        issuer.good = SECOND
        FAILED.hold(await stage.play(fault))
        issuer.good = FIRST
        Served().hold(await stage.play(fault))


async def test_credentials_cannot_be_had(tmp_path: Path) -> None:
    """Those that were had go on being used; once they are refused the answer is 500, and nothing is sent unsigned."""
    async with signed(tmp_path) as (stage, fault, issuer):
        issuer.gives(None)
        Served().hold(await stage.play(fault))
        issuer.good = SECOND
        FAILED.hold(await stage.play(fault))
        before = stage.upstreams[fault].requests
        FAILED.hold(await stage.play(fault))
        assert stage.upstreams[fault].requests == before
