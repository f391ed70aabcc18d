"""The comparison leaves a model alone that is the same: longer than a test may ask, `python -m tests.vllm.no_alarm`.

It gives docs/comparison.md its figures. It asks a real vLLM on the CPU the questions of `candidates`, again and again,
at temperature 0 and at 0.8, and prints what a gate of agreement says after each turn. On two busy cores a turn of 42
requests takes two to four minutes, which is why the test of the suite asks nine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from .candidates import ASKED, Trial, running


def main() -> None:
    """Ask, and print a line for each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=6, help=f"how often the {len(ASKED)} questions are asked [6]")
    asyncio.run(_asked(parser.parse_args().turns))


async def _asked(turns: int) -> None:
    with tempfile.TemporaryDirectory(prefix="pointsman-no-alarm-") as folder:
        async with running(Path(folder), ("good",)) as engines:
            for temperature in (0.0, 0.8):
                trial = Trial("good")
                for turn in range(turns):
                    await trial.run(engines, temperature)
                    word = f"red after {trial.took}" if trial.took else f"green after {trial.green or 'none'}"
                    line = f"temperature {temperature:g}, turn {turn + 1} of {turns}: {word}; {trial.why['good']}"
                    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
