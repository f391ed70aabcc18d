"""Faults of the policy's source: whatever becomes of it, the last policy that could be used stays in force."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .broken_answers import HEALTHY
from .stage import Stage, staged, started, until
from .upstream import Wire, listening

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300, func_only=True)]


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[tuple[Stage, Path]]:
    """A proxy with its policy's file, that serves as at first whatever the block did to the file, and says so."""
    async with staged(folder, (HEALTHY,)) as stage:
        file = folder / "policy.yaml"
        text = file.read_text()
        yield stage, file
        stage.proxy.process.send_signal(signal.SIGHUP)
        await until(lambda: problem(stage))
        answer = await stage.play(HEALTHY)
        HEALTHY.promise.hold(answer)
        assert answer.headers["x-pointsman-policy"].endswith("/1")
        file.write_text(text.replace('"timeout": "25000ms"', '"timeout": "9s"'))
        await until(lambda: generation(stage, 2))
        HEALTHY.promise.hold(await stage.play(HEALTHY))


async def problem(stage: Stage) -> bool:
    """Whether the proxy says that there is one."""
    return (await stage.admin("/readyz"))["problem"] is not None


async def generation(stage: Stage, wanted: int) -> bool:
    """Whether so many policies have been in force, and nothing is wrong with the last."""
    found = await stage.admin("/readyz")
    return found["policy"].endswith(f"/{wanted}") and found["problem"] is None


async def test_policy_half_written(tmp_path: Path) -> None:
    """The old one stays in force, `/readyz` names the problem, and the whole file is taken as soon as it is there."""
    async with held(tmp_path) as (_, file):
        file.write_text(file.read_text()[:200])


async def test_policy_replaced_by_a_broken_one(tmp_path: Path) -> None:
    """The old one stays in force, `/readyz` names the problem, and the next good one is taken."""
    async with held(tmp_path) as (_, file):
        file.write_text(file.read_text().replace("serve_from", "serve_form"))


async def test_policy_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    """The old one stays in force, `/readyz` names the problem, and the next good one is taken."""
    async with held(tmp_path) as (_, file):
        file.write_bytes(b"\xff\xfe\x00" * 1000)


async def test_policy_deleted(tmp_path: Path) -> None:
    """The old one stays in force, `/readyz` names the problem, and a new file is taken."""
    async with held(tmp_path) as (_, file):
        file.unlink()


async def test_policy_that_changes_without_end(tmp_path: Path) -> None:
    """Reloads by the dozen under traffic: every answer is whole, and of one policy that was in force."""
    async with staged(tmp_path, (HEALTHY,)) as stage:
        file = tmp_path / "policy.yaml"
        text = file.read_text()
        seen = set()
        for seconds in range(9000, 9030):
            file.write_text(text.replace('"timeout": "25000ms"', f'"timeout": "{seconds}ms"'))
            stage.proxy.process.send_signal(signal.SIGHUP)
            for answer in await asyncio.gather(*(stage.play(HEALTHY) for _ in range(4))):
                HEALTHY.promise.hold(answer)
                seen.add(answer.headers["x-pointsman-policy"])
        await stage.settled()
        assert len({label.partition("/")[0] for label in seen}) == len(seen) > 5


@dataclass(slots=True)
class Bucket:
    """S3 with one object, which can be down: then it resets every connection."""

    text: bytes
    down: bool = False
    asked: int = 0

    async def script(self, wire: Wire) -> None:
        """Answer HEAD and GET as Amazon's S3 API reference has them."""
        while True:
            head = await wire.request()
            self.asked += 1
            if self.down:
                wire.reset()
                return
            etag = hashlib.md5(self.text, usedforsecurity=False).hexdigest()
            fields = f'HTTP/1.1 200 OK\r\nETag: "{etag}"\r\nContent-Length: {len(self.text)}\r\n\r\n'
            await wire.send(fields.encode() + (b"" if head.startswith(b"HEAD") else self.text))


async def test_policy_in_s3_out_of_reach(tmp_path: Path) -> None:
    """The old one stays in force as long as S3 is away, `/readyz` says so, and a new one is taken once it is back."""
    async with staged(tmp_path, (HEALTHY,)) as stage:
        bucket = Bucket((tmp_path / "policy.yaml").read_bytes())
        async with listening(bucket.script) as s3:
            variables = {"AWS_ENDPOINT_URL_S3": s3.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
            flags = ("--policy", "s3://fleet/policy.yaml", "--poll", "0.1")
            async with started(tmp_path, "", *flags, variables=variables) as proxy:
                away = Stage(proxy, stage.upstreams)
                HEALTHY.promise.hold(await away.play(HEALTHY))
                bucket.down = True
                await until(lambda: problem(away))
                HEALTHY.promise.hold(await away.play(HEALTHY))
                bucket.text = bucket.text.replace(b'"timeout": "25000ms"', b'"timeout": "9s"')
                bucket.down = False
                await until(lambda: generation(away, 2))
                HEALTHY.promise.hold(await away.play(HEALTHY))
