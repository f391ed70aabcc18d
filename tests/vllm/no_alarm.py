"""The comparison leaves a model alone that is the same: longer than a test may ask, `python -m tests.vllm.no_alarm`.

It gives docs/comparison.md its figures. It asks a real vLLM on the CPU the questions of `candidates`, again and again,
at temperature 0 and then at 0.8, three at a time, and says after each three what a gate of agreement would say. Each
temperature ends when the gate is green or red, when as many requests were asked as wanted, or when half of the time is
up. On two idle cores it takes about a second a request, beside other work ten. Exit 1 for an alarm.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from deploy.engine import EngineFailedError

from .candidates import ASKED, Engines, Trial, running

AT_A_TIME = 3
TEMPERATURES = (0.0, 0.8)


def main() -> int:
    """Ask, print a line for each three requests, and one for each temperature at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)
    parser.add_argument("--requests", type=int, default=252, help="at each temperature, at most [252]")
    parser.add_argument("--minutes", type=float, default=20.0, help="in all, at most, once the engine runs [20]")
    arguments = parser.parse_args()
    trials = {temperature: Trial("good") for temperature in TEMPERATURES}
    code = 0
    try:
        asyncio.run(_asked(trials, arguments.requests, arguments.minutes * 60 / len(trials)))
    except KeyboardInterrupt:
        _say("stopped")
        code = 130
    for temperature, trial in trials.items():
        print(f"temperature {temperature:g}: {_verdict(trial)}")
    return 1 if any(trial.took for trial in trials.values()) else code


async def _asked(trials: dict[float, Trial], requests: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="pointsman-no-alarm-") as folder, _its_words(Path(folder) / "good.log"):
        _say("making the model and starting vLLM: about a minute where it is installed")
        async with running(Path(folder), ("good",)) as engines:
            for temperature, trial in trials.items():
                _say(f"temperature {temperature:g}: {requests} requests or {seconds / 60:g} minutes")
                try:
                    async with asyncio.timeout(seconds):
                        await _judged(trial, engines, temperature, requests)
                except TimeoutError:
                    _say("the time is up")


@contextlib.contextmanager
def _its_words(log: Path) -> Iterator[None]:
    """Where the engine fails, what it said last: its log goes with the folder."""
    try:
        yield
    except EngineFailedError as error:
        words = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise SystemExit(f"{error}:\n{words}") from error


async def _judged(trial: Trial, engines: Engines, temperature: float, requests: int) -> None:
    began, questions = time.monotonic(), cycle(ASKED)
    for done in range(0, requests, AT_A_TIME):
        asked = tuple(islice(questions, min(AT_A_TIME, requests - done)))
        await trial.run(engines, temperature, asked, AT_A_TIME)
        now, spent = done + len(asked), time.monotonic() - began
        left = spent / now * (requests - now)
        _say(f"  {now} of {requests}, {spent:.0f} s, at most {left:.0f} s more: {trial.why['good']}")
        if trial.took or trial.green:
            return


def _verdict(trial: Trial) -> str:
    why = trial.why.get("good", "nothing was compared")
    if trial.took:
        return f"ALARM after {trial.took['good']} requests: {why}"
    green = f"green after {trial.green['good']} requests" if trial.green else "still open"
    return f"no alarm, {green}: {why}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
