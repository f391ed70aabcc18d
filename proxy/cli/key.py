"""`pointsman key new`: make a key for a caller.

Prints the key, once, and the line that goes into the file of `--keys`. With `--keys-secret` the key works for AWS SDKs
as well, as static credentials; the file of the master secret is made, readable by its owner only, if it is not there.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from ..door import read_master
from ..keys import (
    MASTER_BYTES,
    Key,
    KeyFileError,
    Principal,
    derived,
    digest,
    encoded,
    fresh_id,
    line,
    read_keys,
    token,
)
from ..settings import SettingsError
from . import EXIT_OK, StartError

_ONCE = "Give this to the caller now: it is shown once and kept nowhere."


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("action", choices=["new"], metavar="ACTION", help="new: make one")
    parser.add_argument("--principal", required=True, metavar="NAME", help="whom it stands for, in log lines")
    parser.add_argument(
        "--allow", default="*", metavar="GLOBS", help="endpoints it may call, comma-separated (default *)"
    )
    parser.add_argument(
        "--days", type=int, default=90, metavar="N", help="days until it expires; 0: never (default 90)"
    )
    parser.add_argument("--keys-secret", metavar="FILE", help="master secret: AWS SDKs may sign with the key")
    parser.add_argument("--json", action="store_true", help="print facts as JSON")


def run(arguments: argparse.Namespace) -> int:
    """0, or 2 with what is wrong."""
    if arguments.days < 0:
        message = f"--days {arguments.days}: the key would have expired; give the days that it is good for, 0 for ever"
        raise StartError(message)
    key_id = fresh_id(secrets.token_bytes(11))
    try:
        master = _master(Path(arguments.keys_secret)) if arguments.keys_secret else None
    except SettingsError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        message = f"--keys-secret: cannot write {error.filename}: {error.strerror}; give a path in a folder that exists"
        raise StartError(message) from error
    secret = derived(master, key_id) if master else encoded(secrets.token_bytes(32))
    try:
        until = (datetime.now(UTC) + timedelta(days=arguments.days)).timestamp() if arguments.days else None  # noqa: TID251 - a command has no other clock
        globs = tuple(re.split(r"\s*,\s*", arguments.allow.strip()))
        text = line(Key(key_id, digest(secret), Principal(arguments.principal, globs, until)))
        found = read_keys(text, "--principal and --allow")
    except KeyFileError as error:
        raise StartError(str(error)) from error
    except OverflowError as error:
        message = f"--days {arguments.days}: no clock goes so far; give fewer, or 0 for a key that never expires"
        raise StartError(message) from error
    if found.certificates or [*found.keys] != [key_id]:
        message = "--principal and --allow: they would be further lines of the key file; leave line breaks out"
        raise StartError(message)
    if arguments.json:
        print(orjson.dumps({"id": key_id, "secret": secret, "bearer": token(key_id, secret), "line": text}).decode())
        return EXIT_OK
    print(f"{_ONCE}\n\n  bearer token:  {token(key_id, secret)}")
    if master:
        print(f"  for AWS SDKs:  AWS_ACCESS_KEY_ID={key_id}\n                 AWS_SECRET_ACCESS_KEY={secret}")
    print(f"\nAdd this line to the file of --keys (it holds no secret):\n\n{text}")
    return EXIT_OK


def _master(path: Path) -> bytes:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(encoded(secrets.token_bytes(MASTER_BYTES)) + "\n")
    return read_master(path)
