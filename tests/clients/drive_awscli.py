"""Drives the AWS command line: one process a call, the body and the answer in files. It has no operation that streams.

The command tells the members of an answer on standard output and an error as one sentence on standard error; status,
headers and modelled members of errors it does not tell. Loading the command takes longer than a call, so it is loaded
once, and each call's process is a fork of that: same arguments, environment, files and exit status as from a shell.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import awscli.clidriver  # type: ignore[import-not-found, unused-ignore]  # in its own environment only

from tests.clients.answers import UNARY, Ask, Done, Told, asks, pack, say, unpack

SENTENCE = re.compile(
    r"An error occurred \((?P<code>[^)]*)\) when calling the \w+ operation(?: \([^)]*\))?: (?P<said>.*)"
)
LONGEST = 300


def call(ask: Ask) -> Done:
    """Run the command once."""
    if ask["operation"] != UNARY:
        raise ValueError(f"the AWS CLI has no {ask['operation']}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sent").write_bytes(unpack(ask["body"]))
        words = ["sagemaker-runtime", "invoke-endpoint", "--output", "json", "--body", f"fileb://{folder / 'sent'}"]
        words += ["--cli-read-timeout", str(int(ask["read_timeout"]))]
        for member, value in ask["params"].items():
            words += [option(member), value]
        attempts = {"AWS_MAX_ATTEMPTS": str(ask["attempts"])} if ask["attempts"] else {}
        status = run([*words, str(folder / "received")], attempts, folder)
        received = folder / "received"
        body = received.read_bytes() if received.exists() else b""
        told, complained = (folder / "stdout").read_text(), (folder / "stderr").read_text()
    return {
        "status": None,
        "members": json.loads(told or "{}"),
        "headers": None,
        "body": pack(body),
        "error": failure(complained) if status else None,
        "retries": None,
    }


def run(words: list[str], variables: Mapping[str, str], folder: Path) -> int:
    """`aws WORDS` in a process of its own, its output in `folder`; the exit status. Killed after `LONGEST` seconds."""
    process = os.fork()
    if process == 0:
        _command(words, variables, folder)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _command(words: list[str], variables: Mapping[str, str], folder: Path) -> NoReturn:
    status = 255
    try:
        signal.alarm(LONGEST)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
        os.environ.update(variables)
        sys.argv = ["aws", *words]
        status = awscli.clidriver.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # what the driver has open is the driver's


def option(member: str) -> str:
    """The command's option for a member of the API model: `ContentType` is `--content-type`."""
    return "--" + re.sub(r"(?<!^)(?=[A-Z])", "-", member).lower()


def failure(stderr: str) -> Told:
    """The error that the command's sentence tells."""
    found = SENTENCE.search(stderr)
    code, message = (found["code"], found["said"]) if found else (None, stderr.strip())
    return {"kind": "ClientError" if found else "CommandError", "code": code, "message": message, "members": {}}


if __name__ == "__main__":
    awscli.clidriver.create_clidriver()  # imports its plugins, which each process would do anew
    for each in asks():
        say(done=call(each))
