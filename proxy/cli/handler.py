"""`pointsman handler check FILE`: which convention a customer's model.py follows, what of it runs when, what does not.

The file is read first and then loaded as it would be in production, in a process of its own with its requirements.txt
installed; so the command also builds that environment, in an image for instance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.meters import Meters
from policies.table import HandlerSpec

from ..flags import FLAGS
from ..handlers.errors import LoadError
from ..handlers.guest.conventions import DJL, TITLES
from ..handlers.inspection import Inspected, inspect_file
from ..handlers.loads import Loader
from ..settings import environment
from . import EXIT_FINDINGS, EXIT_OK, StartError


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this command's arguments."""
    parser.add_argument("action", metavar="ACTION", choices=("check",), help="check: read the file and load it")
    parser.add_argument("file", metavar="FILE", help="the customer's model.py")
    parser.add_argument(
        "--run", dest="where", choices=("inline", "thread", "process"), default="process", help="where it would run"
    )
    parser.add_argument("--no-load", action="store_true", help="only read the file: nothing is installed or run")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """0: it would serve; 1: it would not, with what to do about it."""
    file = Path(arguments.file).resolve()
    try:
        seen = inspect_file(file)
    except OSError as error:
        message = f"cannot read {arguments.file}: {error.strerror}; give the path of a model.py"
        raise StartError(message) from error
    except (SyntaxError, ValueError) as error:
        message = f"{arguments.file} is not Python: {error}"
        raise StartError(message) from error
    problem = _refusal(seen, arguments.where)
    seconds = None
    if problem is None and seen.usable and not arguments.no_load:
        began = time.perf_counter()
        problem = asyncio.run(_load(file, arguments.where, environment()))
        seconds = time.perf_counter() - began
    facts = _facts(arguments.file, seen, problem, seconds)
    print(json.dumps(facts, indent=2) if arguments.json else "\n".join(_lines(facts)))
    return EXIT_OK if facts["ok"] else EXIT_FINDINGS


def _refusal(seen: Inspected, where: str) -> str | None:
    if seen.convention == DJL and where == "inline":
        return "handle waits for its generate call, which the proxy's own loop must not: say run: process"
    return None


async def _load(file: Path, where: str, variables: Mapping[str, str]) -> str | None:
    """Load the file as production would; why it cannot be, or None."""
    flag = next(flag for flag in FLAGS if flag.name == "handler-cache")
    cache = Path(variables.get(flag.variable) or str(flag.default)).expanduser()  # noqa: ASYNC240 - a command of its own
    loader = Loader(Meters(), time.perf_counter, variables, cache)
    try:
        handler = await loader.load(HandlerSpec(str(file), where), file, "check")
    except LoadError as error:
        return str(error)
    await handler.stop()
    return None


def _facts(name: str, seen: Inspected, problem: str | None, seconds: float | None) -> dict[str, Any]:
    return {
        "ok": seen.usable and problem is None,
        "file": name,
        "convention": seen.convention,
        "findings": [
            {"name": each.name, "step": each.step, "text": each.text, "prevents": each.prevents}
            for each in seen.findings
        ],
        "missing": list(seen.missing),
        "problem": problem,
        "load_seconds": None if seconds is None or problem is not None else round(seconds, 3),
    }


def _lines(facts: Mapping[str, Any]) -> list[str]:
    convention = facts["convention"]
    what = f"{convention}: {TITLES[convention]}" if convention else "no convention that can be told"
    lines = [f"{facts['file']}: {what}"]
    for each in facts["findings"]:
        mark = "refused" if each["prevents"] else each["step"] or "note"
        lines.append(f"  {mark:<8} {each['name']}: {each['text']}")
    lines += [
        f"  note     {name} is imported: put the package that has it in requirements.txt" for name in facts["missing"]
    ]
    if facts["problem"]:
        lines.append(f"  refused  {facts['problem']}")
    if facts["load_seconds"] is not None:
        lines.append(f"  loaded   in {facts['load_seconds']:.2f} s")
    return [*lines, f"{facts['file']}: {'ok' if facts['ok'] else 'would not serve'}"]
