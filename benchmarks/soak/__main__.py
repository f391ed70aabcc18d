"""`python -m benchmarks.soak`: run, tell how it goes, and report."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from backends.http.transport import HttpTransport
from backends.tasks import start
from tests.chaos.broken_requests import BODY_LIMIT
from tests.chaos.stage import staged

from .. import machine
from .mix import EVERYTHING, HANDLERS, Mix
from .readings import Lows, held, read, rest
from .report import Reading, as_markdown, slopes, verdict


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__, allow_abbrev=False)
    found.add_argument("--minutes", type=float, default=30.0, help="how long (30)")
    found.add_argument("--rate", type=float, default=150.0, help="requests a second (150)")
    found.add_argument("--workers", type=int, default=2, help="worker processes of the proxy (2)")
    found.add_argument("--cycle", type=float, default=50.0, help="seconds of traffic between two readings at rest (50)")
    found.add_argument("--seed", type=int, default=1, help="what the mix is drawn from (1)")
    found.add_argument("--out", type=Path, help="folder for the report; without it, standard output alone")
    return found


async def soak(given: argparse.Namespace, folder: Path) -> tuple[list[Reading], Mix]:
    """The whole run: cycles of traffic, rest and a reading."""
    for name, source in HANDLERS.items():
        (folder / f"{name}.py").write_text(source)
    loop, transport = asyncio.get_running_loop(), HttpTransport()
    readings: list[Reading] = []
    told = 0
    flags = ["--log", "/dev/null", "--body-limit", f"{BODY_LIMIT}", "--workers", f"{given.workers}"]
    async with staged(folder, EVERYTHING, *flags) as stage:
        mix = Mix(stage, transport, random.Random(given.seed))
        lows = Lows(lambda: held(stage, given.workers))
        watch = start(lows.watch(), name="memory-watch")
        began = loop.time()
        while not readings or loop.time() - began < given.minutes * 60:
            await mix.run(given.rate, given.cycle, folder / "policy.yaml")
            await rest(stage)
            reading = await read(stage, given.workers, loop.time() - began, lows)
            readings.append(reading)
            print(progress(reading, mix), *mix.examples[told:], sep="\n    ", file=sys.stderr, flush=True)
            told = len(mix.examples)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    await transport.aclose()
    return readings, mix


def progress(reading: Reading, mix: Mix) -> str:
    """One line."""
    return (
        f"{reading.at / 60:5.1f} min  {reading.memory / 2**20:6.1f} MiB  {reading.descriptors} descriptors  "
        f"{reading.tasks} tasks  {mix.counts.total()} requests, {mix.wrong.total()} not as promised, "
        f"{mix.late.total()} late"
    )


def main() -> int:
    """Exit 0 when every promise was kept and nothing grows."""
    given = parser().parse_args()
    about = {"commit": machine.commit(), **machine.facts()}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        readings, mix = asyncio.run(soak(given, Path(name)))
    about |= {
        "workers": str(given.workers),
        "asked for": f"{given.minutes:g} minutes at {given.rate:g} requests a second",
        "took": f"{(time.monotonic() - began) / 60:.1f} minutes",
    }
    done = {name: (count, mix.wrong[name], mix.late[name]) for name, count in mix.counts.items()}
    text = as_markdown(about, readings, done, mix.examples)
    print(text)
    if given.out is not None:
        file = given.out / f"soak-{time.strftime('%Y-%m-%d')}-{machine.commit()}.md"
        given.out.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    grows = (
        [name for name, found in slopes(readings).items() if verdict(name, found) == "grows"]
        if len(readings) > 2
        else []
    )
    return 1 if grows or mix.wrong.total() else 0


if __name__ == "__main__":
    sys.exit(main())
