"""Differences on disk: redacted, capped, and read back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from backends.wire.capture import write_capture
from backends.wire.comparison import Heard, compare
from policies.redaction import Keeping, Redaction
from tests.warmers.shadow.scene import DAY, call, route, said, table_of
from warmers.shadow import Difference, Differences, read_differences, shadowing_of
from warmers.shadow import differences as module
from warmers.shadow.differences import captures

RULE = Redaction(keys=frozenset({"user"}), patterns=(r"\d{4}-\d{4}",))
ASKED = b'{"messages": [{"role": "user", "content": "My card is 1234-5678."}], "user": "ann"}'
OLD = Heard(content_type="application/json", body=said("Your card is 1234-5678."))
NEW = Heard(content_type="application/json", body=said("I know no 1234-5678."))


def difference(folder: Path, *, most: int = 10_000, rule: Redaction = RULE, request: str = "r-1") -> Difference:
    """The candidate answered something else."""
    keep = Keeping(str(folder), rule, most)
    plan = shadowing_of(route(), table_of(route(), keep))
    assert plan is not None
    asked = call(ASKED)
    asked = replace(asked, invocation=replace(asked.invocation, request_id=request), custom_attributes="secret=1")
    return Difference(
        plan, route(), asked, OLD, NEW, compare("openai-chat", OLD, NEW), compare("openai-chat", OLD, OLD), DAY
    )


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


class Counted:
    """What became of each, and an event for every one."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def __call__(self, key: str, result: str) -> None:
        assert key == "chat"
        self.results[result] += 1
        self._changed.set()

    async def until(self, number: int) -> None:
        while self.results.total() < number:
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def keeping(counted: Counted, worker: str = "w/1") -> AsyncIterator[Differences]:
    differences = Differences(worker, lambda: "e", counted)
    try:
        yield differences
    finally:
        differences.close()


async def test_two_lines_a_difference_in_a_file_of_the_process(tmp_path: Path) -> None:
    """Only the owner can read it; both lines name the request, the sides and the scores; nothing secret is in it."""
    counted, folder = Counted(), tmp_path / "kept"
    async with keeping(counted) as differences:
        differences.keep(difference(folder))
        await counted.until(1)
    (path,) = files(folder)
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert path.name.startswith("chat-")
    assert path.name.endswith(".w-1.jsonl")
    text = path.read_text()
    assert not any(secret in text for secret in ("1234-5678", "ann", "secret=1"))
    old, new = map(json.loads, text.splitlines())
    assert [line["pointsman"]["side"] for line in (old, new)] == ["old", "new"]
    assert old["eventMetadata"]["inferenceId"] == new["eventMetadata"]["inferenceId"] == "r-1"
    assert new["pointsman"]["score"] < new["pointsman"]["floor"] == 1
    assert new["pointsman"]["target"] == "new"


async def test_what_is_kept_is_read_back_in_pairs(tmp_path: Path) -> None:
    """From the files of all processes, and of this migration only; torn and foreign lines are passed over."""
    counted = Counted()
    async with keeping(counted, "one") as one, keeping(counted, "two") as two:
        one.keep(difference(tmp_path))
        two.keep(difference(tmp_path, request="r-2"))
        one.keep(difference(tmp_path, request="r-3"))
        await counted.until(3)
    mine = next(path for path in files(tmp_path) if ".one." in path.name)
    old, new = captures(difference(tmp_path, request="r-4"), ("a", "b"))
    strange = replace(new, own={**new.own, "migration": "other"})
    with mine.open("ab") as file:
        file.write(write_capture(new) + write_capture(strange) + write_capture(old) + b'{"captureData": {')
    found = list(read_differences(tmp_path, "chat"))
    assert [kept.new.inference_id for kept in found] == ["r-1", "r-3", "r-2"]
    assert found[0].told["parts"]["text"] < 1
    assert "Your card is [redacted]." in found[0].old.answered.text
    assert list(read_differences(tmp_path, "other")) == []


async def test_no_more_than_the_policy_allows(tmp_path: Path) -> None:
    """What all processes of a machine keep of a migration is capped; what goes beyond is counted."""
    counted = Counted()
    async with keeping(counted, "one") as one, keeping(counted, "two") as two:
        one.keep(difference(tmp_path))
        await counted.until(1)
        used = sum(path.stat().st_size for path in files(tmp_path))
        two.keep(difference(tmp_path, most=used + 10))
        await counted.until(2)
        two.keep(difference(tmp_path, most=2 * used))
        await counted.until(3)
    assert counted.results == {"kept": 2, "full": 1}


async def test_a_disk_that_fails_costs_differences_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be, or a bug, is told without what was said."""
    counted, taken = Counted(), tmp_path / "a-file"
    taken.touch()
    async with keeping(counted) as differences:
        differences.keep(difference(taken))
        differences.keep(replace(difference(tmp_path), call=None))  # type: ignore[arg-type]  # a bug of ours
        await counted.until(2)
    assert counted.results == {"failed": 2}
    assert "can't be kept" in caplog.text
    assert "1234" not in caplog.text


async def test_no_more_wait_than_are_allowed(tmp_path: Path) -> None:
    """Beyond the bound differences are dropped at once, whatever the disk does."""
    counted = Counted()
    async with keeping(counted) as differences:
        for _ in range(50):
            differences.keep(difference(tmp_path, most=10_000_000))
        await counted.until(50)
    assert counted.results.keys() <= {"kept", "late"}
    assert counted.results["kept"] >= module.PENDING


async def test_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    """Closing loses nothing."""
    counted = Counted()
    async with keeping(counted) as differences:
        for _ in range(3):
            differences.keep(difference(tmp_path))
    assert len(list(read_differences(tmp_path, "chat"))) == 3
