"""`pointsman migrate diffs NAME`: answers of copies that differed, as the policy had them kept, side by side.

They lie on the disks of the machines that serve; this reads one folder. What is shown has been redacted when it was
written, and has its control characters taken out: it was written by models and by strangers.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.wire.capture import Capture
from backends.wire.comparison import Heard, read_meaning
from policies.errors import PolicyError
from warmers.shadow import Kept, read_differences

from .. import settings as flags
from . import EXIT_FINDINGS, EXIT_OK, StartError
from .policy_file import print_refusal, read_policy

HELP = "show answers of copies that differed, where the policy has them kept, the least alike first"

SHOWN = 400
"""Characters of a body that are shown; `--json` has all of it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments."""
    more = parser.add_argument
    more("name", metavar="NAME", help="the migration: its route or its group")
    more(
        "--from",
        dest="folder",
        metavar="FOLDER",
        help="where they are kept (default: the policy's keep_differences.folder)",
    )
    more("--policy", metavar="FILE", help="the policy that the proxies have (POINTSMAN_POLICY)")
    more("--most", metavar="N", type=int, default=10, help="how many to show (default 10)")
    more("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """0: they were shown, if there are any; 1: the policy is refused."""
    if arguments.most < 1:
        message = "--most: give a number of 1 or more"
        raise StartError(message)
    try:
        folders = [Path(arguments.folder)] if arguments.folder else _folders(arguments)
    except PolicyError as error:
        print_refusal(error, arguments.json)
        return EXIT_FINDINGS
    found: list[Kept] = []
    for folder in folders:
        if not folder.is_dir():
            message = (
                f"there is no folder {folder} here: no answer has differed on this machine yet, or it serves nothing; "
                "run this on a machine that serves, or give --from FOLDER"
            )
            raise StartError(message)
        try:
            found += read_differences(folder, arguments.name)
        except OSError as error:
            message = f"cannot read {error.filename}: {error.strerror}; only the user that the proxy runs as may"
            raise StartError(message) from error
    found.sort(key=lambda kept: (_number(kept, "score"), kept.new.at))
    shown = found[: arguments.most]
    if arguments.json:
        print(json.dumps({"kept": len(found), "differences": [_json(kept) for kept in shown]}, indent=2))
    else:
        print(_text(arguments.name, found, shown))
    return EXIT_OK


def _folders(arguments: argparse.Namespace) -> list[Path]:
    variables = flags.environment()
    path = arguments.policy or variables.get("POINTSMAN_POLICY")
    if not path:
        message = "where differences are kept is not known: give --from FOLDER, or --policy FILE"
        raise StartError(message)
    table = read_policy(path, variables)
    migration = table.migrations.get(arguments.name)
    if migration is None:
        message = (
            f"the policy has no migration {arguments.name}; it has {', '.join(sorted(table.migrations)) or 'none'}"
        )
        raise StartError(message)
    folders = {Path(one.differences.folder): None for one in migration.members if one.differences is not None}
    if not folders:
        message = f"the policy has no differences of {arguments.name} kept; add `keep_differences` to its migration"
        raise StartError(message)
    return list(folders)


def _text(name: str, found: list[Kept], shown: list[Kept]) -> str:
    if not found:
        return f"no differences of {name} are kept here"
    lines = [f"{len(found)} differences of {name} are kept here; the {len(shown)} least alike:"]
    for kept in shown:
        moment = datetime.fromtimestamp(kept.new.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        parts = kept.told.get("parts")
        worst = sorted((value, part) for part, value in (parts if isinstance(parts, dict) else {}).items())
        why = ", ".join(f"{part} {value:.2g}" for value, part in worst if value < 1)
        score, floor = _number(kept, "score"), _number(kept, "floor")
        lines += [
            "",
            f"{_plain(kept.new.inference_id)} at {moment}: {score:.2f} alike, the A/A floor is {floor:.2f} ({why})",
            f"  asked  {_plain(kept.new.asked.text)}",
            f"  old    {_said(kept.old)}",
            f"  new    {_said(kept.new)}",
        ]
    return "\n".join(lines)


def _said(capture: Capture) -> str:
    """What an answer says, as far as it can be read; else its body."""
    own, answered = capture.own, capture.answered
    if own.get("error") is not None or own.get("broken"):
        return f"failed: {own.get('status')} {own.get('error') or 'broke off'}"
    heard = Heard(content_type=answered.content_type, body=answered.text.encode("utf-8", "replace"))
    meaning = read_meaning(str(own.get("speaks")), heard)
    if not meaning.readable:
        return _plain(answered.text)
    said = [
        " ".join([choice.text, *(f"{call.name}({json.dumps(call.arguments)})" for call in choice.tools)])
        + (f" [{choice.finish}]" if choice.finish else "")
        for choice in meaning.choices
    ]
    return _plain(" | ".join(said))


def _plain(text: str) -> str:
    """At most `SHOWN` characters on one line, none of which a terminal obeys."""
    cut = text[: SHOWN + 1]
    shown = "".join(sign if sign.isprintable() else " " for sign in cut[:SHOWN])
    return f"{shown}..." if len(cut) > SHOWN else shown


def _number(kept: Kept, key: str) -> float:
    value = kept.told.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _json(kept: Kept) -> dict[str, Any]:
    moment = datetime.fromtimestamp(kept.new.at, UTC).isoformat()
    told = {
        key: value for key, value in kept.told.items() if key not in {"side", "target", "status", "error", "broken"}
    }
    return {
        "request": kept.new.inference_id,
        "time": moment,
        **told,
        "asked": asdict(kept.new.asked),
        "old": {**_outcome(kept.old), **asdict(kept.old.answered)},
        "new": {**_outcome(kept.new), **asdict(kept.new.answered)},
    }


def _outcome(capture: Capture) -> dict[str, Any]:
    return {key: capture.own.get(key) for key in ("target", "status", "error", "broken")}
