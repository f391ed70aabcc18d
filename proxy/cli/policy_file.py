"""Reading the policy file that a command was given, in one way for all of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from policies.errors import PolicyError, Problem
from policies.load import load_policy
from policies.table import RouteTable

from ..chat_templates import template_reader
from . import StartError

LARGEST = 16 * 1024 * 1024
"""Bytes. A policy of 10,000 endpoints has two; beyond this it is the wrong file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every command on a policy has."""
    parser.add_argument("file", metavar="FILE", help="the policy")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def read_policy(path: str, environment: Mapping[str, str]) -> RouteTable:
    """The policy at `path`, compiled.

    Raises:
        StartError: the file cannot be read.
        PolicyError: it was read and cannot be used.
    """
    return load_policy(read_policy_text(path), environment, path, template_reader(Path(path).parent))


def read_policy_text(path: str) -> str:
    """The text of the policy at `path`, unread. Raises StartError when there is none."""
    if path.startswith("s3://"):
        message = (
            f"{path} is not a file, and this command reads files: fetch it with `aws s3 cp {path} policy.yaml` and "
            "name that"
        )
        raise StartError(message)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        message = (
            f"cannot read {path}: {error.strerror}; give the path of a policy, such as examples/quickstart/policy.yaml"
        )
        raise StartError(message) from error
    if len(raw) > LARGEST:
        message = f"{path} is larger than {LARGEST // 2**20} MiB; that is not a policy"
        raise StartError(message)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        raise StartError(message) from error


def as_json(problems: Sequence[Problem]) -> list[dict[str, object]]:
    """Problems as the `problems` of every command's `--json`."""
    return [
        {"path": problem.path, "line": problem.line, "severity": problem.severity, "message": problem.message}
        for problem in problems
    ]


def print_refusal(error: PolicyError, in_json: bool) -> None:
    """Print why a policy cannot be used: JSON to standard output, words to standard error."""
    if in_json:
        print(json.dumps({"ok": False, "problems": as_json(error.problems)}, indent=2))
    else:
        print(error, file=sys.stderr)
