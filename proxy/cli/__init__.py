"""The command line: `pointsman COMMAND`.

A command is a module with `configure(parser)` and `run(arguments) -> exit code`; it is imported only when it is
asked for, so that `pointsman --help` and `pointsman check` start at once. Exit codes: 0 ok, 1 findings, 2 cannot start
or wrong usage, 3 refused by state.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import version

GROUPS = {
    "Serve": {
        "serve": "run the proxy",
    },
    "Write a policy, and code around a model": {
        "check": "read a policy and report everything that is wrong or can't work",
        "explain": "say where a request would go, and why",
        "test": "run a policy's own `expect:` cases",
        "schema": "print the policy's JSON Schema, for editors",
        "handler": "say what becomes of a customer's model.py: its convention, what runs when, what does not",
    },
    "Let callers in, and look at what is served": {
        "key": "make a key for a caller: a bearer token, or static credentials for AWS SDKs",
        "why": "find a request in the log and say where it went, how long it took and why",
        "conformance": "check from outside whether a server keeps SageMaker Runtime's contract",
    },
    "Keep models warm": {
        "warm": "keep targets warm, and what that costs",
    },
    "Move a model to another hosting": {
        "rehearse": "replay a recorded trace through the real proxy against stand-ins: a day in minutes",
        "bench-candidate": "measure a route's target and its candidate under load, and what they cost",
        "migrate": "move traffic from one hosting to another, step by step, and back",
        "bypass": "send everything back to the old targets for a while, at once",
    },
    "Try it without AWS": {
        "emulate": "run stand-ins for SageMaker Runtime and Bedrock Runtime on loopback",
        "quickstart": "stand-ins and proxy together, with a policy to try",
    },
}
"""Every command with a line on what it does, by what somebody wants to do."""
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

EXIT_OK, EXIT_FINDINGS, EXIT_CANNOT_START, EXIT_REFUSED = 0, 1, 2, 3
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""


class StartError(Exception):
    """A command cannot start; the message is one line that says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = EXIT_OK
    try:
        parsed = _parsed(words)
        code = int(parsed.run(parsed))
        _flush()
    except StartError as error:
        print(f"pointsman {words[0]}: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    except KeyboardInterrupt:  # also while a command's modules are still being imported
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # who reads has seen enough, which makes nothing of what was found undone
        _forget()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _forget()
        print(f"pointsman {words[0]}: {error.strerror}: {error.filename or 'standard output'}", file=sys.stderr)
        return EXIT_CANNOT_START
    return code


def _flush() -> None:
    """Write what was printed while a failure can still be told: at its own end Python complains, and exits with 120."""
    if sys.stdout is not None:  # it is closed
        sys.stdout.flush()


def _forget() -> None:
    """Leave nothing in standard output's buffer that Python would try to write once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pointsman",
        usage="pointsman [-h] [--version] COMMAND ...",
        description=_overview(),
        epilog="`pointsman COMMAND --help` explains a command; `pointsman quickstart` is the place to begin.\n"
        "Exit: 0 ok, 1 findings, 2 cannot start or wrong usage, 3 refused.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pointsman {version('pointsman')}")
    commands = parser.add_subparsers(
        prog="pointsman", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        if words[:1] == [name]:
            module = importlib.import_module(f".{name.replace('-', '_')}", __name__)
            module.configure(command)
            command.set_defaults(run=module.run)
    try:
        parsed, more = parser.parse_known_args(words)
        if more:
            parser.error(f"unrecognized arguments: {' '.join(more)}; {_instead(parsed, more[0])}")
        return parsed
    except SystemExit:  # of --help and --version as well
        _flush()
        raise


def _instead(parsed: argparse.Namespace, first: str) -> str:
    """What to write in place of an argument that a command does not take."""
    if not first.startswith("-") and hasattr(parsed, "policy"):  # as check, explain and test are given it
        return "the policy is named with --policy FILE"
    return f"`pointsman {parsed.command} --help` lists what there is"


def _overview() -> str:
    lines = ["One SageMaker contract in front of dedicated endpoints, packed hosts, Bedrock imports and vLLM."]
    width = max(map(len, COMMANDS))
    for title, group in GROUPS.items():
        lines += ["", f"{title}:"]
        for name, text in group.items():
            first, *rest = textwrap.wrap(text, 76 - width, break_on_hyphens=False)
            lines += [f"  {name:{width}}  {first}", *(" " * (width + 4) + line for line in rest)]
    return "\n".join(lines)
